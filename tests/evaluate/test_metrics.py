from unittest import mock

import naive_metrics as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from surface_distance import metrics as surface_distance

from crossmodal.evaluate import metrics
from crossmodal.evaluate.metrics import dice, one_empty_mm, surface_metrics, volume_ml
from crossmodal.evaluate.score import score_region

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
    ("reference", "prediction", "spacing", "overlap", "distance", "nsd"),
    [
        (EMPTY, EMPTY, MM, 1, 0, 1),
        (EMPTY, VOXEL, MM, 0, 373.13, 0),
        (VOXEL, EMPTY, MM, 0, 373.13, 0),
        (VOXEL, VOXEL, MM, 1, 0, 1),
        (VOXEL, np.roll(VOXEL, 1, axis=0), MM, 0, 1, 1),
        (VOXEL, np.roll(VOXEL, 1, axis=0), (1.0000001, 1.0, 1.0), 0, 1, 1),  # as a 32-bit header may say
        (VOXEL, np.roll(VOXEL, 2, axis=0), MM, 0, 2, 0.5),  # of each voxel the four corners on the other's side
        (VOXEL, VOXEL | np.roll(VOXEL, 5, axis=1), MM, 2 / 3, 5, 2 / 3),
        (VOXEL, np.roll(VOXEL, (3, 4), axis=(0, 1)), MM, 0, 5, 0),
        (VOXEL, np.roll(VOXEL, 3, axis=0), (0.5, 1.0, 5.0), 0, 1.5, 0.5),
        (VOXEL, np.roll(VOXEL, 3, axis=1), (0.5, 1.0, 5.0), 0, 3, 0),
        (VOXEL, np.roll(VOXEL, 3, axis=2), (0.5, 1.0, 5.0), 0, 15, 0),
        (LOW, HIGH, MM, 0, 10, 0),
    ],
)
def test_by_hand(reference, prediction, spacing, overlap, distance, nsd):
    assert dice(reference, prediction) == overlap
    assert surface_metrics(reference, prediction, spacing) == pytest.approx((distance, nsd))


def test_penalty_of_each_release():
    penalties = {name: one_empty_mm(name) for name in ("brats2018", "brats2021", "brats2024-gli", "msd-task01")}
    assert penalties == {"brats2018": 373.13, "brats2021": 373.13, "brats2024-gli": 374, "msd-task01": 373.13}
    assert surface_metrics(EMPTY, VOXEL, MM, one_empty=one_empty_mm("brats2023-gli")).hd95_mm == 374


@pytest.mark.parametrize("seed", range(12))
def test_hd95_and_nsd_against_brute_force(seed):
    spacing = [(1.0, 1.0, 1.0), (0.5, 1.0, 3.0), (3.0, 3.0, 3.0)][seed % 3]
    reference, prediction = naive.blobs(seed)
    expected = naive.hd95(reference, prediction, spacing, 373.13), naive.nsd(reference, prediction, spacing)
    assert surface_metrics(reference, prediction, spacing) == pytest.approx(expected, abs=1e-9)


@given(masks, masks, st.sampled_from([(1.0, 1.0, 1.0), (0.4, 1.0, 2.5), (3.0, 3.0, 3.0)]))
@settings(deadline=None)
def test_nsd_of_any_masks(reference, prediction, spacing):
    nsd = surface_metrics(reference, prediction, spacing).nsd
    assert 0 <= nsd <= 1
    assert nsd == pytest.approx(naive.nsd(reference, prediction, spacing), abs=1e-9)
    assert nsd == pytest.approx(surface_metrics(prediction, reference, spacing).nsd, abs=1e-12)
    assert surface_metrics(reference, reference, spacing).nsd == 1
    # In voxels of half the size the same tolerance reaches twice as far.
    assert surface_metrics(reference, prediction, tuple(size / 2 for size in spacing)).nsd >= nsd - 1e-12


def test_the_distances_are_computed_once_for_all_metrics_of_a_lesion(monkeypatch):
    computed = mock.Mock(wraps=metrics._surface_distances)
    monkeypatch.setattr(metrics, "_surface_distances", computed)
    lesion = box((2, 8), (2, 8), (2, 8))
    scores = score_region(lesion, np.roll(lesion, 1, axis=0), MM, "WT", 373.13)
    assert (scores["hd95_mm"], scores["lesion_hd95_mm"], scores["nsd_1mm"]) == (1, 1, 1)
    assert computed.call_count == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", range(1, 5))
def test_both_are_those_of_the_package_which_stays_as_installed(seed):
    assert surface_distance._sort_distances_surfels.__module__ == surface_distance.__name__
    reference, prediction = naive.blobs(seed)
    distances = surface_distance.compute_surface_distances(reference, prediction, (0.5, 1.0, 3.0))
    expected = (
        surface_distance.compute_robust_hausdorff(distances, 95),
        surface_distance.compute_surface_dice_at_tolerance(distances, 1),
    )
    assert surface_metrics(reference, prediction, (0.5, 1.0, 3.0)) == expected


@given(masks, masks)
@settings(deadline=None)
def test_dice_against_sets_of_voxels(reference, prediction):
    assert dice(reference, prediction) == pytest.approx(naive.dice(reference, prediction), abs=1e-12)
    assert dice(reference, prediction) == dice(prediction, reference)


def test_volume():
    assert volume_ml(box((0, 10), (0, 10), (0, 10)), (1.0, 2.0, 0.5)) == 1.0
    assert volume_ml(EMPTY, MM) == 0
