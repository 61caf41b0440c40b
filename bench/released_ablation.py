"""Which phantoms teach a network to segment real patients: one configuration after another, by Dice in patients.

    nice -n 15 python bench/released_ablation.py default [--cases 120] [--epochs 60] [--seed 0] [--work FOLDER]
    python bench/released_ablation.py table        # bench/README.md from the CSV

Each run trains one network for all 15 subsets on phantoms alone, segments the real patients of `real_patients.py` from
six of them, and adds its means to bench/released_ablation.csv. The work folder is used again, and a training that was
interrupted goes on. `--features`, `--spacing` and `--method` are of the network.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import typer
from measure import REPOSITORY, markdown_table
from real_patients import dice_of_subsets

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.cohort.check import check_cohort
from crossmodal.cohort.cohorts import Options
from crossmodal.domain import ALL, REGIONS
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.budget import Budget, load_budget
from crossmodal.files import atomic_path, replace_between
from crossmodal.nnunet.dataset import build
from crossmodal.phantom import Randomisation, write_cohort
from crossmodal.train.job import TrainingJob, train
from crossmodal.wording import modalities_label

OUT = Path(__file__).with_suffix(".csv")
SUBSETS = ("t1", "t1ce", "t2", "flair", "t1ce+flair", ALL)
KEYS = ["configuration", "method", "cases", "steps", "seed", "spacing", "features"]
CONFIGURATIONS = {
    "site A": None,
    "default": Randomisation(),
    "physics alone": Randomisation(random_intensities=0.0),
    "random intensities alone": Randomisation(random_intensities=1.0),
    "narrow": Randomisation.of_width(0.5),
    "wide": Randomisation.of_width(1.5),
    "no faults": Randomisation(faults=False),
    "no look-alikes": Randomisation(lookalikes=False),
}


@dataclass(frozen=True)
class Run:
    """One line of the table before it is measured."""

    configuration: str
    method: str
    cases: int
    epochs: int
    seed: int
    spacing: float
    features: tuple[int, ...]
    phantom_seed: int

    @property
    def data(self) -> str:
        """Name of the folder of phantoms and dataset."""
        return f"{self.configuration.replace(' ', '_')}-{self.cases}-{self.spacing:g}mm-{self.phantom_seed}"

    def budget(self) -> Budget:
        """The demo's budget with this run's network and length; epochs of 50 steps, by what is fast on every CPU."""
        patch = [round(size * 3 / self.spacing / 16) * 16 for size in (40, 48, 40)]
        return load_budget("demo").replaced(
            epochs=self.epochs,
            steps_per_epoch=50,
            val_steps_per_epoch=1,
            spacing=[self.spacing] * 3,
            patch_size=[40, 48, 40] if self.spacing == 3 else patch,
            features=list(self.features),
            precision="default",
            memory_format="channels_last_3d",
        )


def model_of(run: Run, work: Path) -> Path:
    """Make phantoms, dataset and network, as far as they are not there; the model folder."""
    folder, budget = work / run.data, run.budget()
    cases = folder / "cohort" / "cases.csv"
    if not cases.is_file():
        site = "A" if CONFIGURATIONS[run.configuration] is None else "R"
        drawn = CONFIGURATIONS[run.configuration]
        write_cohort(folder / "phantoms", run.cases, run.spacing, run.phantom_seed, site, 2, drawn)
        check_cohort(folder / "phantoms", cases.parent, Options(name="phantoms", folds=0, test_fraction=0, workers=1))
    dataset = folder / f"nnunet-{len(run.features)}x{run.features[0]}"
    if not (dataset / "manifest.json").is_file():
        build(read_cases(cases), dataset, budget)
    model = folder / "models" / f"{run.method}-{run.features[0]}-{budget.steps}-s{run.seed}"
    job = TrainingJob(run.method, recipes.load(run.method), ALL, 0, run.seed, budget, dataset, model)
    train(job, torch.device("cpu"))
    return model


def add(table: Path, rows: pd.DataFrame) -> None:
    """Add rows to a CSV, in place of those of the same run."""
    if table.exists():
        old = pd.read_csv(table, dtype=str)
        same = (old[KEYS] == rows[KEYS].astype(str).iloc[0]).all(axis=1)
        rows = pd.concat([old[~same], rows.astype({"dice": object})])
    with atomic_path(table) as temporary:
        rows.to_csv(temporary, index=False)


def readme_table(rows: pd.DataFrame) -> str:
    """The table of bench/README.md: a line for each configuration of today, means over patients and trainings.

    Args:
        rows: of released_ablation.csv; those of ranges that are no longer there are left out.
    """
    rows = rows[rows["configuration"].isin(CONFIGURATIONS)]
    alike = [key for key in KEYS if key != "seed"]
    lines = []
    for setting in sorted(set(rows[alike].itertuples(index=False, name=None)), key=_place):
        of_setting = rows[(rows[alike] == pd.Series(setting, alike)).all(axis=1)]
        means = of_setting.groupby(["subset", "region"], sort=False)["dice"].mean()
        overall = of_setting.groupby("seed")["dice"].mean()
        cells = [" ".join(_short(means[subset, region]) for region in REGIONS) for subset in SUBSETS]
        named = dict(zip(alike, setting, strict=True))
        lines.append(
            [
                *(named["configuration"], named["method"].replace("_", " "), f"{named['spacing']:g} mm"),
                *(str(named["steps"]), *cells, ", ".join(map(_short, overall))),
            ]
        )
    head = ["phantoms", "recipe", "voxels", "steps", *map(modalities_label, SUBSETS), "mean of these, each training"]
    return markdown_table(head, lines)


def _place(setting: tuple) -> tuple:
    """Order of the table: finer voxels and other recipes last."""
    configuration, method, _, steps, spacing, *_ = setting
    return -spacing, method, -steps, list(CONFIGURATIONS).index(configuration)


def _short(dice: float) -> str:
    return f"{dice:.2f}".removeprefix("0")


def main(
    configuration: str,
    method: str = "modality_dropout",
    cases: int = 120,
    epochs: int = 30,
    seed: int = 0,
    spacing: float = 3.0,
    features: str = "8,16,32,64",
    phantom_seed: int = 2023,
    work: Path = Path("/tmp/released"),
    out: Path = OUT,
) -> None:
    """Train one network on phantoms of a configuration and add its Dice in patients to the table.

    CONFIGURATION: one of `CONFIGURATIONS`; or "table", to write the table of bench/README.md.
    """
    if configuration == "table":
        replace_between(REPOSITORY / "bench" / "README.md", "ablation", readme_table(pd.read_csv(out)))
        return
    if configuration not in CONFIGURATIONS:
        raise SystemExit(f"{configuration}: no such configuration; there are {', '.join(CONFIGURATIONS)}")
    sizes = tuple(map(int, features.split(",")))
    run = Run(configuration, method, cases, epochs, seed, spacing, sizes, phantom_seed)
    model = model_of(run, work)
    found = dice_of_subsets(model, 0, SUBSETS)
    found.to_csv(model / "patients.csv", index=False)
    means = found.groupby(["subset", "region"], sort=False)["dice"].mean().round(4).reset_index()
    values = [configuration, method, cases, run.budget().steps, seed, f"{spacing:g}", "-".join(map(str, sizes))]
    add(out, pd.DataFrame([dict(zip(KEYS, values, strict=True))] * len(means)).join(means))
    print(means.pivot_table(index="subset", columns="region", values="dice", sort=False).round(2))


if __name__ == "__main__":
    typer.run(main)
