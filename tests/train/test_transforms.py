"""What is done in less time than nnU-Net does it: the same, voxel for voxel."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from scipy.ndimage import gaussian_filter

from crossmodal.errors import UserError
from crossmodal.train import batches
from crossmodal.train.batches import CheckedCases
from crossmodal.train.transforms import LabelsNearBoundaries, RegionsByComparison, speed_up

REGIONS = st.lists(st.one_of(st.integers(0, 5), st.lists(st.integers(0, 5), min_size=1, max_size=4)), min_size=1)


def faster(transform):
    composed = ComposeTransforms([RemoveLabelTransform(-1, 0), transform])
    speed_up(composed)
    return composed.transforms[1]


@given(REGIONS, st.integers(0, 1), st.sampled_from([torch.int16, torch.uint8, torch.float32]), st.integers(0, 99))
def test_regions_are_those_of_nnunet(regions, channel, dtype, seed):
    segmentation = torch.randint(0, 6, (2, 5, 4, 3), generator=torch.Generator().manual_seed(seed)).to(dtype)
    expected = ConvertSegmentationToRegionsTransform(regions, channel)(segmentation=segmentation)["segmentation"]
    ours = faster(ConvertSegmentationToRegionsTransform(regions, channel))
    assert type(ours) is RegionsByComparison
    found = ours(segmentation=segmentation)["segmentation"]
    assert found.dtype == expected.dtype and torch.equal(found, expected)


def blobs(seed, labels, dtype, smooth):
    """A segmentation of (1, 14, 12, 13) voxels; without smoothing every voxel has neighbours of other labels."""
    noise = gaussian_filter(np.random.default_rng(seed).random((14, 12, 13)), smooth)
    levels = np.quantile(noise, np.linspace(0, 1, len(labels) + 1)[1:-1])
    return torch.from_numpy(np.array(labels)[np.digitize(noise, levels)].astype(dtype))[None]


@pytest.mark.parametrize("size", [(10, 8, 9), (16, 16, 16)], ids=["inside", "outside"])
@pytest.mark.parametrize("padding", [-1, 0, 7])
@given(
    labels=st.sets(st.integers(-1, 5), min_size=1, max_size=5).map(sorted),
    dtype=st.sampled_from([np.int16, np.float32]),
    smooth=st.sampled_from([0, 1]),
    half_turn=st.booleans(),
    seed=st.integers(0, 999),
)
def test_a_resampled_segmentation_is_that_of_nnunet(size, padding, labels, dtype, smooth, half_turn, seed):
    """Half a turn, and no scaling, put points between voxels, where labels tie."""
    angle = np.pi if half_turn else (-0.6, 0.6)
    stock, ours = (
        SpatialTransform(
            size, 0, False, p_rotation=1, rotation=angle, p_scaling=0 if half_turn else 1, scaling=(0.6, 1.5)
        )
        for _ in range(2)
    )
    for transform in (stock, ours):
        transform.border_mode_seg, transform.padding_value_seg = "constant", padding
    ours = faster(ours)
    assert type(ours) is LabelsNearBoundaries
    segmentation, found = blobs(seed, labels, dtype, smooth), []
    for transform in (stock, ours):
        np.random.seed(seed)
        torch.manual_seed(seed)
        found.append(transform(segmentation=segmentation.clone(), image=torch.zeros(1, 14, 12, 13))["segmentation"])
    assert found[0].dtype == found[1].dtype and torch.equal(*found)


@pytest.mark.parametrize("change", [{"mode_seg": "nearest"}, {"border_mode_seg": "zeros"}, {"seg_tiebreak": "lowest"}])
def test_other_settings_are_left_to_nnunet(change):
    transforms = [SpatialTransform((8, 8, 8), 0, False, p_rotation=1, rotation=(0.2, 0.4)) for _ in range(2)]
    for transform in transforms:
        transform.border_mode_seg = "constant"
        vars(transform).update(change)
    segmentation, found = blobs(3, [0, 1, 2, 3], np.int16, 1), []
    for transform in (transforms[0], faster(transforms[1])):
        np.random.seed(0)
        found.append(transform(segmentation=segmentation.clone(), image=torch.zeros(1, 14, 12, 13))["segmentation"])
    assert torch.equal(*found)


@pytest.fixture
def stock(tiny_dataset: Path, tmp_path: Path) -> nnUNetDatasetBlosc2:
    shutil.copytree(next(tiny_dataset.rglob("*_seg.b2nd")).parent, tmp_path / "arrays")
    return nnUNetDatasetBlosc2(str(tmp_path / "arrays"))


def test_a_small_dataset_is_read_once_and_what_is_done_to_its_parts_stays_there(stock):
    cases, name = CheckedCases(stock), stock.identifiers[0]
    box = (slice(None), slice(1, 9), slice(2, 12), slice(0, 7))
    first, expected = cases.load_case(name), stock.load_case(name)
    for number in (0, 1):
        part = first[number][box]
        assert np.array_equal(part, expected[number][box]) and part.dtype == expected[number].dtype
        part += 1
        assert np.array_equal(first[number][box], expected[number][box])
    assert cases.load_case(name) is first


def test_a_kept_case_whose_file_was_deleted_is_named(stock):
    cases, name = CheckedCases(stock), stock.identifiers[0]
    cases.load_case(name)
    Path(stock.source_folder, f"{name}.b2nd").unlink()
    with pytest.raises(UserError, match=f"the case {name} cannot be read"):
        cases.load_case(name)


def test_a_large_dataset_is_not_kept(stock, monkeypatch):
    monkeypatch.setattr(batches, "KEPT_AT_MOST", 10_000)
    cases, name = CheckedCases(stock), stock.identifiers[0]
    assert cases.load_case(name) is not cases.load_case(name) and not cases.kept
