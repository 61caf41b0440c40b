"""Means with intervals, paired comparisons and the share of the gap recovered, always over patients.

scipy and statsmodels do the statistics; this arranges what goes into them.
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
DIGITS = 9  # means over folds and seeds of equal values may differ in the last bit: that is no difference
BATCH = 500  # resamples held in memory at once; the random stream does not depend on it


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval; both ends NaN where none can be given, and `note` says why."""

    low: float
    high: float
    note: str = ""


def generator(*name: str) -> np.random.Generator:
    """A random stream of its own for each number of a table, so that a row does not depend on the others."""
    return np.random.default_rng(zlib.crc32("|".join(name).encode()))


def mean_interval(values: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES) -> Interval:
    """BCa bootstrap interval of a mean (Efron 1987) over patients; `values` has shape (patients,)."""
    values = np.round(np.asarray(values, dtype=float), DIGITS)
    if values.size < 2 or resamples == 0:
        return Interval(np.nan, np.nan, "no interval from one patient" if resamples else "")
    note = f"interval from {values.size} patients only" if values.size < FEW_PATIENTS else ""
    if np.ptp(values) == 0:
        return Interval(values[0], values[0], note)
    low, high = _bootstrap((values,), np.mean, rng, resamples)
    return Interval(low, high, note)


def gap_recovered(
    method: np.ndarray,
    student: np.ndarray,
    teacher: np.ndarray,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[float, Interval]:
    """(method − student) / (teacher − student) of the mean Dice, and its paired bootstrap interval.

    Empty where teacher − student is not above 0. A point without an interval where the gap's own interval
    reaches 0, since a ratio whose denominator may vanish has no bounded interval (Fieller 1954).

    Args:
        method, student, teacher: Dice of the same patients in the same order, shape (patients,).
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
    """Two-sided Wilcoxon signed-rank p of paired differences, and a note where it cannot say much.

    Zero differences are dropped (Wilcoxon's own rule); scipy takes the exact distribution for small samples.
    """
    differences = np.round(np.asarray(differences, dtype=float), DIGITS)
    unequal = np.count_nonzero(differences)
    if not differences.size:
        return np.nan, "no pair of patients"
    if not unequal:
        return 1.0, "no difference in any patient"
    p = float(stats.wilcoxon(differences).pvalue)
    return p, f"too few unequal pairs for p < 0.05: {unequal}" if unequal < 6 else ""


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm-adjusted p values of one family; NaN entries stay NaN and are no part of the family."""
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full_like(p_values, np.nan)
    given = ~np.isnan(p_values)
    if given.any():
        adjusted[given] = multipletests(p_values[given], method="holm")[1]
    return adjusted


def joined(notes: list[str]) -> str:
    """The notes of a row in one cell; empty ones are none."""
    return "; ".join(note for note in notes if note)


def _bootstrap(samples: tuple, statistic, rng: np.random.Generator, resamples: int) -> tuple[float, float]:
    """Ends of the BCa interval; of the percentile interval where BCa is not defined; paired samples."""
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # A degenerate BCa gives NaN, which the next turn of the loop mends.
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
