"""nnU-Net's augmentation, bit for bit, in less time and the same in every run."""

from typing import Any

import pandas as pd
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from torch import Tensor
from torch.nn.functional import grid_sample


def switch_off_benchmark(transforms: Any) -> None:
    """Make nnU-Net's Gaussian blur choose its method by size rather than by timing, wherever it is nested."""
    if isinstance(transforms, GaussianBlurTransform):
        transforms.benchmark = False
    for inner in getattr(transforms, "transforms", []):
        switch_off_benchmark(inner)
    if hasattr(transforms, "transform"):
        switch_off_benchmark(transforms.transform)


class RegionsByComparison(ConvertSegmentationToRegionsTransform):
    """nnU-Net's regions, voxel for voxel, by comparing with each label: `torch.isin` takes several times as long."""

    def _apply_to_segmentation(self, segmentation: Tensor, **_params: Any) -> Tensor:
        labels = segmentation[self.channel_in_seg]
        found = torch.zeros(len(self.regions), *labels.shape, dtype=torch.bool)
        for inside, region in zip(found, self.regions, strict=True):
            for label in region.tolist():
                inside |= labels == label
        return found


class LabelsInOnePass(SpatialTransform):
    """nnU-Net's resampling of a segmentation, voxel for voxel, with all labels in one pass over the grid.

    nnU-Net interpolates the indicator of each label in a pass of its own and works out the same weights each time.
    The label with the highest score wins; where several share it, the nearest voxel's label if it is one of them,
    else the lowest. Scores are rounded to half precision, since the rounding makes near ties into ties.
    """

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        grid, padding, scale = params["grid"], self.padding_value_seg, 1000
        usual = (self.mode_seg, self.border_mode_seg, self.seg_tiebreak) == ("bilinear", "constant", "nearest")
        if grid is None or not usual or len(segmentation) > 1:
            return super()._apply_to_segmentation(segmentation, **params)
        labels = set(pd.unique(segmentation.numpy().ravel()).tolist())
        beyond = self._may_reach_outside(grid, segmentation.shape[1:])
        ordered = sorted(labels | {padding} if beyond else labels)
        if len(ordered) < 3:
            return super()._apply_to_segmentation(segmentation, **params)
        indicators = torch.empty(len(ordered), *segmentation.shape[1:])
        for indicator, label in zip(indicators, ordered, strict=True):
            torch.eq(segmentation[0], label, out=indicator)
        indicators *= scale
        # Outside the image, where zeros stand, the padding's indicator is 1.
        outside = ordered.index(padding) if beyond else None
        if beyond:
            indicators[outside] -= scale
        scores = self._sampled(indicators, grid, "bilinear")
        if beyond:
            scores[outside] += scale
        scores = scores.half()
        nearest = (self._sampled(segmentation.float() - padding, grid, "nearest") + padding).to(segmentation.dtype)
        wins = scores == scores.amax(0)
        settled = torch.zeros_like(wins[0])
        for label, winner in zip(ordered, wins, strict=True):
            settled |= winner & (nearest[0] == label)
        others = wins[:, ~settled].byte().argmax(0)  # the first of those that share the score
        nearest[0][~settled] = torch.tensor(ordered, dtype=segmentation.dtype)[others]
        return nearest

    def _sampled(self, image: Tensor, grid: Tensor, mode: str) -> Tensor:
        return grid_sample(image[None], grid[None], mode, padding_mode="zeros", align_corners=self.align_corners)[0]


FASTER = {ConvertSegmentationToRegionsTransform: RegionsByComparison, SpatialTransform: LabelsInOnePass}


def speed_up(transforms: Any) -> None:
    """Replace nnU-Net's transforms in a composition by the faster ones of this module, which give the same voxels."""
    for transform in transforms.transforms:
        transform.__class__ = FASTER.get(type(transform), type(transform))
