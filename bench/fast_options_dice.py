"""Whether the fast options cost Dice: `teacher` on the demo's cohort with each of them, over seeds.

    python bench/fast_options_dice.py [--seeds 0,1,2] [--out bench/fast_options_dice.csv] [--tiny]

Each network is trained, predicted and scored as the workflow does it. An option is within noise where its mean
differs less from the default's than the seeds differ from each other.
"""

from pathlib import Path

import pandas as pd
import torch
import typer
from measure import DEMO, TINY, markdown_table
from processes import STOCK_OPTIONS, budget_of
from run import VARIANTS

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.domain import ALL, REGIONS
from crossmodal.evaluate.score import score_folder
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.budget import Budget
from crossmodal.files import atomic_path
from crossmodal.nnunet.predict import cases_to_predict, predict_cases
from crossmodal.train.job import TrainingJob, train
from crossmodal.wording import estimate

OPTIONS = {"default": {}} | {name.removesuffix("_vs_stock"): options for name, options in VARIANTS.items()}
OUT = Path(__file__).with_suffix(".csv")


def dice(cases: Path, dataset: Path, budget: Budget, seed: int, folder: Path) -> dict[str, float]:
    """Mean Dice of each region over the held-out cases, of one training."""
    device = torch.device("cpu")
    train(TrainingJob("teacher", recipes.load("teacher"), ALL, 0, seed, budget, dataset, folder / "model"), device)
    rows = cases_to_predict(read_cases(cases), "bench", 0)
    predict_cases(folder / "model", 0, rows, ALL, folder / "predictions", device)
    scores = score_folder(folder / "predictions", cases, folder / "scores.csv", "bench")
    return scores.groupby("region")["dice"].mean().to_dict()


def main(seeds: str = "0,1,2", out: Path = OUT, tiny: bool = False) -> None:
    """Train all; print mean, lowest and highest seed; write each seed's Dice. --tiny: to see that it runs."""
    rows = []
    with (TINY if tiny else DEMO).built() as (folder, cases, budget):
        for seed in map(int, seeds.split(",")):
            for label, options in OPTIONS.items():
                settings = budget_of(budget, "cpu", **STOCK_OPTIONS | options)
                place = folder / f"{label}-{seed}"
                rows.append({"options": label, "seed": seed} | dice(cases, folder / "nnunet", settings, seed, place))
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    with atomic_path(out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4f")
    cells = [
        [f"`{name}`", *(estimate(found[r].mean(), found[r].min(), found[r].max()) for r in REGIONS)]
        for name, found in table.groupby("options", sort=False)
    ]
    print(markdown_table(["options", *REGIONS], cells))


if __name__ == "__main__":
    typer.run(main)
