import naive_metrics as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from surface_distance import metrics as surface_distance

from crossmodal.evaluate.metrics import bounding_box, dice, hd95, one_empty_mm, volume_ml

SHAPE = (12, 14, 10)
MM = (1.0, 1.0, 1.0)
masks = arrays(bool, (5, 4, 6))


def box(*corners, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*corner) for corner in corners)] = True
    return mask


EMPTY = box((0, 0), (0, 0), (0, 0))
VOXEL = box((2, 3), (3, 4), (4, 5))


def test_both_empty_is_a_full_score():
    assert dice(EMPTY, EMPTY) == 1
    assert hd95(EMPTY, EMPTY, MM) == 0


@pytest.mark.parametrize("pair", [(EMPTY, VOXEL), (VOXEL, EMPTY)])
def test_one_empty_gets_the_penalty(pair):
    assert dice(*pair) == 0
    assert hd95(*pair, MM) == 373.13
    assert hd95(*pair, MM, one_empty=one_empty_mm("brats2023-gli")) == 374


def test_penalty_of_each_release():
    penalties = {name: one_empty_mm(name) for name in ("brats2018", "brats2021", "brats2024-gli", "msd-task01")}
    assert penalties == {"brats2018": 373.13, "brats2021": 373.13, "brats2024-gli": 374, "msd-task01": 373.13}


def test_dice_by_hand():
    # 8 and 8 voxels, 4 in common
    assert dice(box((0, 2), (0, 2), (0, 2)), box((1, 3), (0, 2), (0, 2))) == 0.5


def test_single_voxel_against_itself_and_another():
    assert hd95(VOXEL, VOXEL, MM) == 0
    assert hd95(VOXEL, np.roll(VOXEL, 5, axis=0), MM) == 5
    assert hd95(VOXEL, np.roll(VOXEL, (3, 4), axis=(0, 1)), MM) == 5


@pytest.mark.parametrize(("axis", "distance"), [(0, 1.5), (1, 3.0), (2, 15.0)])
def test_distance_is_in_mm_along_each_axis(axis, distance):
    assert hd95(VOXEL, np.roll(VOXEL, 3, axis=axis), (0.5, 1.0, 5.0)) == pytest.approx(distance)


def test_masks_at_the_border_of_the_volume():
    low, high = box((0, 2), (0, 14), (0, 10)), box((10, 12), (0, 14), (0, 10))
    assert hd95(low, high, MM) == 10


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


@given(masks, masks, st.permutations([0, 1, 2]))
@settings(deadline=None, max_examples=40)
def test_hd95_turns_with_the_volume(reference, prediction, order):
    spacing = (0.5, 1.0, 2.5)
    turned = hd95(reference.transpose(order), prediction.transpose(order), tuple(spacing[axis] for axis in order))
    assert turned == pytest.approx(hd95(reference, prediction, spacing), abs=1e-9)


@given(masks)
@settings(deadline=None)
def test_bounding_box_keeps_every_voxel_and_no_empty_face(mask):
    slices = bounding_box(mask)
    assert mask[slices].sum() == mask.sum()
    for axis, cut in enumerate(slices):
        where = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        if where.size:
            assert cut == slice(where[0], where[-1] + 1)


def test_volume():
    assert volume_ml(box((0, 10), (0, 10), (0, 10)), (1.0, 2.0, 0.5)) == 1.0
    assert volume_ml(EMPTY, MM) == 0
