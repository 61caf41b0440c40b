"""Regions of a segmentation: nnU-Net's own, voxel for voxel."""

import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from crossmodal.nnunet.loading import RegionsByComparison, compare_labels
from hypothesis import given
from hypothesis import strategies as st

REGIONS = st.lists(st.one_of(st.integers(0, 5), st.lists(st.integers(0, 5), min_size=1, max_size=4)), min_size=1)


@given(REGIONS, st.integers(0, 1), st.sampled_from([torch.int16, torch.uint8, torch.float32]), st.integers(0, 99))
def test_regions_are_those_of_nnunet(regions, channel, dtype, seed):
    segmentation = torch.randint(0, 6, (2, 5, 4, 3), generator=torch.Generator().manual_seed(seed)).to(dtype)
    composed = ComposeTransforms(
        [RemoveLabelTransform(-1, 0), ConvertSegmentationToRegionsTransform(regions, channel_in_seg=channel)]
    )
    expected = composed(segmentation=segmentation)["segmentation"]
    compare_labels(composed)
    assert isinstance(composed.transforms[1], RegionsByComparison)
    found = composed(segmentation=segmentation)["segmentation"]
    assert found.dtype == expected.dtype and torch.equal(found, expected)
