"""Whether the fast options cost Dice: `teacher` on the demo's cohort with each of them, over seeds.

    python bench/fast_options_dice.py [--seeds 0,1,2] [--out bench/fast_options_dice.csv] [--tiny]

Each network is trained, predicted and scored by the commands of the workflow. An option is within noise where its
mean differs from the default's by less than the seeds differ among themselves.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd
import torch
from crossmodal.train.job import Training, train
from crossmodal.evaluate.score import read_cases, score_folder
from crossmodal.files import atomic_path
from crossmodal.domain import ALL
from crossmodal.nnunet.predict import cases_to_predict, predict_cases
from parties import STOCK_OPTIONS, budget_of, recipe_of
from run import VARIANTS, demo_data

REGIONS = ("WT", "TC", "ET")
OPTIONS = {"default": {}} | {name.removesuffix("_vs_stock"): options for name, options in VARIANTS.items()}


def dice(cases: Path, dataset: Path, budget: dict, seed: int, folder: Path) -> dict[str, float]:
    """Mean Dice of each region over the held-out cases, of one training."""
    device = torch.device("cpu")
    train(Training("teacher", recipe_of("teacher"), ALL, 0, seed, budget, dataset, folder / "model"), device)
    rows = cases_to_predict(read_cases(cases), "bench", 0)
    predict_cases(folder / "model", 0, rows, ALL, folder / "predictions", device)
    scores = score_folder(folder / "predictions", cases, folder / "scores.csv", "bench")
    return scores.groupby("region")["dice"].mean().to_dict()


def table(rows: pd.DataFrame) -> str:
    """Mean over seeds of each option, lowest and highest seed in brackets, and the step's median time."""
    lines = ["| options | " + " | ".join(REGIONS) + " |", "|---|" + "---|" * len(REGIONS)]
    for name, found in rows.groupby("options", sort=False):
        cells = [f"{found[r].mean():.3f} ({found[r].min():.3f} to {found[r].max():.3f})" for r in REGIONS]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Train all, print the table, write each seed's Dice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--tiny", action="store_true", help="seconds: to see that it runs; its figures mean nothing")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="crossmodal-bench-") as name:
        folder = Path(name)
        cases, budget = demo_data(folder, given.tiny)
        for seed in map(int, given.seeds.split(",")):
            for label, options in OPTIONS.items():
                settings = budget_of(budget, "cpu", **STOCK_OPTIONS | options)
                place = folder / f"{label}-{seed}"
                rows.append({"options": label, "seed": seed} | dice(cases, folder / "nnunet", settings, seed, place))
                print(rows[-1], flush=True)
    found = pd.DataFrame(rows)
    with atomic_path(given.out) as temporary:
        found.to_csv(temporary, index=False, float_format="%.4f")
    print(table(found))


if __name__ == "__main__":
    main()
