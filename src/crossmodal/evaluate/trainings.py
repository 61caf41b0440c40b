"""Means and gains that hold over patients and over trainings: interval, p value, equivalence.

Two networks of one method differ when only the seed differs, and a test over patients alone takes that for an effect.
Here trainings are a sample too. docs/evaluation.md has the simulations by which the procedure was chosen.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from crossmodal.evaluate.statistics import CONFIDENCE, DIGITS

FEWEST = 3  # trainings of each method: with fewer, nothing is claimed


@dataclass(frozen=True)
class Mean:
    """A mean of Dice, or a difference of two, with its standard error and degrees of freedom; NaN where unknown."""

    value: float
    se: float = np.nan
    df: float = np.nan

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Ends of the t interval."""
        if not self.se > 0:
            return self.value - self.se, self.value + self.se
        half = self.se * stats.t.ppf((1 + confidence) / 2, self.df)
        return self.value - half, self.value + half

    def p(self) -> float:
        """Two-sided p of the t test against 0."""
        return float(np.minimum(1.0, 2 * self._beyond(abs(self.value))))

    def p_within(self, margin: float) -> float:
        """p of the two one-sided tests that the true value lies within ±margin (Schuirmann 1987, J Pharmacokinet
        Biopharm 15:657): below 0.05, it is equivalent to 0 for that margin."""
        return float(self._beyond(margin - abs(self.value)))

    def _beyond(self, distance: float) -> float:
        """The chance of an error of one sign that is larger than a distance; NaN where the error is unknown."""
        if np.isnan(self.se):
            return np.nan
        if self.se == 0:
            return 0.0 if distance > 0 else 1.0
        return stats.t.sf(distance / self.se, self.df)


def crossed(method: np.ndarray, baseline: np.ndarray | None = None) -> Mean:
    """Mean Dice of a method, or its gain over a baseline, when every training scores the same patients.

    The variance of the mean is that of the trainings of each method and that of the patients,
    V = V_T(method) / S + V_T(baseline) / S' + V_P / P, where V_T is the variance of the means of single trainings and
    V_P that of the patients' mean gains. The degrees of freedom are Satterthwaite's (1946, Biometrics Bulletin 2:110).
    What trainings and patients share is counted in both, which keeps the interval on the wide side. Trainings are not
    paired: those of two methods have little in common but their patients, whatever their seeds.

    Args:
        method: Dice of shape (patients, trainings).
        baseline: of the same patients, with its own trainings, shape (patients, trainings).
    """
    samples = [method] if baseline is None else [method, baseline]
    of_patients = method.mean(axis=1) - (0 if baseline is None else baseline.mean(axis=1))
    value = float(of_patients.mean())
    if len(of_patients) < 2 or min(sample.shape[1] for sample in samples) < 2:
        return Mean(value)
    parts = [(_square_of_mean(sample.mean(axis=0)), sample.shape[1] - 1) for sample in samples]
    parts.append((_square_of_mean(of_patients), len(of_patients) - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Mean(value, 0.0, np.inf)
    return Mean(value, float(variance**0.5), float(variance**2 / sum(part**2 / df for part, df in parts)))


def over_folds(values: np.ndarray, patients: np.ndarray) -> Mean:
    """Mean over folds that each score patients of their own, as in a cross-validation without a test set.

    Trainings and patients of a fold cannot be told apart there: the fold is the unit, and its mean holds both.

    Args:
        values: one mean a fold, shape (folds,).
        patients: how many patients each fold scores, shape (folds,); the weights.
    """
    weights = patients / patients.sum()
    value, folds = float(weights @ values), len(values)
    if folds < 2:
        return Mean(value)
    errors = np.round(weights * (values - value), DIGITS)
    return Mean(value, float((errors @ errors * folds / (folds - 1)) ** 0.5), folds - 1)


def _square_of_mean(values: np.ndarray) -> float:
    """The squared standard error of a mean of independent values."""
    return float(np.round(values - values[0], DIGITS).var(ddof=1) / len(values))
