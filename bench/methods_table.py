"""Write the table of docs/methods.md from an experiment in which every recipe was trained once.

snakemake --cores 2 --configfile bench/methods.yaml
python bench/methods_table.py results/methods docs/methods.md
"""

import sys
from pathlib import Path

import pandas as pd
from measure import markdown_table

from crossmodal.domain import REGIONS
from crossmodal.experiment.config import read_resolved
from crossmodal.experiment.layout import FOLD, MODEL, Training
from crossmodal.files import replace_between
from crossmodal.wording import number

HEADER = ("subset", "method", "Dice WT", "TC", "ET", "segmentation loss, start → end", "distillation terms")


def terms(progress: pd.DataFrame) -> str:
    """One line for each distillation term: start, end, and the gradient ratio."""
    lines = []
    for name in (column for column in progress if "@" in column and not column.startswith("gradient_ratio:")):
        ratio = progress[f"gradient_ratio:{name}"].dropna()
        # Two digits, without an exponent.
        middle, first, last = (f"{float(f'{r:.2g}'):g}" for r in (ratio.median(), ratio.iloc[0], ratio.iloc[-1]))
        change = f"{progress[name].iloc[0]:.3g} → {progress[name].iloc[-1]:.3g}"
        lines.append(f"{name}: {change}; ratio {middle} ({first} to {last})")
    return "<br>".join(lines) or "–"


def table(experiment: Path) -> str:
    """The Markdown table: a row for each subset and method."""
    recipes = read_resolved(experiment / "config.yaml").recipes
    summary = pd.read_csv(experiment / "tables" / "summary.csv")
    rows = []
    for (subset, method), part in summary.groupby(["modalities", "method"], sort=False):
        training = Training(method, recipes[method].trained_modalities(subset), 0, 0)
        progress = pd.read_csv(experiment / training.path(f"{MODEL}/{FOLD}/progress.csv"))
        loss = progress[f"seg_{recipes[method].role}"]
        dice = part.set_index("region")["dice_mean"]
        change = f"{number(loss.iloc[0])} → {number(loss.iloc[-1])}"
        rows.append([subset, method, *(number(dice[r]) for r in REGIONS), change, terms(progress)])
    return markdown_table(HEADER, rows)


if __name__ == "__main__":
    replace_between(Path(sys.argv[2]), "methods", table(Path(sys.argv[1])))
