import numpy as np
import pytest
from numpy.random import default_rng as rng
from per_case_maker import ALL, rows, stack
from scipy import stats

from crossmodal.evaluate import statistics
from crossmodal.evaluate.comparisons import compare
from crossmodal.evaluate.summary import summarise

pytestmark = pytest.mark.filterwarnings("error")


# --- against what is known by hand ------------------------------------------------------------------------


def test_wilcoxon_by_hand():
    # Six positive differences: the most extreme of 2⁶ sign patterns, twice.
    assert statistics.wilcoxon_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])) == (pytest.approx(2 / 64), "")
    assert statistics.wilcoxon_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))[0] == pytest.approx(2 / 32)
    assert statistics.wilcoxon_p(np.zeros(8))[0] == 1


def test_rounding_noise_is_no_difference():
    noise = np.array([1e-17, -2e-17, 3e-17, 0, 0, 0])
    assert statistics.wilcoxon_p(noise) == (1.0, "no difference in any patient")
    assert statistics.wilcoxon_p(noise + np.repeat([0, 0.1], 3))[0] == statistics.wilcoxon_p(np.full(3, 0.1))[0]


def test_holm_by_hand():
    p = np.array([0.04, np.nan, 0.01, 0.03])
    np.testing.assert_allclose(statistics.holm(p), [0.06, np.nan, 0.03, 0.06])
    assert np.isnan(statistics.holm(np.array([np.nan]))).all()


def test_interval_is_near_that_of_student_for_normal_values():
    values = rng(0).normal(0.8, 0.1, 200)
    interval = statistics.mean_interval(values, rng(1))
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(expected, abs=0.001)


def test_gap_recovered_by_hand():
    student, teacher = np.full(20, 0.6), np.full(20, 0.8) + np.linspace(-0.01, 0.01, 20)
    share, interval = statistics.gap_recovered(np.full(20, 0.65), student, teacher, rng(0))
    assert share == pytest.approx(0.25)
    assert interval.low < 0.25 < interval.high


@pytest.mark.parametrize("teacher", [0.6, 0.5])
def test_no_gap_no_share(teacher):
    student = np.full(20, 0.6)
    share, interval = statistics.gap_recovered(student + 0.1, student, np.full(20, teacher), rng(0))
    assert np.isnan([share, interval.low, interval.high]).all()
    assert "not above 0" in interval.note


def test_uncertain_gap_has_a_share_without_interval():
    student, teacher = np.full(20, 0.6), 0.6 + np.linspace(-0.1, 0.12, 20)
    share, interval = statistics.gap_recovered(student + 0.01, student, teacher, rng(0))
    assert share == pytest.approx(1) and np.isnan(interval.low)
    assert "reaches 0" in interval.note


@pytest.mark.parametrize("patients", [0, 1, 2, 3])
def test_few_patients_are_said_to_be_few(patients):
    values = np.linspace(0.5, 0.7, patients)
    interval = statistics.mean_interval(values, rng(0), resamples=99)
    assert ("patient" in interval.note) and (np.isnan(interval.low) == (patients < 2))


# --- known effect, no effect ------------------------------------------------------------------------------

SIMULATIONS = 250
PATIENTS = 24
METHODS = ("one", "two", "three")


def simulate(gain, seed, simulations=SIMULATIONS):
    """As many cohorts as simulations: a student, and `METHODS` that are better by `gain` on average."""
    draw = rng(seed)
    tables = []
    for number in range(simulations):
        case = draw.beta(8, 2, PATIENTS)  # skewed, as Dice is
        for method in ("student", *METHODS):
            noise = draw.normal(0, 0.05, PATIENTS) * draw.choice([0.5, 3], PATIENTS, p=[0.8, 0.2])  # heavy tails
            dice = case + noise + (0 if method == "student" else gain)
            tables.append(rows(dice, cohort=f"simulation{number:03d}", method=method))
    return compare(stack(*tables), resamples=0)


@pytest.fixture(scope="module")
def without_effect():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda: 0)  # statsmodels calls it for every family: most of the time here
        return simulate(0.0, seed=1)


