"""A training step of each method of the reference study, in steps of the student alone, for docs/study.md.

    python bench/study_cost.py [--rounds 40] [--out bench/study_cost.csv]

The trainings of the study ran on different machines, so their times cannot be compared. Here the methods take turns in
one run: same plans, data and patch, the study's budget, one thread, T1ce + FLAIR, with loading and augmentation.
A method that only has other weights or another teacher of the same size costs the same and is not measured.
"""

import datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from measure import DEMO, REPOSITORY, Worker, entry, take_turns
from study_primary import HEADLINE

from crossmodal.evaluate.per_case import write_table
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.runs import STUDENT

TABLE = REPOSITORY / "bench" / "study_cost.csv"
BUDGET = "study_phantom"
METHODS = (
    "teacher",
    STUDENT,
    "choi2023",
    "choi2023_two_stage",
    "rahimpour2022",
    "dong2025_teacher",
    "dong2025",
    "dong2025_crossmodal",
    "hinton2015",
    "romero2015",
    "zagoruyko2017",
    "hu2020",
    "wang2023",
    "modality_dropout",
    "modality_dropout_distilled",
)


def measured(dataset: Path, scratch: Path, budget: str, methods: tuple[str, ...], rounds: int, warm_up: int) -> list:
    """A row for each method: time of its step over the student's, from `rounds` turns of each that count."""
    from processes import Setup, budget_of, steps

    settings = budget_of(budget, "cpu")
    given = {name: recipes.load(name).trained_modalities(HEADLINE) for name in methods}
    workers = {name: Worker(steps, Setup(dataset, settings, name, given[name]), scratch / name) for name in methods}
    runs = {name: used[warm_up:] for name, used in take_turns(workers, warm_up + rounds).items()}
    rows = []
    for name in methods:
        found = entry(runs[name], runs[STUDENT])
        row = {"method": name, "ratio": found["ratio"], "spread": found["spread"], "step_ms": found["ours_ms"]}
        rows.append(row | {"n": rounds, "device": found["device"]})
    return rows


def main(rounds: int = 40, out: Annotated[Path, typer.Option()] = TABLE) -> None:
    """Measure all methods on the demo's phantoms, which are of the study's size, and write the table."""
    with DEMO.built() as (folder, _, _):
        rows = measured(folder / "nnunet", folder / "steps", BUDGET, METHODS, rounds, warm_up=6)
    write_table(pd.DataFrame(rows).assign(measured=datetime.date.today().isoformat()), out)
    print(f"{out}: {len(rows)} methods")


if __name__ == "__main__":
    typer.run(main)
