"""Dice, 95th-percentile Hausdorff distance and volume of one region, and what they are for empty ones."""

import warnings
from types import FunctionType

import numpy as np
from scipy import ndimage
from surface_distance import metrics as surface_distance

HD95_ONE_EMPTY_MM = 373.13  # the diagonal of a 240×240×155 volume of 1 mm: BraTS up to 2021
HD95_ONE_EMPTY_2023_MM = 374.0  # the constant of the BraTS 2023 evaluation


def _sort_by_distance(distances: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((areas, distances))
    return distances[order], areas[order]


# The package's function with another sort, which is most of its time for a large surface: theirs is plain Python.
# It runs the package's code with its own global names, so the package itself is as installed.
_surface_distances = FunctionType(
    surface_distance.compute_surface_distances.__code__,
    {**vars(surface_distance), "_sort_distances_surfels": _sort_by_distance},
)


def one_empty_mm(release: str) -> float:
    """HD95 in mm that a release's challenge gives when only one of reference and prediction is empty.

    The challenge's constant is used whatever the size of the volume, so that tables can be compared.
    """
    return HD95_ONE_EMPTY_2023_MM if release.startswith(("brats2023", "brats2024")) else HD95_ONE_EMPTY_MM


def dice(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Dice coefficient 2·|A∩B| / (|A| + |B|): 1 when both masks are empty, 0 when one is (the BraTS convention).

    Args:
        reference, prediction: boolean masks of one shape.
    """
    total = np.count_nonzero(reference) + np.count_nonzero(prediction)
    return float(2.0 * np.count_nonzero(reference & prediction) / total) if total else 1.0


def hd95(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: tuple[float, float, float],
    one_empty: float = HD95_ONE_EMPTY_MM,
) -> float:
    """95th percentile of the symmetric surface distance, in mm, weighted by surface area.

    The larger of the two directed percentiles, as the `surface-distance` package (Nikolov et al. 2021,
    doi:10.2196/26151) computes it and the BraTS 2023 evaluation uses it. 0 when both masks are empty.

    Args:
        reference, prediction: boolean masks of one shape (x, y, z).
        spacing_mm: voxel size along x, y, z.
        one_empty: the value in mm when exactly one mask is empty.
    """
    filled = bool(reference.any()), bool(prediction.any())
    if not all(filled):
        return one_empty if any(filled) else 0.0
    with warnings.catch_warnings():
        # The package reaches scipy.ndimage by names that scipy has renamed.
        warnings.simplefilter("ignore", DeprecationWarning)
        distances = _surface_distances(reference, prediction, spacing_mm)
        return float(surface_distance.compute_robust_hausdorff(distances, 95))


def volume_ml(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Volume of a boolean mask in millilitres, from its voxel size in mm."""
    return float(np.count_nonzero(mask) * np.prod(spacing_mm) / 1000.0)


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Slices around the true voxels; around one voxel for an empty mask, which then needs no special case."""
    boxes = ndimage.find_objects(mask.view(np.uint8))
    return boxes[0] if boxes else (slice(0, 1),) * mask.ndim
