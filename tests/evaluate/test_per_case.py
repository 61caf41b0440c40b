"""From the rows of per_case.csv to one number a patient: the rule that tables, figures and report share."""

import pytest
from per_case_maker import rows, stack

from crossmodal.evaluate.per_case import held_out, patients
from crossmodal.evaluate.summary import summarise


def test_visits_folds_and_seeds_are_averaged_before_anything():
    # Patient A: a visit with two seeds at 0.8 and one with one at 0.2: 0.5, where a mean over all rows would be 0.6.
    # Patient B: one visit, 0.9.
    table = stack(rows([0.8, 0.2, 0.9], visits=2), rows([0.8], seed=1, visits=2))
    found = patients(table)
    assert found["patient"].tolist() == ["patient000", "patient001"]
    assert found["dice"].tolist() == pytest.approx([0.5, 0.9]) and found["hd95_mm"].tolist() == pytest.approx([5, 1])
    (row,) = summarise(table, resamples=0).itertuples()
    assert (row.n, row.runs, row.dice_mean) == (2, 2, pytest.approx(0.7))


def test_volume_error_is_absolute_in_each_prediction_before_it_is_averaged():
    table = stack(rows([0.5, 0.5]), rows([0.5, 0.5], seed=1))
    (row,) = summarise(table.assign(volume_ref_ml=10.0, volume_pred_ml=[7.0, 12.0, 13.0, 12.0]), 0).itertuples()
    assert (row.volume_error_mean_ml, row.volume_error_abs_mean_ml) == (1.0, 2.5)


def test_groups_come_in_the_order_of_the_tables_and_patients_by_name():
    table = stack(
        *(
            rows([0.5, 0.6], method=method, modalities=subset, region=region)
            for method in ("zeta", "alpha")
            for subset in ("t1+t2", "t1")
            for region in ("ET", "WT")
        )
    )
    found = patients(table)
    assert list(found["method"].unique()) == ["zeta", "alpha"]
    assert list(found["modalities"].unique()) == ["t1", "t1+t2"] and list(found["region"].unique()) == ["WT", "ET"]
    assert len(found) == 2 * 2 * 2 * 2 and list(found["patient"][:2]) == ["patient000", "patient001"]
    assert len(patients(table, by=["method"])) == 2 * 2


def test_a_cohort_is_judged_by_its_test_set_where_it_has_one():
    table = stack(
        rows([0.1, 0.2], cohort="held", split="train"),
        rows([0.9], cohort="held", seed=1),
        rows([0.3], cohort="folds", split="train"),
        rows([0.4], cohort="other", split="external"),
    )
    kept, notes = held_out(table)
    assert kept["dice"].tolist() == [0.9, 0.3, 0.4]
    assert notes == ["held: 2 validation cases left out: the cohort has a held-out test set"]
