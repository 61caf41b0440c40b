"""Means with intervals, paired comparisons and the share of the gap recovered, always over patients.

The statistics are those of scipy and statsmodels.
"""

import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

RESAMPLES = 9999
CONFIDENCE = 0.95
FEW_PATIENTS = 10
DIGITS = 9  # means of equal values over folds and seeds may differ in the last bit, which is no difference
BATCH = 500  # resamples held in memory at once; the random stream does not depend on it


@dataclass(frozen=True)
class Interval:
    """A 95% bootstrap interval; both ends are NaN where there is none, and `note` says why."""

    low: float
    high: float
    note: str = ""


def generator(*name: str) -> np.random.Generator:
    """A random stream for one number of a table, seeded by its name, so that no row depends on the others."""
    return np.random.default_rng(zlib.crc32("|".join(name).encode()))


def mean_interval(values: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES) -> Interval:
    """BCa bootstrap interval of a mean over patients (Efron 1987, J Am Stat Assoc 82:171).

    Args:
        values: one number a patient, shape (patients,).
        rng: the random stream.
        resamples: of the bootstrap; 0 for no interval.
    """
    values = np.round(np.asarray(values, dtype=float), DIGITS)
    if values.size < 2 or resamples == 0:
        return Interval(np.nan, np.nan, "no interval from one patient" if resamples else "")
    note = f"interval from {values.size} patients only" if values.size < FEW_PATIENTS else ""
    if np.ptp(values) == 0:
        return Interval(values[0], values[0], note)
    low, high = _bootstrap((values,), np.mean, rng, resamples)
    return Interval(low, high, note)


def gap_recovered(
    method: np.ndarray, student: np.ndarray, teacher: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, Interval]:
    """(method − student) / (teacher − student) of the mean Dice, and its paired bootstrap interval.

    NaN where teacher − student is not above 0. There is a share without an interval where the interval of
    teacher − student reaches 0: a ratio whose denominator may be 0 has no bounded interval (Fieller 1954, J R Stat
    Soc B 16:175).

    Args:
        method, student, teacher: Dice of the same patients in the same order, shape (patients,).
        rng: the random stream.
        resamples: of the bootstrap; 0 for no interval.
    """
    if not method.size:
        return np.nan, Interval(np.nan, np.nan, "no gap: no patient has teacher, student and method")
    gap = np.mean(teacher - student)
    if round(float(gap), DIGITS) <= 0:
        return np.nan, Interval(np.nan, np.nan, "no gap: teacher − student is not above 0")
    share = float(np.mean(method - student) / gap)
    if resamples == 0:
        return share, Interval(np.nan, np.nan)
    if method.size < 2:
        return share, Interval(np.nan, np.nan, "gap without interval: one patient")
    if not mean_interval(teacher - student, rng, resamples).low > 0:
        return share, Interval(np.nan, np.nan, "gap without interval: that of teacher − student reaches 0")

    def ratio(method, student, teacher, axis):
        return np.mean(method - student, axis=axis) / np.mean(teacher - student, axis=axis)

    return share, Interval(*_bootstrap((method, student, teacher), ratio, rng, resamples))


def wilcoxon_p(differences: np.ndarray) -> tuple[float, str]:
    """Two-sided p of the Wilcoxon signed-rank test (Wilcoxon 1945), and a note where there are too few pairs.

    Zero differences are dropped, as Wilcoxon does; scipy uses the exact distribution for small samples.

    Args:
        differences: one paired difference a patient, shape (patients,).
    """
    differences = np.round(np.asarray(differences, dtype=float), DIGITS)
    unequal = differences[differences != 0]
    if not differences.size:
        return np.nan, "no pair of patients"
    if not unequal.size:
        return 1.0, "no difference in any patient"
    p = float(stats.wilcoxon(unequal).pvalue)
    return p, f"too few unequal pairs for p < 0.05: {unequal.size}" if unequal.size < 6 else ""


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm-adjusted p values of one family (Holm 1979); NaN stays NaN and does not count in the family."""
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full_like(p_values, np.nan)
    given = ~np.isnan(p_values)
    if given.any():
        adjusted[given] = multipletests(p_values[given], method="holm")[1]
    return adjusted


def joined(notes: list[str]) -> str:
    """The notes of a row in one cell, without empty ones."""
    return "; ".join(note for note in notes if note)


def _bootstrap(samples: tuple, statistic, rng: np.random.Generator, resamples: int) -> tuple[float, float]:
    """Ends of the BCa interval, or of the percentile interval where BCa is not defined; several samples are paired."""
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
            # Where BCa is not defined it gives NaN, and the percentile interval follows.
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            result = stats.bootstrap(
                samples,
                statistic,
                paired=len(samples) > 1,
                n_resamples=resamples,
                batch=BATCH,
                confidence_level=CONFIDENCE,
                method=method,
                rng=rng,
            ).confidence_interval
        if np.isfinite([result.low, result.high]).all():
            break
    return float(result.low), float(result.high)
