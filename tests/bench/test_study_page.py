"""The tables of docs/study.md: each number is what the rows say, in the right cell."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study_cost
import study_page

from crossmodal.domain import ALL, REGIONS, all_subsets
from crossmodal.files import write_yaml
from tests.conftest import REPOSITORY, TINY_BUDGET
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
    with_t1 = [row | {"modalities": "t1"} for row in found]
    means = [
        {"cohort": cohort, "method": method, "modalities": subset, "region": region, "dice_mean": mean + place}
        for place, cohort in enumerate(("phantom-a", "phantom-b"))
        for method, subset, means in (
            ("student", "t1ce+flair", (0.7, 0.6, 0.5)),
            ("student", "t1", (0.75, 0.7, 0.2)),
            ("teacher", ALL, (0.8, 0.7, 0.7)),
        )
        for region, mean in zip(REGIONS, means, strict=True)
    ]
    table = study_page.gap(pd.DataFrame(found + elsewhere + with_t1), pd.DataFrame(means))
    assert cells(table, "T1ce + FLAIR", "the gap in Dice") == ["0.100", "0.100", "0.200"]
    expected = ["50% (30% to 80%)", "25% (5% to 55%)", "−25% (−35% to −10%)"]
    assert cells(table, "T1ce + FLAIR", "`choi2023`") == expected
    assert cells(table, "T1", "`choi2023`") == ["100% (60% to 160%)", "no gap", "−10% (−14% to −4%)"]


def test_a_method_costs_what_it_and_its_teacher_take(per_case: pd.DataFrame) -> None:
    ratios = {"teacher": 1.1, "student": 1.0, "choi2023": 2.0, "hinton2015": 1.3, "hu2020": 9.0}
    table = study_page.cost(per_case, pd.DataFrame(ratios.items(), columns=["method", "ratio"]))
    assert [cell[:6] for cell in cells(table, "`choi2023`")] == ["2.00", "2.00", "+0.040"]
    assert [cell[:6] for cell in cells(table, "`hinton2015`")] == ["1.30", "2.40", "−0.060"]
    assert "hu2020" not in table and "student" not in table


@pytest.mark.slow
def test_costs_are_measured_in_one_run(tiny_dataset: Path, tmp_path: Path) -> None:
    budget = tmp_path / "budget.yaml"
    write_yaml(budget, TINY_BUDGET)
    student, taught = study_cost.measured(tiny_dataset, tmp_path, str(budget), ("student", "hinton2015"), 2, warm_up=1)
    assert (student["method"], student["ratio"], student["spread"]) == ("student", 1, 0)
    assert taught["method"] == "hinton2015" and taught["n"] == 2
    assert taught["ratio"] == pytest.approx(taught["step_ms"] / student["step_ms"], abs=2e-3)


def test_every_method_of_the_study_has_a_cost() -> None:
    """Those whose names say that they only have other weights, or another teacher of the same size, do not need one."""
    others = {"student_again", *(name for name in study_page.in_study() if name.endswith(("_own", "_same")))}
    measured = set(pd.read_csv(study_cost.TABLE)["method"])
    assert set(study_page.in_study()) - others <= measured | set(study_page.AS_OFTEN) | {"student_with_logits"}
    assert np.isfinite(pd.read_csv(study_cost.TABLE)["ratio"]).all()


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
