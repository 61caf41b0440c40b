"""Write the table of docs/methods.md from an experiment in which every recipe was trained once.

snakemake --cores 2 --configfile bench/methods.yaml
python bench/methods_table.py results/methods docs/methods.md
"""

import sys
from pathlib import Path

import pandas as pd
from crossmodal.experiment.config import read_yaml
from crossmodal.files import write_text

START, END = "<!-- methods:start -->", "<!-- methods:end -->"


def short(number: float) -> str:
    """Two digits, without an exponent."""
    return f"{float(f'{number:.2g}'):g}"


def terms(progress: pd.DataFrame) -> list[str]:
    """One line for each distillation term: start, end, and the gradient ratio."""
    lines = []
    for name in (column for column in progress if "@" in column and not column.startswith("gradient_ratio:")):
        ratio = progress[f"gradient_ratio:{name}"].dropna()
        lines.append(
            f"{name}: {progress[name].iloc[0]:.3g} → {progress[name].iloc[-1]:.3g}; "
            f"ratio {short(ratio.median())} ({short(ratio.iloc[0])} to {short(ratio.iloc[-1])})"
        )
    return lines


def rows(experiment: Path) -> list[str]:
    """The Markdown table."""
    config = read_yaml(experiment / "config.yaml")
    summary = pd.read_csv(experiment / "tables" / "summary.csv")
    lines = [
        "| subset | method | Dice WT | TC | ET | segmentation loss, start → end | distillation terms |",
        "|---|---|---|---|---|---|---|",
    ]
    for (subset, method), part in summary.groupby(["modalities", "method"], sort=False):
        dice = part.set_index("region")["dice_mean"]
        trained_on = {"given": subset}.get(config["recipes"][method]["modalities"], "t1+t1ce+t2+flair")
        progress = pd.read_csv(experiment / "models" / method / trained_on / "seed0" / "fold_0" / "progress.csv")
        role = "teacher" if config["recipes"][method]["role"] == "teacher" else "student"
        seg = progress[f"seg_{role}"]
        lines.append(
            f"| {subset} | {method} | "
            + " | ".join(f"{dice[region]:.3f}" for region in ("WT", "TC", "ET"))
            + f" | {seg.iloc[0]:.3f} → {seg.iloc[-1]:.3f} | {'<br>'.join(terms(progress)) or '–'} |"
        )
    return lines


def main(experiment: Path, page: Path) -> None:
    """Replace what stands between the markers."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    write_text(page, before + START + "\n" + "\n".join(rows(experiment)) + "\n" + END + after)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
