"""The metrics once more, written from their definitions without regard to speed, to hold ours against."""

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import cdist
from surface_distance import lookup_tables

CUBE = np.ones((3, 3, 3), bool)  # 26 neighbours
WITHOUT_CORNERS = ndimage.generate_binary_structure(3, 2)  # 18 neighbours


def dice(reference, prediction):
    a, b = set(map(tuple, np.argwhere(reference))), set(map(tuple, np.argwhere(prediction)))
    return 1.0 if not a and not b else 2 * len(a & b) / (len(a) + len(b))


def surface(mask, spacing):
    """Corners of the voxel grid that lie on the surface, in mm, and the area of the surface through each."""
    areas = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    weights = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    padded = np.pad(mask, 1)
    points, sizes = [], []
    for corner in np.ndindex(*(size - 1 for size in padded.shape)):
        block = padded[tuple(slice(place, place + 2) for place in corner)]
        if block.any() and not block.all():
            points.append(np.multiply(corner, spacing))
            sizes.append(areas[int((block * weights).sum())])
    return np.array(points), np.array(sizes)


def hd95(reference, prediction, spacing, one_empty):
    """Larger of the two 95th percentiles (by area) of the distance of each surface corner to the other surface."""
    if not reference.any() or not prediction.any():
        return 0.0 if reference.any() == prediction.any() else one_empty
    (points_a, areas_a), (points_b, areas_b) = surface(reference, spacing), surface(prediction, spacing)
    distances = cdist(points_a, points_b)
    return max(percentile(distances.min(1), areas_a), percentile(distances.min(0), areas_b))


def nsd(reference, prediction, spacing, tolerance_mm=1.0):
    """Share of the area of both surfaces whose corners lie within the tolerance of a corner of the other surface."""
    if not reference.any() or not prediction.any():
        return float(reference.any() == prediction.any())
    (points_a, areas_a), (points_b, areas_b) = surface(reference, spacing), surface(prediction, spacing)
    near = cdist(points_a, points_b) <= tolerance_mm
    return (areas_a[near.any(1)].sum() + areas_b[near.any(0)].sum()) / (areas_a.sum() + areas_b.sum())


def percentile(distances, areas):
    order = np.lexsort([areas, distances])
    share = np.cumsum(areas[order]) / areas.sum()
    return distances[order][min(np.searchsorted(share, 0.95), len(distances) - 1)]


def lesion_wise(reference, prediction, spacing, smallest_mm3=50, dilations=3, penalty_mm=374, hd95=hd95):
    """(Dice, HD95, scored, missed, false positives) as the BraTS 2023 challenge describes its evaluation."""
    zones, count = ndimage.label(
        ndimage.binary_dilation(reference, WITHOUT_CORNERS, iterations=dilations), structure=CUBE
    )
    components, _ = ndimage.label(prediction, structure=CUBE)
    dices, distances, missed, touched = [], [], 0, set()
    for zone in range(1, count + 1):
        lesion = reference & (zones == zone)
        reach = ndimage.binary_dilation(lesion, WITHOUT_CORNERS, iterations=dilations)
        found = set(np.unique(components[reach])) - {0}
        touched |= found
        if lesion.sum() * np.prod(spacing) <= smallest_mm3:
            continue
        matched = np.isin(components, list(found))
        missed += not found
        dices.append(dice(lesion, matched))
        distances.append(hd95(lesion, matched, spacing, penalty_mm))
    false = len(set(np.unique(components)) - {0} - touched)
    total = len(dices) + false
    if not total:
        return 1.0, 0.0, 0, 0, 0
    return sum(dices) / total, (sum(distances) + false * penalty_mm) / total, len(dices), missed, false


def blobs(seed, shape=(18, 20, 16)):
    """A reference and a prediction that resemble it more or less: smooth noise above a threshold."""
    rng = np.random.default_rng(seed)
    width = rng.uniform(0.8, 2.0)
    common, own = (ndimage.gaussian_filter(rng.normal(size=shape), width) for _ in range(2))
    other = common + rng.uniform(0, 1.5) * own
    reference = common > np.quantile(common, rng.uniform(0.8, 1))
    prediction = other > np.quantile(other, rng.uniform(0.8, 1))
    return reference & (seed % 10 != 0), prediction & (seed % 13 != 0)
