"""How many trainings and patients it takes to find a gain, from what Dice varies by."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from crossmodal.evaluate.statistics import CONFIDENCE, FEW_PATIENTS

DRAWS = 1024  # possible studies over which a power is averaged


@dataclass(frozen=True)
class Spread:
    """What Dice varies by, as standard deviations.

    Attributes:
        trainings: between trainings of one method, in the mean over very many patients.
        patients: of the true gain, between patients.
        residual: of one patient and training, what is left.
    """

    trainings: float
    patients: float
    residual: float

    def power(self, gain: float, trainings: int, patients: int) -> float:
        """The chance that a true gain is found: that the interval of `trainings.crossed` lies above 0.

        That interval rests on three variances, which each study estimates anew: those of the trainings of either
        method, and that of the patients. The chance is the mean over their chi-squared distributions, taken at
        `DRAWS` points. Trainings, patients and the rest are taken to be normally distributed.

        Args:
            gain: in Dice, above 0.
            trainings: of each of the two methods, two or more.
            patients: that every training scores.
        """
        rest = self.residual**2 / (trainings * patients)
        of_method = self.trainings**2 / trainings + rest
        of_patients = self.patients**2 / patients + 2 * rest
        error = (2 * of_method + of_patients - 2 * rest) ** 0.5
        if error == 0:
            return 1.0
        degrees = np.array([trainings - 1, trainings - 1, patients - 1])
        parts = np.array([of_method, of_method, of_patients]) * stats.chi2.ppf(_points(), degrees) / degrees
        variance = parts.sum(axis=1)
        df = variance**2 / (parts**2 / degrees).sum(axis=1)
        half = stats.t.ppf((1 + CONFIDENCE) / 2, df) * variance**0.5
        return float(stats.norm.sf((half - gain) / error).mean())

    def patients_for(self, gain: float, trainings: int, power: float, most: int) -> float:
        """The fewest patients, from ten on, that find a gain with this power.

        Returns:
            `inf` where more than `most` are needed, NaN where no number is enough.
        """
        if self.power(gain, trainings, 10**9) < power:
            return np.nan
        if self.power(gain, trainings, most) < power:
            return np.inf
        low, high = FEW_PATIENTS - 1, most  # `high` is enough, `low` is not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.power(gain, trainings, middle) >= power else (middle, high)
        return high


@cache
def _points() -> np.ndarray:
    """Points that fill the unit cube evenly, the same in every call, shape (DRAWS, 3)."""
    return stats.qmc.Sobol(3, rng=0).random(DRAWS)


def spread(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Spread:
    """The spread of comparisons by the method of moments: the mean variance over them, 0 in place of a negative one.

    Args:
        pairs: of each comparison the Dice of the method and of its baseline, in the same patients, each of shape
            (patients, trainings), two patients and two trainings or more.
    """
    variances = np.mean([_variances(method, baseline) for method, baseline in pairs], axis=0)
    return Spread(*map(float, np.maximum(variances, 0) ** 0.5))


def _variances(method: np.ndarray, baseline: np.ndarray) -> list[float]:
    """Between trainings, of the gain between patients, and residual."""
    patients = len(method)
    residuals, between = [], []
    for sample in (method, baseline):
        left = sample - sample.mean(axis=0) - sample.mean(axis=1, keepdims=True) + sample.mean()
        residuals.append((left**2).sum() / ((patients - 1) * (sample.shape[1] - 1)))
        between.append(sample.mean(axis=0).var(ddof=1) - residuals[-1] / patients)
    shared = sum(r / sample.shape[1] for r, sample in zip(residuals, (method, baseline), strict=True))
    of_gain = (method.mean(axis=1) - baseline.mean(axis=1)).var(ddof=1) - shared
    return [np.mean(between), of_gain, np.mean(residuals)]
