"""nnU-Net's augmentation, bit for bit, in less time, the same in every run, and on the device where the samples are.

batchgeneratorsv2's transforms work on tensors of any device, but for the two that make tensors of their own on the
CPU (the blur's kernel, the grid of a rotation) and the two that look at labels with NumPy or on the CPU.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pandas as pd
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial import spatial
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from torch import Tensor
from torch.nn.functional import grid_sample

# Parameters that nnU-Net's transforms expect on the image's device; the others they read on the CPU.
ON_THE_DEVICE = ("apply_idx", "multipliers", "gamma")


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
        found = torch.zeros(len(self.regions), *labels.shape, dtype=torch.bool, device=labels.device)
        for inside, region in zip(found, self.regions, strict=True):
            for label in region.tolist():
                inside |= labels == label
        return found


class BlurOnAnyDevice(GaussianBlurTransform):
    """nnU-Net's blur, whose kernel is made where the image is; a GPU convolves in full precision, as a CPU does."""

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        exact = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False}
        with torch.device(img.device), torch.backends.cudnn.flags(**exact) if img.is_cuda else nullcontext():
            return super()._apply_to_image(img, **params)


class LabelsNearBoundaries(SpatialTransform):
    """nnU-Net's rotation and scaling, voxel for voxel; labels are interpolated near their boundaries alone.

    nnU-Net interpolates the indicator of each label at every point. The label with the highest score wins; where
    several share it, the nearest voxel's label if it is one of them, else the lowest. Scores are rounded to half
    precision, since the rounding makes near ties into ties. Where the nearest voxel and its neighbours have one label,
    that label has the whole score, and nothing is interpolated.

    The grid is made on the device of the image, when the transform is applied: what is drawn beforehand is small.
    """

    def _get_base_grid_clone(self) -> Tensor:
        return super()._get_base_grid_clone() if self.p_elastic_deform else torch.empty(0, len(self.patch_size))

    def apply(self, data_dict: dict, **params: Any) -> dict:
        """As nnU-Net's; the grid follows from the matrix that was drawn."""
        grid, image = params["grid"], data_dict["image"]
        if grid is not None and not len(grid):
            params["grid"] = self._grid(params, image.shape[1:], image.device)
        return super().apply(data_dict, **params)

    def _grid(self, params: dict, shape: torch.Size, device: torch.device) -> Tensor:
        if device not in self._grid_cache:
            with torch.device(device):
                self._grid_cache[device] = spatial._create_centered_identity_grid2(self.patch_size)
        grid = torch.matmul(self._grid_cache[device], torch.from_numpy(params["affine"].T).float().to(device))
        centre = [middle - size / 2 for middle, size in zip(params["center_location_in_pixels"], shape, strict=True)]
        return spatial._convert_my_grid_to_grid_sample_grid(grid + torch.tensor(centre).to(device), shape)

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        grid, padding, scale, device = params["grid"], self.padding_value_seg, 1000, segmentation.device
        usual = (self.mode_seg, self.border_mode_seg, self.seg_tiebreak) == ("bilinear", "constant", "nearest")
        if grid is None or not usual or len(segmentation) > 1:
            return super()._apply_to_segmentation(segmentation, **params)
        beyond = self._may_reach_outside(grid, segmentation.shape[1:])
        present = _labels(segmentation)
        ordered = sorted(present | {padding} if beyond else present)
        if len(ordered) == 1:
            return torch.full((1, *grid.shape[:-1]), ordered[0], dtype=segmentation.dtype, device=device)
        lowest = min(present)
        found = self._sampled(_interiors(segmentation, lowest)[None].float(), grid, "nearest").to(segmentation.dtype)
        unclear = found[0] == 0
        found += lowest - 1
        # The points near a boundary, as a grid of 1 × 1 × points.
        grid = grid[unclear][None, None]
        nearest = (self._sampled(segmentation.float() - padding, grid, "nearest") + padding).to(segmentation.dtype)[0]
        scored = ordered if len(ordered) > 2 else ordered[1:]  # of two labels, one's score is what the other lacks
        scores, indicator = [], torch.empty(segmentation.shape, device=device)
        for label in scored:
            torch.eq(segmentation, label, out=indicator)
            if beyond and label == padding:  # outside the image, where zeros stand, its indicator is 1
                scores.append(self._sampled(indicator.sub_(1).mul_(scale), grid, "bilinear").add_(scale).half())
            else:
                scores.append(self._sampled(indicator.mul_(scale), grid, "bilinear").half())
        if len(ordered) == 2:
            wins = torch.cat((scores[0] <= scale / 2, scores[0] >= scale / 2))
        else:
            scores = torch.cat(scores)
            wins = scores == scores.amax(0)
        settled = torch.zeros_like(wins[0])
        for label, winner in zip(ordered, wins, strict=True):
            settled |= winner & (nearest == label)
        first = wins.byte().argmax(0)  # of those that share the score
        winners = torch.tensor(ordered, dtype=segmentation.dtype).to(device)[first]
        found[0][unclear] = torch.where(settled, nearest, winners).flatten()
        return found

    def _sampled(self, image: Tensor, grid: Tensor, mode: str) -> Tensor:
        return grid_sample(image[None], grid[None], mode, padding_mode="zeros", align_corners=self.align_corners)[0]


