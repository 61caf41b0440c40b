"""Intervals over patients and trainings: against scipy and statsmodels, by simulation, and what a row may claim."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng as rng
from per_case_maker import rows, stack
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from crossmodal.evaluate import trainings
from crossmodal.evaluate.blocks import blocks, by_training
from crossmodal.evaluate.comparisons import compare, finding_words
from crossmodal.evaluate.pages import write_tables
from crossmodal.evaluate.summary import dice_with_interval, summarise

pytestmark = pytest.mark.filterwarnings("error")


# --- against what is known -----------------------------------------------------------------------------------


def test_without_noise_of_patients_it_is_welch_s_test():
    one, other = np.array([0.80, 0.82, 0.85, 0.81]), np.array([0.78, 0.79, 0.80])
    mean = trainings.crossed(np.tile(one, (12, 1)), np.tile(other, (12, 1)))
    welch = stats.ttest_ind(one, other, equal_var=False)
    assert (mean.p(), mean.df) == pytest.approx((welch.pvalue, welch.df))
    assert mean.interval() == pytest.approx(tuple(welch.confidence_interval()))


def test_without_noise_of_trainings_it_is_student_s_test():
    one, other = rng(0).uniform(0.5, 0.9, (2, 15))
    mean = trainings.crossed(np.repeat(one[:, None], 3, 1), np.repeat(other[:, None], 4, 1))
    assert mean.p() == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert mean.df == pytest.approx(14)


def test_folds_of_equal_size_are_a_sample():
    values = np.array([0.01, 0.03, 0.02, 0.05, -0.01])
    mean = trainings.over_folds(values, np.full(5, 20))
    assert mean.p() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert mean.p_within(0.04) == pytest.approx(DescrStatsW(values).ttost_mean(-0.04, 0.04)[0])


def test_no_difference_at_all_and_the_same_difference_everywhere():
    same = np.full((12, 3), 0.8)
    none, sure = trainings.crossed(same, same), trainings.crossed(same + 0.05, same)
    assert (none.p(), none.p_within(0.01)) == (1, 0) and none.interval() == (0, 0)
    assert (sure.p(), sure.p_within(0.01)) == (0, 1)


@pytest.mark.parametrize("shape", [(1, 3), (12, 1)])
def test_one_patient_or_one_training_has_no_error(shape):
    mean = trainings.crossed(rng(0).random(shape), rng(1).random(shape))
    assert np.isnan([*mean.interval(), mean.p(), mean.p_within(0.01)]).all() and np.isfinite(mean.value)


@given(seed=st.integers(0, 99), shift=st.floats(-0.5, 0.5))
def test_order_and_a_shift_change_nothing(seed, shift):
    draw = rng(seed)
    one, other = draw.random((8, 4)), draw.random((8, 3))
    order = draw.permutation(8)
    mean = trainings.crossed(one, other)
    moved = trainings.crossed(one[order][:, ::-1] + shift, other[order])
    assert (moved.value - shift, moved.se, moved.df) == pytest.approx((mean.value, mean.se, mean.df))


# --- from rows to arrays -------------------------------------------------------------------------------------


def noisy(draw, *, method, seeds=3, folds=(0,), gain=0.0, patients=24, sd=0.015, residual=0.02, base=None, **options):
    """Rows of several trainings of a method, on shared patients (`base`)."""
    return [
        rows(
            base + gain + draw.normal(0, sd) + draw.normal(0, residual, patients), method=method, seed=seed, fold=fold
        ).assign(**options)
        for seed in range(seeds)
        for fold in folds
    ]


def study(draw, cohort="site", gain=0.0, **settings):
    base = draw.normal(0.75, 0.1, settings.get("patients", 24))
    tables = [
        *noisy(draw, method="student", base=base, cohort=cohort, **settings),
        *noisy(draw, method="choi2023", base=base, gain=gain, cohort=cohort, **settings),
    ]
    return stack(*tables)


def test_a_cross_validation_has_a_block_a_fold():
    table = study(rng(0), seeds=1, folds=range(5))
    place = table["patient"].str[-3:].astype(int) % 5
    nested = table[place == table["fold"].astype(int)]
    found = blocks(*(by_training(nested[nested["method"] == m]) for m in ("choi2023", "student")))
    assert [len(block[0]) for block in found.arrays] == [5, 5, 5, 5, 4] and found.trainings() == 5
    row = compare(nested, resamples=0).iloc[0]
    assert row["n"] == 24 and row["n_trainings"] == 5 and np.isnan(row["sd_trainings"])
    assert "5 folds that score patients of their own" in row["note"]
    wide = nested.pivot(index=["patient", "fold"], columns="method", values="dice")
    gains = (wide["choi2023"] - wide["student"]).groupby("fold").mean()
    assert row["p_trainings"] == pytest.approx(stats.ttest_1samp(gains, 0).pvalue, rel=0.1)
    two = compare(nested[nested["fold"].isin(["0", "1"])], resamples=0).iloc[0]
    assert two["finding"] == "too few trainings"


def test_cases_that_a_training_lacks_are_left_out_and_counted():
    table = study(rng(0))
    table = table[(table["method"] == "student") | (table["seed"] != "1") | (table["case"] > "case002")]
    row = compare(table, resamples=0).iloc[0]
    assert row["n"] == 21 and "3 cases left out: not scored by every training" in row["note"]


def test_sd_between_trainings_is_that_of_their_means():
    table = study(rng(3), seeds=4)
    means = table.groupby(["method", "seed"])["dice"].mean().groupby("method").std()
    row = compare(table, resamples=0).iloc[0]
    assert [row["sd_trainings"], row["sd_trainings_baseline"]] == pytest.approx([means["choi2023"], means["student"]])


# --- what a row may claim ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "finding", "words"),
    [
        ({"gain": 0.08, "seeds": 5}, "gain", "gain"),
        ({"gain": -0.08, "seeds": 5}, "loss", "loss"),
        ({"gain": 0.001, "seeds": 5, "sd": 0.001, "residual": 0.003}, "equivalent", "within ±0.01"),
        ({"gain": 0.0, "seeds": 3}, "not shown", "not shown; at most +0."),
        ({"gain": 0.3, "seeds": 2}, "too few trainings", "too few trainings"),
    ],
)
def test_findings(settings, finding, words):
    row = next(compare(study(rng(1), **settings), resamples=0).itertuples())
    assert row.finding == finding and finding_words(row).startswith(words)


def test_the_margin_is_the_config_s(tmp_path):
    table = study(rng(1), gain=0.001, seeds=5, sd=0.001, residual=0.003)
    table.to_csv(tmp_path / "per_case.csv", index=False)
    (tmp_path / "config.yaml").write_text("margin: 0.0005\n")
    write_tables(tmp_path, resamples=0)
    row = pd.read_csv(tmp_path / "comparisons.csv").iloc[0]
    assert row["margin"] == 0.0005 and row["finding"] != "equivalent"


def test_a_mean_says_over_what_its_interval_is():
    few, many = (next(summarise(study(rng(1), seeds=seeds), 199).itertuples()) for seeds in (2, 3))
    assert dice_with_interval(few).endswith(")*") and dice_with_interval(many).endswith(")")
    assert many.trainings_ci_low < many.dice_ci_low and np.isnan(few.trainings_ci_low)


# --- by simulation -------------------------------------------------------------------------------------------

STUDIES = 120


@pytest.mark.parametrize("seeds", [3])
def test_null_studies_are_called_an_effect_in_five_per_cent(seeds, tmp_path, monkeypatch):
    """Through `crossmodal tables`: a cohort a study, with as much noise of training as was measured."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels calls it for every family: most of the time here
    draw = rng(seeds)
    stack(*(study(draw, f"study{k:03d}", seeds=seeds) for k in range(STUDIES))).to_csv(
        tmp_path / "per_case.csv", index=False
    )
    write_tables(tmp_path, resamples=0)
    table = pd.read_csv(tmp_path / "comparisons.csv")
    assert len(table) == STUDIES
    wrong = int(((table["trainings_ci_low"] > 0) | (table["trainings_ci_high"] < 0)).sum())
    assert wrong <= stats.binom.ppf(0.9995, STUDIES, 0.05) and wrong == (table["p_trainings"] < 0.05).sum()
    assert table["finding"].isin(["gain", "loss"]).sum() == wrong
    # Patients alone, as every paper of the field counts them, call the noise of training an effect.
    assert (table["p_wilcoxon"] < 0.05).mean() > 0.35
