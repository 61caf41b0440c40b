"""Dice, surface metrics (HD95 and NSD) and volume of one region, and what they are for empty ones."""

import warnings
from types import FunctionType
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from surface_distance import metrics as surface_distance

HD95_ONE_EMPTY_MM = 373.13  # the diagonal of a 240×240×155 volume of 1 mm: BraTS up to 2021
HD95_ONE_EMPTY_2023_MM = 374.0  # the constant of the BraTS 2023 evaluation

NSD_TOLERANCE_MM = 1.0  # why: `surface_metrics`
ROUNDING_MM = 1e-3  # a voxel size is a 32-bit number in the file: 1.0000001 mm is within the tolerance too


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


class SurfaceMetrics(NamedTuple):
    """What the distances between two surfaces say."""

    hd95_mm: float
    nsd: float


def surface_metrics(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: tuple[float, float, float],
    one_empty: float = HD95_ONE_EMPTY_MM,
) -> SurfaceMetrics:
    """HD95 and NSD from one computation of the surface distances, which takes nearly all of the time.

    Both as the `surface-distance` package (Nikolov et al. 2021, doi:10.2196/26151) computes them. HD95 is the larger
    of the two directed 95th percentiles of the distance in mm, weighted by surface area, as in the BraTS 2023
    evaluation; 0 when both masks are empty. NSD, the normalised surface Dice, is the share of both surfaces' area
    that lies within 1 mm of the other surface; 1 when both masks are empty, 0 when one is.

    Why 1 mm: the tolerance should be the disagreement of human readers. BraTS publishes one segmentation of a case,
    so it is not known for these cases, but it is no smaller than one voxel: readers of BraTS agreed with each other
    with a Dice of 0.74 to 0.85 (Menze et al. 2015, doi:10.1109/TMI.2014.2377694). One voxel of BraTS is 1 mm.

    Args:
        reference, prediction: boolean masks of one shape (x, y, z).
        spacing_mm: voxel size along x, y, z.
        one_empty: HD95 in mm when exactly one mask is empty.
    """
    filled = bool(reference.any()), bool(prediction.any())
    if not all(filled):
        return SurfaceMetrics(one_empty, 0.0) if any(filled) else SurfaceMetrics(0.0, 1.0)
    with warnings.catch_warnings():
        # The package reaches scipy.ndimage by names that scipy has renamed.
        warnings.simplefilter("ignore", DeprecationWarning)
        distances = _surface_distances(reference, prediction, spacing_mm)
    return SurfaceMetrics(
        float(surface_distance.compute_robust_hausdorff(distances, 95)),
        float(surface_distance.compute_surface_dice_at_tolerance(distances, NSD_TOLERANCE_MM + ROUNDING_MM)),
    )


def volume_ml(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Volume of a boolean mask in millilitres, from its voxel size in mm."""
    return float(np.count_nonzero(mask) * np.prod(spacing_mm) / 1000.0)


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Slices around the true voxels; around one voxel for an empty mask, which then needs no special case."""
    boxes = ndimage.find_objects(mask.view(np.uint8))
    return boxes[0] if boxes else (slice(0, 1),) * mask.ndim
