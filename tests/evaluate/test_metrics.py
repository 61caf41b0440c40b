import naive_metrics as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from surface_distance import metrics as surface_distance

from crossmodal.evaluate.metrics import dice, hd95, one_empty_mm, volume_ml

SHAPE = (12, 14, 10)
MM = (1.0, 1.0, 1.0)
masks = arrays(bool, (5, 4, 6))


def box(*corners, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*corner) for corner in corners)] = True
    return mask


EMPTY = box((0, 0), (0, 0), (0, 0))
VOXEL = box((2, 3), (3, 4), (4, 5))
LOW, HIGH = box((0, 2), (0, 14), (0, 10)), box((10, 12), (0, 14), (0, 10))  # at the border of the volume


@pytest.mark.parametrize(
    ("reference", "prediction", "spacing", "overlap", "distance"),
    [
        (EMPTY, EMPTY, MM, 1, 0),
        (EMPTY, VOXEL, MM, 0, 373.13),
        (VOXEL, EMPTY, MM, 0, 373.13),
        (VOXEL, VOXEL, MM, 1, 0),
        (VOXEL, np.roll(VOXEL, (3, 4), axis=(0, 1)), MM, 0, 5),
        (VOXEL, np.roll(VOXEL, 3, axis=0), (0.5, 1.0, 5.0), 0, 1.5),
        (VOXEL, np.roll(VOXEL, 3, axis=1), (0.5, 1.0, 5.0), 0, 3),
        (VOXEL, np.roll(VOXEL, 3, axis=2), (0.5, 1.0, 5.0), 0, 15),
        (LOW, HIGH, MM, 0, 10),
    ],
)
def test_by_hand(reference, prediction, spacing, overlap, distance):
    assert dice(reference, prediction) == overlap
    assert hd95(reference, prediction, spacing) == pytest.approx(distance)


def test_penalty_of_each_release():
    penalties = {name: one_empty_mm(name) for name in ("brats2018", "brats2021", "brats2024-gli", "msd-task01")}
    assert penalties == {"brats2018": 373.13, "brats2021": 373.13, "brats2024-gli": 374, "msd-task01": 373.13}
    assert hd95(EMPTY, VOXEL, MM, one_empty=one_empty_mm("brats2023-gli")) == 374


@pytest.mark.parametrize("seed", range(12))
def test_hd95_against_brute_force(seed):
    spacing = [(1.0, 1.0, 1.0), (0.5, 1.0, 3.0), (3.0, 3.0, 3.0)][seed % 3]
    reference, prediction = naive.blobs(seed)
    expected = naive.hd95(reference, prediction, spacing, 373.13)
    assert hd95(reference, prediction, spacing) == pytest.approx(expected, abs=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", range(1, 5))
def test_hd95_is_that_of_the_package_which_stays_as_installed(seed):
    assert surface_distance._sort_distances_surfels.__module__ == surface_distance.__name__
    reference, prediction = naive.blobs(seed)
    distances = surface_distance.compute_surface_distances(reference, prediction, (0.5, 1.0, 3.0))
    expected = surface_distance.compute_robust_hausdorff(distances, 95)
    assert hd95(reference, prediction, (0.5, 1.0, 3.0)) == expected


@given(masks, masks)
@settings(deadline=None)
def test_dice_against_sets_of_voxels(reference, prediction):
    assert dice(reference, prediction) == pytest.approx(naive.dice(reference, prediction), abs=1e-12)
    assert dice(reference, prediction) == dice(prediction, reference)


def test_volume():
    assert volume_ml(box((0, 10), (0, 10), (0, 10)), (1.0, 2.0, 0.5)) == 1.0
    assert volume_ml(EMPTY, MM) == 0
