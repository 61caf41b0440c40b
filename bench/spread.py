"""What Dice varies by between trainings and between patients, and what pairing trainings by seed buys.

    python bench/spread.py [results/reference] [--out src/crossmodal/data/dice_spread.csv]

Writes the defaults of `crossmodal power` from an experiment's per_case.csv, its table in docs/study.md, and the table
of pairing in bench/README.md. Pairing by seed is worth something where two trainings with one seed have something in
common beside their patients: then the SD of their difference is below that of two trainings with different seeds.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from measure import REPOSITORY, markdown_table

from crossmodal.data import DICE_SPREAD
from crossmodal.domain import REGIONS
from crossmodal.evaluate import render
from crossmodal.evaluate.blocks import blocks, by_training
from crossmodal.evaluate.per_case import held_out, per_case_file, read_per_case, write_table
from crossmodal.evaluate.study_size import GAINS, POWER, SEEDS, default_spread, measured_spread, printed, study_sizes
from crossmodal.files import replace_between
from crossmodal.wording import number

OPTIONS = REPOSITORY / "bench" / "fast_options_dice.csv"


def pairing(method: np.ndarray, baseline: np.ndarray) -> dict[str, float]:
    """Correlation over seeds of two methods' mean Dice, and the SDs of their difference, paired and not.

    Args:
        method, baseline: mean Dice of the trainings with the same seeds, shape (seeds,).
    """
    return {
        "seeds": len(method),
        "r": np.corrcoef(method, baseline)[0, 1] if len(method) > 2 else np.nan,  # of two points it is ±1
        "paired": (method - baseline).std(ddof=1),
        "unpaired": (method.var(ddof=1) + baseline.var(ddof=1)) ** 0.5,
    }


def of_methods(experiment: Path, method: str, baseline: str, modalities: str) -> list[dict]:
    """Pairing of two methods' trainings, for each cohort and region."""
    table = held_out(read_per_case(per_case_file(experiment)))[0]
    found = []
    for (cohort, region), rows in table.groupby(["cohort", "region"], sort=False):
        wide = by_training(rows[rows["modalities"] == modalities], ["method"])
        both = [wide[name] for name in (method, baseline)]
        seeds = both[0].columns.intersection(both[1].columns)
        means = [array.mean(axis=0) for array in blocks(*(one[seeds] for one in both)).arrays[0]]
        found.append({"what": f"{method}, {baseline}; {cohort}", "region": region} | pairing(*means))
    return found


def of_options() -> list[dict]:
    """Pairing of trainings of one method that differ in rounding alone: each option of speed with the default."""
    table = pd.read_csv(OPTIONS).set_index(["options", "seed"])
    names = [name for name in table.index.unique("options") if name != "default"]
    return [
        {"what": f"teacher, {name} and default", "region": region}
        | pairing(table.loc[name, region].to_numpy(), table.loc["default", region].to_numpy())
        for name in names
        for region in REGIONS
    ]


def pooled(found: list[dict], what: str) -> dict:
    """The SDs over all rows, as roots of mean squares; rows of one seed are not independent."""
    table = pd.DataFrame(found)
    sds = (table[["paired", "unpaired"]] ** 2).mean() ** 0.5
    return {"what": what, "region": "all", "seeds": table["seeds"].min(), "r": np.nan} | sds.to_dict()


def main(
    experiment: Annotated[Path, typer.Argument()] = Path("results/reference"),
    out: Path = DICE_SPREAD,
    pages: bool = True,
) -> None:
    """Measure, write the defaults, and print both tables. --no-pages leaves the Markdown pages alone."""
    cohorts = read_per_case(per_case_file(experiment))["cohort"].unique()
    write_table(pd.concat([measured_spread(experiment, cohort) for cohort in cohorts]), out, digits=4)
    methods, options = of_methods(experiment, "choi2023", "student", "t1ce+flair"), of_options()
    found = [*methods, pooled(methods, "choi2023, student"), *options, pooled(options, "teacher, option and default")]
    cells = [
        [
            *(one["what"], one["region"], str(one["seeds"]), number(one["r"], 2)),
            *(number(one["paired"], 4), number(one["unpaired"], 4)),
        ]
        for one in found
    ]
    head = ["trainings with the same seed", "region", "seeds", "r", "SD of differences, paired", "unpaired"]
    table = markdown_table(head, cells)
    print(table)
    if pages:
        spread = default_spread()
        sizes = printed(spread, study_sizes(spread, GAINS, SEEDS, POWER))
        replace_between(REPOSITORY / "docs" / "study.md", "power", render.markdown(sizes))
        replace_between(REPOSITORY / "bench" / "README.md", "pairing", table)


if __name__ == "__main__":
    typer.run(main)
