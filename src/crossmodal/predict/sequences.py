"""Whether an image looks like the sequence that it is given as.

Of each image 16 numbers are computed from its contrasts at 3 mm (`contrasts`): how far its dark and bright ends lie
from the median, what the rim of the brain and its centre hold (fluid there is dark in T1 and FLAIR, bright in T2), and
how intensity changes from the cortex to the white matter. A multinomial regression gives each image the probability of
being T1, T1ce, T2 or FLAIR. Two images of a patient are compared too (`pair_contrasts`): their rank correlation, and
whether their difference has bright outliers (enhancement) or dark ones, each a normal distribution for every ordered
pair of sequences. What was given is doubted when another assignment of names is clearly more likely.

Coefficients: data/sequence_check.json, which bench/patient_checks.py fits to phantoms; no patient is in them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise, permutations

import numpy as np
from scipy import ndimage

from crossmodal.data import DATA
from crossmodal.domain import MODALITIES, MODALITY_LABELS
from crossmodal.wording import enumerate_words

COEFFICIENTS = DATA / "sequence_check.json"
RESOLUTION_MM = 3.0
# Odds from which an exchange of the given names, or a name that was not given, is said to be more likely.
ODDS_OF_EXCHANGE, ODDS_OF_OTHER = 3.0, 20.0
# Pairs share their images, so their likelihoods are not independent of one another.
WEIGHT_OF_PAIRS = 0.5
CORTEX_TO_CENTRE = (0.15, 0.3, 0.45, 0.6, 0.75, 1.0)  # shares of the brain's voxels, by their distance from its rim
RIM, CENTRE = 0.15, 0.85
FEATURES = (
    *("p1", "p5", "p95", "p99", "p997", "asymmetry", "rim"),
    *("centre_p3", "centre_p97", "centre_dark", "centre_bright"),
    *(f"depth_{number}" for number in range(5)),
)


@dataclass(frozen=True)
class Doubt:
    """Names that fit the images better than the given ones, and the odds for them."""

    better: dict[str, str]  # given name to the name that fits
    odds: float

    def said(self, files: Mapping[str, str]) -> str:
        """The doubt in words.

        Args:
            files: modality to file.
        """
        wrong = [
            f"{files[given]}, given as {MODALITY_LABELS[given]}, looks like {MODALITY_LABELS[name]}"
            for given, name in self.better.items()
            if name != given
        ]
        return enumerate_words(wrong)


def doubt(coarse: Mapping[str, tuple[np.ndarray, list[float]]]) -> Doubt | None:
    """The names that fit the images clearly better than the given ones; None if there are none.

    Args:
        coarse: modality to what `coarsened` gives of its image; all of one shape, background 0.
    """
    given = tuple(name for name in MODALITIES if name in coarse)
    if any(not (image != 0).any() for image, _ in coarse.values()):
        return None
    likelihood = log_likelihoods(
        [contrasts(*coarse[name]) for name in given],
        {pair: pair_contrasts(*(coarse[given[position]][0] for position in pair)) for pair in _pairs(len(given))},
    )
    return judge(given, likelihood)


def judge(given: tuple[str, ...], likelihood: dict[tuple[str, ...], float]) -> Doubt | None:
    """The assignment of `likelihood` that is clearly more likely than the given one; None if there is none."""
    exchanged = [names for names in likelihood if set(names) == set(given)]
    for names, least in ((exchanged, ODDS_OF_EXCHANGE), (list(likelihood), ODDS_OF_OTHER)):
        best = max(names, key=likelihood.__getitem__)
        odds = float(np.exp(min(likelihood[best] - likelihood[given], 50)))
        if odds > least:
            return Doubt(dict(zip(given, best, strict=True)), odds)
    return None


def log_likelihoods(images: list[np.ndarray], pairs: dict[tuple[int, int], np.ndarray]) -> dict[tuple[str, ...], float]:
    """For each assignment of different sequences to the images, its log-likelihood up to a constant.

    Args:
        images: `contrasts` of each.
        pairs: positions of two images to their `pair_contrasts`.
    """
    fitted = _fitted()
    of_image = [_log_probabilities(values, fitted) for values in images]
    found = {}
    for names in permutations(MODALITIES, len(images)):
        total = sum(one[MODALITIES.index(name)] for one, name in zip(of_image, names, strict=True))
        for (first, second), values in pairs.items():
            mean, precision, log_determinant = fitted["pairs"][names[first], names[second]]
            away = values - mean
            total += WEIGHT_OF_PAIRS * -0.5 * (away @ precision @ away + log_determinant)
        found[names] = float(total)
    return found


def coarsened(volume: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, list[float]]:
    """An image averaged over blocks to about 3 mm, 0 where less than half is brain; and the new spacing in mm."""
    steps = [max(1, round(RESOLUTION_MM / side)) for side in spacing]
    whole = tuple(slice(0, size // step * step) for size, step in zip(volume.shape, steps, strict=True))
    cut = volume[whole]
    blocks = [part for size, step in zip(cut.shape, steps, strict=True) for part in (size // step, step)]
    total, count = (np.asarray(a, np.float32).reshape(blocks).sum((1, 3, 5)) for a in (cut, cut != 0))
    brain = count >= np.prod(steps) / 2
    mean = np.where(brain, total / np.maximum(count, 1), 0)
    return mean, [side * step for side, step in zip(spacing, steps, strict=True)]


def contrasts(image: np.ndarray, spacing: list[float]) -> np.ndarray:
    """The 16 numbers named in `FEATURES`; none depends on the unit of the intensities.

    Args:
        image: three axes, 0 outside the brain.
        spacing: mm along each axis.
    """
    brain = ndimage.binary_fill_holes(image != 0)
    distance = ndimage.distance_transform_edt(np.pad(brain, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    values, depth = image[brain], _ranks(distance[brain])
    p1, p5, p25, median, p75, p95, p99, p997 = np.percentile(values, [1, 5, 25, 50, 75, 95, 99, 99.7])
    unit = max(float(p75 - p25), 1e-6)
    rank, centre = _ranks(values), depth > CENTRE
    ends = [*(np.array([p1, p5, p95, p99, p997]) - median), *(np.percentile(values[centre], [3, 97]) - median)]
    ends = np.arcsinh(np.array(ends) / unit)
    return np.array(
        [
            *ends[:5],
            ((p95 - median) - (median - p5)) / max(float(p95 - p5), 1e-6),
            rank[depth < RIM].mean(),
            *ends[5:],
            (rank[centre] < 0.05).mean(),
            (rank[centre] > 0.95).mean(),
            *(rank[(depth >= low) & (depth < high)].mean() for low, high in pairwise(CORTEX_TO_CENTRE)),
        ]
    )


def pair_contrasts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation of two images over their common brain, and the skew of first − second, both by artanh.

    Args:
        first, second: three axes of one shape, 0 outside the brain.
    """
    common = (first != 0) & (second != 0)
    if np.count_nonzero(common) < 10:
        return np.zeros(2)
    one, two = first[common], second[common]
    scaled = []
    for values in (one, two):
        p25, median, p75 = np.percentile(values, [25, 50, 75])
        scaled.append((values - median) / max(float(p75 - p25), 1e-6))
    low, middle, high = np.percentile(scaled[0] - scaled[1], [0.5, 50, 99.5])
    skew = (high + low - 2 * middle) / max(float(high - low), 1e-6)
    correlation = np.corrcoef(_ranks(one), _ranks(two))[0, 1]
    return np.arctanh(np.clip(np.nan_to_num([correlation, skew]), -0.99, 0.99))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 to below 1; equal values in the order in which they are stored."""
    ranks = np.empty(values.size)
    ranks[np.argsort(values, kind="stable")] = np.arange(values.size) / values.size
    return ranks


def _pairs(count: int) -> list[tuple[int, int]]:
    return list(combinations(range(count), 2))


def _log_probabilities(values: np.ndarray, fitted: dict) -> np.ndarray:
    logits = fitted["weights"] @ ((values - fitted["mean"]) / fitted["sd"]) + fitted["bias"]
    return logits - np.logaddexp.reduce(logits)


@cache
def _fitted() -> dict:
    """The coefficients as arrays, sequences in the order of MODALITIES."""
    stored = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
    found: dict = {name: np.array(stored[name]) for name in ("mean", "sd", "weights", "bias")}
    found["pairs"] = {}
    for name, pair in stored["pairs"].items():
        covariance = np.array(pair["covariance"])
        precision, determinant = np.linalg.inv(covariance), np.linalg.slogdet(covariance)[1]
        first, second = name.split()
        found["pairs"][first, second] = (np.array(pair["mean"]), precision, determinant)
    return found
