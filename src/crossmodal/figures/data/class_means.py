"""Intensity distributions of class-mean images and of the originals they come from (Dong et al. 2025, figure 3)."""

from pathlib import Path

import numpy as np
import pandas as pd

from crossmodal.cohort.background import zero_background
from crossmodal.cohort.volumes import load_volume
from crossmodal.domain import ED, ET, MODALITIES, NCR, to_internal
from crossmodal.errors import UserError
from crossmodal.figures.data import write_csv

CLASSES = {"background": 0, "ED": ED, "NCR": NCR, "ET": ET}
CASES = 8
EDGES = np.linspace(-5, 7, 121)  # standard deviations of the brain
COLUMNS = ["modality", "label", "image", "bin_low", "bin_high", "fraction", "cases"]


def collect_class_means(cases: pd.DataFrame, out: Path) -> list[str]:
    """Write class_mean_histograms.csv: for each modality and class, the share of the class's brain voxels in each bin
    of intensity, in the original and in the class-mean image, over the first training cases (by name).

    Returns what could not be read, and why.
    """
    training = cases[(cases.split == "train") & (cases.seg != "")].sort_values("case").head(CASES)
    counts: dict[tuple[str, str, str], np.ndarray] = {}
    notes, used = [], 0
    for case in training.to_dict("records"):
        try:
            add_case(counts, case)
            used += 1
        except (UserError, OSError, ValueError, EOFError) as error:
            notes.append(f"class means without {case['case']}: {error}")
    rows = []
    for (modality, label, image), count in counts.items():
        fractions = count / max(count.sum(), 1)
        for low, high, fraction in zip(EDGES[:-1], EDGES[1:], fractions, strict=True):
            if fraction > 0:
                rows.append((modality, label, image, low, high, fraction, used))
    write_csv(out / "class_mean_histograms.csv", pd.DataFrame(rows, columns=COLUMNS))
    return notes if used else [*notes, "no training case with a segmentation, so no class-mean histograms"]


def add_case(counts: dict, case: dict) -> None:
    """Add one case's voxels to `counts`: (modality, class, "original" or "class_mean") -> voxels in each bin."""
    segmentation, _ = load_volume(case["seg"])
    labels = np.zeros(segmentation.shape, dtype=np.uint8)
    for own, internal in to_internal(case["release"]).items():
        labels[np.rint(segmentation) == own] = internal
    for modality in MODALITIES:
        raw = zero_background(load_volume(case[modality])[0])
        brain = raw != 0
        original = normalise(raw, brain)
        means = class_mean(original, labels)
        for label, value in CLASSES.items():
            inside = brain & (labels == value)
            for name, image in (("original", original), ("class_mean", means)):
                key = (modality, label, name)
                counts[key] = counts.get(key, 0) + np.histogram(np.clip(image[inside], EDGES[0], EDGES[-1]), EDGES)[0]


def normalise(image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Mean 0 and standard deviation 1 within the brain, 0 outside: as nnU-Net does with `use_mask_for_norm`."""
    values = image[brain].astype(np.float64)
    scaled = np.zeros(image.shape)
    if values.size:
        scaled[brain] = (values - values.mean()) / max(values.std(), 1e-8)
    return scaled


def class_mean(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each class's voxels get their mean, background (all of the array outside the tumour) included:
    sum(image · mask) / (sum(mask) + 1e-8), as in the code released with Dong et al. 2025.

    Args:
        image: any shape, normalised intensities.
        labels: same shape, the mutually exclusive labels 0 to 3.
    """
    result = np.zeros_like(image)
    for value in np.unique(labels):
        mask = labels == value
        result += mask * ((image * mask).sum() / (mask.sum() + 1e-8))
    return result
