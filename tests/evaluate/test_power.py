"""Power against studies that are simulated one by one and analysed as `crossmodal tables` does."""

import numpy as np
import pandas as pd
import pytest

from crossmodal.evaluate.blocks import blocks
from crossmodal.evaluate.power import Spread, spread
from crossmodal.evaluate.trainings import crossed


def study(draw, one, gain, trainings, patients):
    """Dice of a method and of a baseline, each of shape (patients, trainings)."""
    case = draw.normal(0.7, 0.1, (patients, 1))  # what both methods share
    for shift in (draw.normal(gain, one.patients, (patients, 1)), 0):
        of_training = draw.normal(0, one.trainings, (1, trainings))
        yield case + shift + of_training + draw.normal(0, one.residual, (patients, trainings))


def by_training(dice):
    """The same in the format of `blocks.by_training`."""
    patients, trainings = dice.shape
    index = pd.MultiIndex.from_tuples([(f"p{k:03d}", "") for k in range(patients)], names=["patient", "case"])
    return pd.DataFrame(dice, index, pd.MultiIndex.from_product([["0"], range(trainings)], names=["fold", "seed"]))


def test_tables_analyse_a_study_as_it_is_simulated_here():
    arrays = list(study(np.random.default_rng(0), Spread(0.01, 0.02, 0.04), 0.03, 5, 12))
    assert blocks(*map(by_training, arrays)).mean() == crossed(*arrays)


@pytest.mark.parametrize(
    ("one", "gain", "trainings", "patients"),
    [
        (Spread(0.015, 0.0, 0.015), 0.046, 3, 12),  # trainings vary most: two degrees of freedom each
        (Spread(0.01, 0.1, 0.02), 0.05, 3, 60),  # patients vary most
        (Spread(0.002, 0.02, 0.1), 0.07, 5, 12),  # neither: the rest, which the interval counts twice
        (Spread(0.01, 0.02, 0.04), 0.03, 10, 20),
    ],
)
def test_power_is_the_share_of_studies_that_find_the_gain(one, gain, trainings, patients):
    draw, studies = np.random.default_rng(0), 1500
    intervals = np.array([crossed(*study(draw, one, gain, trainings, patients)).interval() for _ in range(studies)])
    power = one.power(gain, trainings, patients)
    assert 0.4 < power < 0.97
    assert (intervals[:, 0] > 0).mean() == pytest.approx(power, abs=3 * (power * (1 - power) / studies) ** 0.5)
    covered = ((intervals[:, 0] <= gain) & (gain <= intervals[:, 1])).mean()
    assert covered > 0.95 - 3 * (0.95 * 0.05 / studies) ** 0.5


def test_spread_is_recovered_and_pooled():
    draw, true = np.random.default_rng(1), Spread(0.012, 0.03, 0.05)
    pairs = [tuple(study(draw, true, 0.02, 40, 60)) for _ in range(8)]
    found = spread(pairs)
    assert found.trainings == pytest.approx(true.trainings, rel=0.12)
    assert found.patients == pytest.approx(true.patients, rel=0.12)
    assert found.residual == pytest.approx(true.residual, rel=0.03)
    singles = [spread([pair]).residual ** 2 for pair in pairs]
    assert found.residual**2 == pytest.approx(np.mean(singles))


def test_a_negative_variance_is_none():
    constant = np.full((5, 3), 0.5)
    assert spread([(constant, constant)]) == Spread(0.0, 0.0, 0.0)
    assert Spread(0.0, 0.0, 0.0).power(0.01, 3, 12) == 1.0


def test_patients_needed_are_the_fewest_that_reach_the_power():
    one = Spread(0.01, 0.08, 0.04)
    needed = one.patients_for(0.02, 10, 0.8, 2000)
    assert 10 < needed < 2000
    assert one.power(0.02, 10, needed) >= 0.8 > one.power(0.02, 10, needed - 1)
    assert one.patients_for(0.02, 20, 0.8, 2000) < needed < one.patients_for(0.02, 10, 0.9, 2000)
    assert one.patients_for(0.2, 10, 0.8, 2000) == 10  # the fewest that are considered


def test_more_patients_do_not_replace_trainings():
    assert np.isnan(Spread(0.02, 0.01, 0.01).patients_for(0.02, 3, 0.8, 2000))
    assert Spread(0.001, 0.5, 0.01).patients_for(0.01, 3, 0.8, 2000) == np.inf


def test_without_a_gain_one_study_in_forty_finds_one():
    assert Spread(0.01, 0.05, 1e-6).power(0.0, 10, 50) == pytest.approx(0.025, abs=0.003)
