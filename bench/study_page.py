"""The tables of docs/study.md beside the primary comparisons, from the committed results of the reference study.

    python bench/study_page.py [results/reference_study]

Gains of every method and control by subset and cohort, the share of the gap to the teacher, what a training costs,
networks for any subset, and Dice in real patients. Outcomes are means over WT, TC and ET where no region is named.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pandas as pd
import study_cost
import typer
import yaml
from measure import markdown_table
from study_controls import CONTROLS
from study_primary import ALL_REGIONS, HEADLINE, SITE_A, SITE_B, Claim, compared
from study_weights import PAGE, STUDY

from crossmodal.domain import ALL, REGIONS
from crossmodal.evaluate.per_case import held_out, per_case_file, read_per_case
from crossmodal.evaluate.results import Results
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.runs import STUDENT
from crossmodal.files import replace_between
from crossmodal.wording import estimate, modalities_label, number, percent_estimate

SUBSETS = ("t1", "t2", "t1+t2", HEADLINE)
OF_CLAIMS = ("t1", HEADLINE)
# Controls whose training time follows from that of the student: two trainings, twice the steps, other phantoms.
AS_OFTEN = {"two_students": 2.0, "student_2000_steps": 2.0, "student_200_phantoms": 1.0}
COHORTS = (SITE_A, SITE_B)


def in_study() -> list[str]:
    """Methods in the order of the study's config, then its controls."""
    return [*yaml.safe_load(STUDY.read_text())["methods"], *CONTROLS]


def in_order(methods: Iterable[str]) -> list[str]:
    """Methods in the study's order, unknown ones last."""
    order = in_study()
    return sorted(methods, key=lambda name: order.index(name) if name in order else len(order))


def gains(per_case: pd.DataFrame) -> str:
    """Methods × subsets: gain over the student with its interval over patients and trainings, in each cohort."""
    methods = [method for method in in_order(per_case["method"].unique()) if method not in (STUDENT, "teacher")]
    claims = [
        Claim("", method, STUDENT, subset, ALL_REGIONS, cohort)
        for cohort in COHORTS
        for method in methods
        for subset in SUBSETS
    ]
    table = compared(per_case, claims).set_index(["cohort", "method", "modalities"])
    rows = []
    for cohort in COHORTS:
        for method in methods:
            of_method = [table.loc[cohort, method, subset] for subset in SUBSETS]
            trainings = str(max(one["n_trainings"] for one in of_method))
            rows.append([cohort, f"`{method}`", trainings, *map(gain, of_method)])
    return markdown_table(["cohort", "method", "trainings", *map(modalities_label, SUBSETS)], rows)