def _interiors(segmentation: Tensor, lowest: float) -> Tensor:
    """Where a voxel and its 26 neighbours have one label, its distance from the lowest label, plus 1; 0 elsewhere."""
    least = most = labels = segmentation[0]
    inner = torch.zeros_like(labels)
    if min(labels.shape) > 2:
        for axis, size in enumerate(labels.shape):
            least, most = _of_three(torch.minimum, least, axis, size), _of_three(torch.maximum, most, axis, size)
        inner[1:-1, 1:-1, 1:-1] = (least - (lowest - 1)) * (least == most)
    return inner


def _of_three(combine: Callable, values: Tensor, axis: int, size: int) -> Tensor:
    """Of each voxel but the outermost ones, and its two neighbours along an axis."""
    before, here, after = (values.narrow(axis, start, size - 2) for start in range(3))
    return combine(combine(before, here), after)


def _labels(segmentation: Tensor) -> set[float]:
    if segmentation.device.type == "cpu":
        return set(pd.unique(segmentation.numpy().ravel()).tolist())
    return set(torch.unique(segmentation).cpu().tolist())


FASTER = {
    ConvertSegmentationToRegionsTransform: RegionsByComparison,
    GaussianBlurTransform: BlurOnAnyDevice,
    SpatialTransform: LabelsNearBoundaries,
}


def speed_up(transforms: Any) -> None:
    """Replace nnU-Net's transforms in a composition by those of this module, which give the same voxels."""
    for transform in transforms.transforms:
        inner = transform.transform if isinstance(transform, RandomTransform) else transform
        inner.__class__ = FASTER.get(type(inner), type(inner))


def augmented(sample: dict[str, Tensor], transforms: list[BasicTransform]) -> dict[str, Any]:
    """A sample after transforms of nnU-Net, one after another, on the device where it is.

    All but the noise itself is drawn on the CPU, in nnU-Net's order: the same on every device, and no draw waits for
    a GPU.

    Args:
        sample: "image", (channels, x, y, z), and "segmentation", (1, x, y, z), which are changed in place.
        transforms: after `speed_up`.
    """
    for transform in transforms:
        if isinstance(transform, RandomTransform):
            if not transform.get_parameters()["apply_transform"]:
                continue
            transform = transform.transform
        device, shape = sample["image"].device, sample["image"].shape
        params = transform.get_parameters(image=torch.zeros(()).expand(shape))
        for name in ON_THE_DEVICE:
            if isinstance(params.get(name), Tensor):
                params[name] = params[name].to(device, non_blocking=True)
        sample = transform.apply(sample, **params)
    return sample
