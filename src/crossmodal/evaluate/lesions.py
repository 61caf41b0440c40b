"""Lesion-wise Dice and HD95 as the BraTS 2023 evaluation defines them for adult glioma.

Definition: the challenge's own evaluation code (github.com/rachitsaluja/BraTS-2023-Metrics, `BraTS-GLI`:
three dilations, 50 mm³). This implementation labels each mask once and counts overlaps in histograms; the official
code copies whole volumes for each lesion.
"""

from typing import NamedTuple

import cc3d
import numpy as np
from scipy import ndimage

from crossmodal.evaluate.metrics import HD95_ONE_EMPTY_2023_MM as HD95_UNMATCHED_MM
from crossmodal.evaluate.metrics import surface_metrics

DILATIONS = 3  # steps with the 18-neighbourhood: what lies closer than that is one lesion
SMALLEST_LESION_MM3 = 50.0  # reference lesions up to this volume are not scored


class LesionScores(NamedTuple):
    """Means over scored reference lesions and false positives of one region, and what went into them."""

    dice: float
    hd95_mm: float
    scored: int  # reference lesions above the smallest volume
    missed: int  # of these, the ones that no predicted component touches
    false_positives: int  # predicted components that touch no reference lesion, however small


def lesion_scores(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: tuple[float, float, float],
    whole_hd95_mm: float | None = None,
) -> LesionScores:
    """Lesion-wise Dice and HD95 of one region.

    Reference voxels whose dilations are connected form one lesion. A predicted component (26-connected)
    belongs to every lesion whose dilation it touches. A missed lesion and a false positive each count with
    Dice 0 and HD95 374 mm; with neither a scored lesion nor a false positive the result is 1 and 0.

    Args:
        reference, prediction: boolean masks of one shape (x, y, z). Cropping both to a box around all true voxels
            changes nothing: dilations that meet outside the box also meet on its face.
        spacing_mm: voxel size along x, y, z.
        whole_hd95_mm: HD95 of the two whole masks, if known: it is then not computed again for a single lesion to
            which all predicted components belong.
    """
    neighbours = ndimage.generate_binary_structure(3, 2)
    dilated = ndimage.binary_dilation(reference, structure=neighbours, iterations=DILATIONS)
    zones, zone_count = cc3d.connected_components(dilated, connectivity=26, return_N=True)
    components, component_count = cc3d.connected_components(prediction, connectivity=26, return_N=True)

    # touches[z, c], overlap[z, c]: voxels of component c in zone z, and in its lesion; index 0 is background.
    shape = zone_count + 1, component_count + 1
    touches = _joint_counts(zones[dilated], components[dilated], shape)
    overlap = _joint_counts(zones[reference], components[reference], shape)
    lesion_voxels = overlap.sum(axis=1)
    component_voxels = np.bincount(components[prediction], minlength=shape[1])

    dices, distances, missed = [], [], 0
    for zone in range(1, zone_count + 1):
        if lesion_voxels[zone] * np.prod(spacing_mm) <= SMALLEST_LESION_MM3:
            continue
        matched = np.flatnonzero(touches[zone, 1:]) + 1
        if not matched.size:
            missed += 1
            dices.append(0.0)
            distances.append(HD95_UNMATCHED_MM)
            continue
        voxels = lesion_voxels[zone] + component_voxels[matched].sum()
        dices.append(float(2.0 * overlap[zone, matched].sum() / voxels))
        if whole_hd95_mm is not None and zone_count == 1 and matched.size == component_count:
            distances.append(whole_hd95_mm)
        else:
            lesion = reference & (zones == zone)
            distances.append(surface_metrics(lesion, np.isin(components, matched), spacing_mm).hd95_mm)

    false_positives = int(np.count_nonzero(touches[1:, 1:].sum(axis=0) == 0))
    counted = len(dices) + false_positives
    return LesionScores(
        dice=sum(dices) / counted if counted else 1.0,
        hd95_mm=(sum(distances) + false_positives * HD95_UNMATCHED_MM) / counted if counted else 0.0,
        scored=len(dices),
        missed=missed,
        false_positives=false_positives,
    )


def _joint_counts(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Voxels for each pair of labels; `rows`, `columns`: the two labels of each voxel, shape (voxels,)."""
    pairs = np.ravel_multi_index((rows.astype(np.int64), columns.astype(np.int64)), shape)
    return np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
