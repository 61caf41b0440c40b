import naive_metrics as naive
import numpy as np
import pytest

from crossmodal.evaluate import metrics
from crossmodal.evaluate.lesions import lesion_scores

MM = (1.0, 1.0, 1.0)


def cubes(*corners, edge=4, shape=(40, 16, 16)):
    mask = np.zeros(shape, bool)
    for x, y, z in corners:
        mask[x : x + edge, y : y + edge, z : z + edge] = True
    return mask


def hd95(*masks_spacing_and_penalty):
    return metrics.surface_metrics(*masks_spacing_and_penalty).hd95_mm


def scores(reference, prediction, spacing=MM):
    found = lesion_scores(reference, prediction, spacing)
    # Handing in the distance of the whole masks, or the masks cropped, is a short cut, never another result.
    whole = hd95(reference, prediction, spacing)
    assert lesion_scores(reference, prediction, spacing, whole) == found
    box = metrics.bounding_box(reference | prediction)
    assert lesion_scores(reference[box], prediction[box], spacing) == found
    return found


NOTHING, ONE, SMALL = cubes(), cubes((6, 6, 6)), cubes((30, 6, 6), edge=3)  # SMALL: 27 mm³


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        pytest.param(NOTHING, NOTHING, (1, 0, 0, 0, 0), id="both empty"),
        pytest.param(ONE, NOTHING, (0, 374, 1, 1, 0), id="missed lesion"),
        pytest.param(NOTHING, ONE, (0, 374, 0, 0, 1), id="false positive in an empty reference"),
        pytest.param(ONE, cubes((6, 6, 6), (30, 6, 6)), (0.5, 187, 1, 0, 1), id="false positive beside a lesion"),
        pytest.param(ONE | SMALL, ONE, (1, 0, 1, 0, 0), id="a small lesion is not scored"),
        pytest.param(ONE | SMALL, ONE | SMALL, (1, 0, 1, 0, 0), id="a prediction on a small lesion is not false"),
        pytest.param(SMALL, NOTHING, (1, 0, 0, 0, 0), id="a small lesion alone"),
        # Each side grows by 3: up to 6 voxels between two lesions the dilations touch.
        pytest.param(cubes((4, 6, 6), (9, 6, 6)), NOTHING, (0, 374, 1, 1, 0), id="1 voxel apart: one lesion"),
        pytest.param(cubes((4, 6, 6), (14, 6, 6)), NOTHING, (0, 374, 1, 1, 0), id="6 voxels apart: one lesion"),
        pytest.param(cubes((4, 6, 6), (15, 6, 6)), NOTHING, (0, 374, 2, 2, 0), id="7 voxels apart: two lesions"),
    ],
)
def test_by_hand(reference, prediction, expected):
    assert scores(reference, prediction) == expected


def test_threshold_is_a_volume_and_the_limit_itself_is_left_out():
    slab = np.zeros((40, 16, 16), bool)
    slab[6:11, 4:14, 6:7] = True  # 50 voxels
    assert scores(slab, NOTHING).scored == 0
    assert scores(slab, NOTHING, spacing=(1.0, 1.0, 1.01)).scored == 1


def test_one_component_over_two_lesions_counts_whole_for_both():
    reference = cubes((4, 6, 6), (20, 6, 6))
    bridge = reference.copy()
    bridge[4:24, 6:10, 6:10] = True  # 320 voxels over 2 × 64
    dice, _, scored, missed, false = scores(reference, bridge)
    assert (scored, missed, false) == (2, 0, 0)
    assert dice == pytest.approx(2 * 64 / (64 + 320))


@pytest.mark.parametrize(("distance", "false"), [(3, 0), (4, 1)])
def test_component_within_the_dilation_belongs_to_the_lesion(distance, false):
    assert scores(ONE, cubes((6 + 4 - 1 + distance, 6, 6))).false_positives == false


def test_components_that_touch_at_a_corner_are_one():
    assert scores(cubes((20, 6, 6)), cubes((4, 4, 4), (8, 8, 8))).false_positives == 1


def test_against_the_naive_implementation():
    found = []
    for seed in range(60):
        reference, prediction = naive.blobs(seed, shape=(26, 24, 20))
        spacing = [(1.0, 1.0, 1.0), (0.5, 1.0, 3.0), (3.0, 3.0, 3.0)][seed % 3]
        expected = naive.lesion_wise(reference, prediction, spacing, hd95=hd95)
        found.append(scores(reference, prediction, spacing))
        assert found[-1] == pytest.approx(expected, abs=1e-9), seed
    # The blobs cover every kind of outcome.
    assert any(result.scored > 1 for result in found)
    assert any(result.missed for result in found)
    assert any(result.false_positives and result.scored for result in found)
    assert any(result.dice not in (0, 1) and not result.false_positives and result.scored == 1 for result in found)
