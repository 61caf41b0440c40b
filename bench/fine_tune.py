"""What 100 steps on two patients gain: the shipped network fine-tuned, each patient of the sample left out in turn.

    python bench/fine_tune.py OUT.csv [--steps 100] [--seeds 0,1,2] [--rates 0.01,0.001]

Three networks segment the patient who was left out: the shipped one as it is; the same, fine-tuned on the other two
(`init_from: shipped`); and one of the same kind trained on these two from random weights. Dice at 1 mm.
"""

import tempfile
from pathlib import Path

import pandas as pd
import torch
import typer
from real_patients import dice_of_subsets, patients

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.cohort.check import check_cohort
from crossmodal.cohort.cohorts import Options
from crossmodal.data import DATA
from crossmodal.device import keep_freed_memory
from crossmodal.domain import ALL
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.budget import load_budget
from crossmodal.files import atomic_path
from crossmodal.nnunet.dataset import build
from crossmodal.train.job import TrainingJob, train

NETWORK = DATA / "network"
SUBSETS = ("flair", "t1ce+flair", ALL)
METHOD = "modality_dropout"
NEW = 0.01  # nnU-Net's learning rate, for a network from random weights


def trained(left_out: Path, seed: int, steps: int, rate: float, init_from: str | None, folder: Path) -> Path:
    """A model folder: trained on the patients that were not left out."""
    budget = load_budget("released").replaced(epochs=steps // 25, steps_per_epoch=25, learning_rate=rate)
    budget = budget.replaced(precision="default", memory_format="channels_last_3d")
    cohort = folder / "cohort"
    if not cohort.is_dir():
        cohort.mkdir(parents=True)
        for patient in patients():
            if patient != left_out:
                (cohort / patient.name).symlink_to(patient)
        options = Options(name="two", release="brats2021", folds=0, test_fraction=0, workers=1)
        check_cohort(cohort, folder / "checked", options)
        build(read_cases(folder / "checked" / "cases.csv"), folder / "dataset", budget)
    changes = {"init_from": init_from} if init_from else {}
    recipe = recipes.load(METHOD, overrides=changes)
    out = folder / f"{'fine' if init_from else 'new'}-{rate}-{seed}"
    train(TrainingJob(METHOD, recipe, ALL, 0, seed, budget, folder / "dataset", out), torch.device("cpu"))
    return out


def main(out: Path, steps: int = 100, seeds: str = "0,1,2", rates: str = "0.01,0.001") -> None:
    """Write Dice by patient, network, seed, subset and region."""
    keep_freed_memory()
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for left_out in patients():
            folder = Path(scratch, left_out.name)
            models = {("shipped", "", ""): NETWORK}
            for seed in map(int, seeds.split(",")):
                for rate in map(float, rates.split(",")):
                    models["fine-tuned", rate, seed] = trained(left_out, seed, steps, rate, "shipped", folder)
                models["new", NEW, seed] = trained(left_out, seed, steps, NEW, None, folder)
            for (name, rate, seed), model in models.items():
                rows = dice_of_subsets(model, 0, SUBSETS, [left_out])
                found.append(rows.assign(network=name, learning_rate=rate, seed=seed, steps=steps))
    table = pd.concat(found)[["case", "network", "learning_rate", "seed", "steps", "subset", "region", "dice"]]
    with atomic_path(out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4f")
    means = table.groupby(["subset", "network", "learning_rate", "region"], sort=False)["dice"].mean().unstack()
    print(means.round(2))


if __name__ == "__main__":
    typer.run(main)
