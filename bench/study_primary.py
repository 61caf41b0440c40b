"""The six primary comparisons of the reference study, as its protocol in docs/study.md defines them.

    python bench/study_primary.py [results/reference_study]

Writes tables/primary.csv of the experiment and the table in docs/study.md. The outcome of a comparison is the mean Dice
over the regions of its claim; interval and p value are over patients and trainings, and p is corrected by Holm over the
six.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from measure import REPOSITORY, markdown_table

from crossmodal.evaluate import statistics
from crossmodal.evaluate.blocks import blocks, by_training
from crossmodal.evaluate.comparisons import EQUIVALENT, GAIN, LOSS, MARGIN, NOT_SHOWN, TOO_FEW, finding
from crossmodal.evaluate.per_case import held_out, per_case_file, read_per_case, write_table
from crossmodal.files import replace_between
from crossmodal.wording import estimate, modalities_label, number, p_value


@dataclass(frozen=True)
class Claim:
    """One primary comparison."""

    claim: str
    method: str
    baseline: str
    modalities: str
    regions: tuple[str, ...]
    cohort: str


HEADLINE, SITE_A, SITE_B, ALL_REGIONS = "t1ce+flair", "phantom-a", "phantom-b", ("WT", "TC", "ET")
CLAIMS = [
    Claim("single-stage distillation helps", "choi2023", "student", HEADLINE, ALL_REGIONS, SITE_A),
    Claim("two-stage distillation helps", "choi2023_two_stage", "student", HEADLINE, ALL_REGIONS, SITE_A),
    Claim("one stage is better than two", "choi2023", "choi2023_two_stage", HEADLINE, ALL_REGIONS, SITE_A),
    Claim("a four-sequence teacher helps T1 alone", "rahimpour2022", "student", "t1", ("WT", "TC"), SITE_A),
    Claim("SIKD helps within a data set", "dong2025", "student", HEADLINE, ALL_REGIONS, SITE_A),
    Claim("SIKD helps across data sets", "dong2025", "student", HEADLINE, ALL_REGIONS, SITE_B),
]


def compared(per_case: pd.DataFrame, claims: list[Claim]) -> pd.DataFrame:
    """A row for each claim, with Holm's correction over all of them.

    Args:
        per_case: a table of `read_per_case`, after `held_out`.
        claims: the family.
    """
    rows = []
    for claim in claims:
        both = blocks(*(_mean_over_regions(per_case, claim, name) for name in (claim.method, claim.baseline)))
        mean = both.mean()
        low, high = mean.interval()
        trained = [both.trainings(0), both.trainings(1)] if both.arrays else [0, 0]
        rows.append(
            vars(claim)
            | {"regions": " ".join(claim.regions), "n": len(both.of_patients)}
            | {"n_trainings": trained[0], "n_trainings_baseline": trained[1], "dice_gain": mean.value}
            | {"trainings_ci_low": low, "trainings_ci_high": high, "p_trainings": mean.p()}
            | {"p_within_margin": mean.p_within(MARGIN)}
        )
    table = pd.DataFrame(rows)
    table["p_trainings_holm"] = statistics.holm(table["p_trainings"].to_numpy())
    table["finding"] = [finding(row) for row in table.itertuples()]
    return table


def _mean_over_regions(per_case: pd.DataFrame, claim: Claim, method: str) -> pd.DataFrame:
    """`by_training` of the mean Dice over the regions of a claim."""
    wanted = (per_case["cohort"] == claim.cohort) & (per_case["method"] == method)
    rows = per_case[wanted & (per_case["modalities"] == claim.modalities) & per_case["region"].isin(claim.regions)]
    key = ["patient", "case", "fold", "seed"]
    return by_training(rows.groupby(key, as_index=False)["dice"].mean())


def words(row) -> str:
    """What the page says of a claim."""
    found = {
        TOO_FEW: "too few trainings",
        EQUIVALENT: f"no difference: within ±{MARGIN:g}",
        GAIN: "yes",
        LOSS: "no: it is worse",
        NOT_SHOWN: f"not shown; no gain larger than {number(row.trainings_ci_high, sign=True)}",
    }
    return found[row.finding]


def markdown(table: pd.DataFrame) -> str:
    """The table of docs/study.md."""
    head = ["claim", "given", "regions", "cohort", "trainings", "n", "gain in Dice (95% interval)", "p, Holm", "so"]
    rows = [
        [
            *(row.claim, modalities_label(row.modalities), row.regions.replace(" ", ", "), row.cohort),
            *(f"{row.n_trainings} and {row.n_trainings_baseline}", str(row.n)),
            *(
                estimate(row.dice_gain, row.trainings_ci_low, row.trainings_ci_high, sign=True),
                p_value(row.p_trainings_holm),
                words(row),
            ),
        ]
        for row in table.itertuples()
    ]
    return markdown_table(head, rows)


def main(experiment: Annotated[Path, typer.Argument()] = Path("results/reference_study"), page: bool = True) -> None:
    """Write primary.csv and the page's table, and print it. --no-page leaves the page alone."""
    table = compared(held_out(read_per_case(per_case_file(experiment)))[0], CLAIMS)
    write_table(table, experiment / "tables" / "primary.csv", digits=6)
    print(markdown(table))
    if page:
        replace_between(REPOSITORY / "docs" / "study.md", "primary", markdown(table))


if __name__ == "__main__":
    typer.run(main)