def gap(comparisons: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Subsets and methods × regions: gain and its interval over patients and trainings as shares of the gap, site A.

    The gap, the difference between teacher and student in their mean Dice, is taken as known. Where it is not above 0
    there is no share.
    """
    means = summary[summary["cohort"] == SITE_A].set_index(["method", "modalities", "region"])["dice_mean"].sort_index()
    found = comparisons[(comparisons["baseline"] == STUDENT) & (comparisons["cohort"] == SITE_A)]
    table = []
    for subset in OF_CLAIMS:
        gaps = means["teacher", ALL] - means[STUDENT, subset]
        rows = found[found["modalities"] == subset].set_index(["method", "region"])
        gains = rows[["dice_gain", "trainings_ci_low", "trainings_ci_high"]]
        table.append([modalities_label(subset), "the gap in Dice", *(number(gaps[region]) for region in REGIONS)])
        for method in in_order(rows.index.unique("method")):
            shares = {region: gains.loc[method, region] / gaps[region] for region in REGIONS if gaps[region] > 0}
            cells = [percent_estimate(*shares[region]) if region in shares else "no gap" for region in REGIONS]
            table.append([modalities_label(subset), f"`{method}`", *cells])
    return markdown_table(["given", "method", *REGIONS], table)


def cost(per_case: pd.DataFrame, measured: pd.DataFrame) -> str:
    """Training time of each method in trainings of the student alone, beside its gain at site A, T1ce + FLAIR.

    Args:
        per_case: of the phantoms.
        measured: bench/study_cost.csv; what only follows from it (`AS_OFTEN`) is added.
    """
    ratios = dict(zip(measured["method"], measured["ratio"], strict=True)) | AS_OFTEN
    found = [method for method in in_order(per_case["method"].unique()) if method in ratios and method != STUDENT]
    claims = [Claim("", method, STUDENT, HEADLINE, ALL_REGIONS, SITE_A) for method in found]
    table = compared(per_case, claims).set_index("method")
    rows = []
    for method in table.index[table["n"] > 0]:
        beforehand = None if method in AS_OFTEN else recipes.load(method).teacher_before(HEADLINE)
        total = ratios[method] + (ratios[beforehand[0]] if beforehand else 0)
        rows.append((total, [f"`{method}`", number(ratios[method], 2), number(total, 2), gain(table.loc[method])]))
    rows.sort(key=lambda row: row[0])
    return markdown_table(["method", "itself", "with its teacher", "gain"], [cells for _, cells in rows])


def gain(row: pd.Series) -> str:
    """A gain and its interval over patients and trainings; nothing where no patient was compared."""
    return estimate(row["dice_gain"], row["trainings_ci_low"], row["trainings_ci_high"], sign=True) if row["n"] else ""


def any_subset(per_case: pd.DataFrame, any_subsets: list[str]) -> str:
    """Networks for any subset: mean Dice over all subsets, and over those that other methods train a network for."""
    rows = []
    counts = per_case.groupby("method", sort=False)["modalities"].nunique()
    for cohort in COHORTS:
        for method in counts[counts == len(any_subsets)].index:
            of_method = per_case[(per_case["cohort"] == cohort) & (per_case["method"] == method)]
            means = of_method.groupby(["modalities", "region"])["dice"].mean().unstack()[list(REGIONS)]
            cells = [number(value) for value in means.mean()]
            rows.append([cohort, f"`{method}`", *cells, *(number(means.loc[one].mean()) for one in SUBSETS)])
    head = [*(f"{region}, all {len(any_subsets)}" for region in REGIONS), *map(modalities_label, SUBSETS)]
    return markdown_table(["cohort", "method", *head], rows)


def patients(rows: pd.DataFrame, per_case: pd.DataFrame) -> str:
    """Methods × subset: mean Dice in the real patients, beside that in phantoms; and how alike the orders are.

    Args:
        rows: case, method, subset, seed, region and dice.
        per_case: of the phantoms.
    """
    subsets = [subset for subset in OF_CLAIMS if subset in set(rows["subset"])]
    of_patients = rows.groupby(["method", "subset", "region"])["dice"].mean()
    at_site_a = per_case[per_case["cohort"] == SITE_A]
    of_phantoms = at_site_a.groupby(["method", "modalities"])["dice"].mean()
    lines, orders = [], []
    for subset in subsets:
        methods = [one for one in in_order(rows["method"].unique()) if (one, subset, "WT") in of_patients.index]
        means = pd.DataFrame(
            {
                "patients": [of_patients[method, subset].mean() for method in methods],
                "phantoms": [of_phantoms[method, subset] for method in methods],
            }
        )
        orders.append(f"{modalities_label(subset)} {number(means.corr('spearman').iloc[0, 1], 2, sign=True)}")
        for method, phantoms in zip(methods, means["phantoms"], strict=True):
            cells = [number(of_patients[method, subset, region], 2) for region in REGIONS]
            lines.append([modalities_label(subset), f"`{method}`", *cells, number(phantoms, 2)])
    table = markdown_table(["given", "method", *REGIONS, "in phantoms, mean of the three"], lines)
    return f"{table}\n\nSpearman's correlation of the methods' order in patients and in phantoms: {', '.join(orders)}."


def main(experiment: Annotated[Path, typer.Argument()] = Path("results/reference_study")) -> None:
    """Write the tables between the page's markers."""
    per_case, results = held_out(read_per_case(per_case_file(experiment)))[0], Results(experiment)
    replace_between(PAGE, "gains", gains(per_case))
    replace_between(PAGE, "gap", gap(results.table("comparisons"), results.table("summary")))
    replace_between(PAGE, "cost", cost(per_case, pd.read_csv(study_cost.TABLE)))
    replace_between(PAGE, "any", any_subset(per_case, results.config.any_subsets))
    tables = [pd.read_csv(path) for path in sorted((experiment / "patients").glob("*.csv"))]
    if tables:
        replace_between(PAGE, "patients", patients(pd.concat(tables), per_case))


if __name__ == "__main__":
    typer.run(main)