def within_binomial(count, trials, share):
    low, high = stats.binom.ppf([0.0005, 0.9995], trials, share)
    return low <= count <= high


def test_false_positives_at_the_nominal_rate(without_effect):
    for method in METHODS:
        p = without_effect.loc[without_effect["method"] == method, "p_wilcoxon"]
        assert len(p) == SIMULATIONS
        assert within_binomial((p < 0.05).sum(), SIMULATIONS, 0.05)
        assert within_binomial((p < 0.5).sum(), SIMULATIONS, 0.5)


def test_holm_keeps_the_error_of_the_family(without_effect):
    families = without_effect.groupby("cohort")["p_holm"].min()
    unadjusted = without_effect.groupby("cohort")["p_wilcoxon"].min()
    most = stats.binom.ppf(0.9995, SIMULATIONS, 0.05)
    assert (families < 0.05).sum() <= most < (unadjusted < 0.05).sum()
    assert (without_effect["family_size"] == len(METHODS)).all()


def test_a_known_effect_is_found():
    found = simulate(0.05, seed=2, simulations=40)
    assert found["dice_gain"].mean() == pytest.approx(0.05, abs=0.01)
    assert (found["p_wilcoxon"] < 0.05).mean() > 0.7


def test_gap_interval_covers_the_true_share():
    draw, trials = rng(4), 200
    hits = 0
    for number in range(trials):
        student = draw.beta(6, 3, 40)
        teacher = student + draw.normal(0.1, 0.08, 40)
        method = student + 0.4 * (teacher - student) + draw.normal(0, 0.04, 40)
        _, interval = statistics.gap_recovered(method, student, teacher, rng(number), resamples=499)
        hits += interval.low <= 0.4 <= interval.high
    assert 0.89 <= hits / trials <= 0.99


# --- a patient counts once --------------------------------------------------------------------------------


def test_copies_of_a_run_change_nothing():
    draw = rng(5)
    student, method = draw.beta(8, 2, 12), draw.beta(8, 2, 12)
    once = stack(rows(student), rows(method, method="choi2023"))
    thrice = stack(*(once.assign(seed=str(seed), fold=str(fold)) for seed in (0, 1) for fold in (0, 1, 2)))
    few, many = compare(once, 199), compare(thrice, 199)
    over_patients = list(few.columns[: few.columns.get_loc("n_trainings")])
    assert few[over_patients].equals(many[over_patients])
    assert list(few["n_trainings"]) == [1] and list(many["n_trainings"]) == [6] and list(many["sd_trainings"]) == [0]
    columns = ["n", "dice_mean", "dice_ci_low", "dice_ci_high"]
    np.testing.assert_allclose(summarise(once, 199)[columns], summarise(thrice, 199)[columns])


def test_unequal_numbers_of_trainings_are_compared_and_said():
    dice = np.linspace(0.3, 0.5, 12)
    student = [rows(dice), rows(dice + 0.02, seed=1)]
    row = compare(stack(*student, rows(dice + 0.05, method="choi2023")), resamples=199).iloc[0]
    assert row["dice_gain"] == pytest.approx(0.04)
    assert "1 of the method's trainings against 2 of the baseline's" in row["note"]


def test_comparison_against_scipy_and_numpy():
    draw = rng(6)
    student, method, teacher = (draw.beta(a, 3, 30) for a in (5, 6, 9))
    table = stack(rows(student), rows(method, method="choi2023"), rows(teacher, method="teacher", modalities=ALL))
    row = compare(table).iloc[0]
    assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon(method, student).pvalue)
    assert row["dice_gain"] == pytest.approx((method - student).mean())
    share = (method.mean() - student.mean()) / (teacher.mean() - student.mean())
    assert row["gap_recovered"] == pytest.approx(share)
    resampled = draw.integers(0, 30, (20000, 30))
    gains = (method - student)[resampled].mean(axis=1)
    assert [row["ci_low"], row["ci_high"]] == pytest.approx(np.percentile(gains, [2.5, 97.5]), abs=0.01)
