"""The tables of docs/study.md: each number is what the rows say, in the right cell."""

import itertools

import numpy as np
import pandas as pd
import pytest
import study_page

from crossmodal.domain import ALL, REGIONS, all_subsets
from tests.conftest import REPOSITORY
from tests.evaluate.per_case_maker import rows, stack

GAINS = {"student": 0.0, "choi2023": 0.02, "hinton2015": -0.03}


@pytest.fixture(scope="module")
def per_case() -> pd.DataFrame:
    """Dice of 8 phantoms by three trainings; the gain grows with the number of sequences, and is half at site B."""
    draw = np.random.default_rng(5)
    tables = []
    for cohort, subset, region in itertools.product(study_page.COHORTS, study_page.SUBSETS, REGIONS):
        for (method, gain), seed in itertools.product(GAINS.items(), range(3)):
            if method == "hinton2015" and subset == "t2":
                continue
            dice = 0.6 + gain * (1 + subset.count("+")) / (1 + (cohort == study_page.SITE_B)) + draw.normal(0, 1e-6, 8)
            tables.append(
                rows(dice, cohort=cohort, method=method, modalities=subset, seed=seed, region=region).assign(seed=seed)
            )
    for subset, region in itertools.product(all_subsets(), REGIONS):
        for cohort in study_page.COHORTS:
            values = np.full(8, 0.1 * (1 + subset.count("+")) + 0.3 * (region == "WT"))
            tables.append(rows(values, cohort=cohort, method="modality_dropout", modalities=subset, region=region))
    return stack(*tables)


def cells(table: str, *first: str) -> list[str]:
    """The other cells of the one line that begins with these."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    (found,) = [line[len(first) :] for line in lines if line[: len(first)] == list(first)]
    return found


def test_a_gain_stands_under_its_subset_and_cohort(per_case: pd.DataFrame) -> None:
    table = study_page.gains(per_case)
    assert [cell[:6] for cell in cells(table, "phantom-a", "`choi2023`")] == [
        "3",
        "+0.020",
        "+0.020",
        "+0.040",
        "+0.040",
    ]
    assert [cell[:6] for cell in cells(table, "phantom-b", "`hinton2015`")] == ["3", "−0.015", "", "−0.030", "−0.030"]
    assert "`student`" not in table


def test_the_gap_is_that_to_the_student_at_site_a() -> None:
    given = {"cohort": "phantom-a", "modalities": "t1ce+flair"}
    gains = [
        ("student", "WT", 0.05),
        ("student", "TC", 0.025),
        ("student", "ET", -0.05),
        ("choi2023_two_stage", "WT", 0.07),
    ]
    found = [
        given
        | {"method": "choi2023", "baseline": b, "region": r, "dice_gain": g}
        | {"trainings_ci_low": g - 0.02, "trainings_ci_high": g + 0.03}
        for b, r, g in gains
    ]
    elsewhere = [row | {"cohort": "phantom-b", "dice_gain": 0.08} for row in found]
    means = [
        {"cohort": cohort, "method": method, "modalities": subset, "region": region, "dice_mean": mean + place}
        for place, cohort in enumerate(("phantom-a", "phantom-b"))
        for method, subset, means in (
            ("student", "t1ce+flair", (0.7, 0.6, 0.5)),
            ("student", "t1", (0.1, 0.1, 0.1)),
            ("teacher", ALL, (0.8, 0.7, 0.7)),
        )
        for region, mean in zip(REGIONS, means, strict=True)
    ]
    table = study_page.gap(pd.DataFrame(found + elsewhere), pd.DataFrame(means))
    assert "| WT, gap 0.100 | TC, gap 0.100 | ET, gap 0.200 |" in table
    assert cells(table, "`choi2023`") == ["50% (30% to 80%)", "25% (5% to 55%)", "−25% (−35% to −10%)"]


def test_methods_stand_in_the_configs_order_and_controls_behind() -> None:
    names = ["two_students", "student_again", "mine", "hinton2015", "choi2023"]
    assert study_page.in_order(names) == ["choi2023", "hinton2015", "student_again", "two_students", "mine"]


def test_networks_for_any_subset_are_averaged_over_all(per_case: pd.DataFrame) -> None:
    table = study_page.any_subset(per_case, all_subsets())
    # 4 single, 6 pairs, 4 triples and one of four: 0.1 × 32 / 15.
    assert cells(table, "phantom-a", "`modality_dropout`")[:3] == ["0.513", "0.213", "0.213"]
    assert cells(table, "phantom-a", "`modality_dropout`")[3:] == ["0.200", "0.200", "0.300", "0.300"]
    assert "`student`" not in table


def test_orders_in_patients_and_phantoms_are_compared(per_case: pd.DataFrame) -> None:
    in_patients = {"t1": (0.5, 0.7, 0.3), "t1ce+flair": (0.6, 0.5, 0.7)}
    found = [
        {"case": "a", "method": method, "subset": subset, "seed": 0, "region": region, "dice": dice}
        for subset, values in in_patients.items()
        for method, dice in zip(GAINS, values, strict=True)
        for region in REGIONS
    ]
    text = study_page.patients(pd.DataFrame(found), per_case)
    assert cells(text, "T1", "`choi2023`") == ["0.70", "0.70", "0.70", "0.62"]
    assert text.endswith("T1 +1.00, T1ce + FLAIR −1.00.")


def test_the_page_has_a_place_for_every_table() -> None:
    page = (REPOSITORY / "docs" / "study.md").read_text()
    for name in ("weights", "primary", "gains", "gap", "cost", "any", "patients", "barlow", "repeats", "power"):
        assert page.count(f"<!-- {name}:start -->") == page.count(f"<!-- {name}:end -->") == 1
