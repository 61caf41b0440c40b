"""What a network is given: a modality subset, random subsets, or class-mean images."""

import torch
from torch import Tensor

from crossmodal.domain import MODALITIES, NUMBER_OF_LABELS, all_subsets

# The 15 subsets as rows of booleans.
_KEEP = torch.tensor([[name in subset.split("+") for name in MODALITIES] for subset in all_subsets()])


def labels_from_regions(regions: Tensor) -> Tensor:
    """The mutually exclusive labels of nnU-Net's nested region targets.

    Takes (B, 3, ...) of booleans or 0/1, in the order WT, TC, ET. Returns (B, 1, ...) of uint8: 0 background,
    1 oedema (WT only), 2 necrosis (TC without ET), 3 enhancing.
    """
    return regions.to(torch.uint8).sum(1, keepdim=True, dtype=torch.uint8)


def class_mean(images: Tensor, labels: Tensor, classes: int = NUMBER_OF_LABELS) -> Tensor:
    """Class-mean images of SIKD (Dong et al. 2025, arXiv 2409.17503): each voxel gets its class's mean intensity.

    For each sample, channel and class, background included: sum(image · mask) / (sum(mask) + 1e-8).

    Args:
        images: (B, C, ...).
        labels: (B, 1, ...) of integers; a voxel that is not 0 to classes − 1 becomes 0.
        classes: number of classes.

    Returns:
        (B, C, ...), constant within each class.

    Raises:
        ValueError: the labels are not (B, 1, ...) of the images' size.
    """
    if labels.shape != (len(images), 1, *images.shape[2:]):
        raise ValueError(f"labels are {tuple(labels.shape)}, images {tuple(images.shape)}: they should be (B, 1, ...)")
    result = torch.zeros_like(images)
    dims = tuple(range(2, images.ndim))
    for label in range(classes):
        mask = (labels == label).to(images.dtype)
        mean = (images * mask).sum(dims, keepdim=True) / (mask.sum(dims, keepdim=True) + 1e-8)
        result += mean * mask
    return result


def random_subsets(batch_size: int, seed: int) -> Tensor:
    """Which modalities each sample keeps: one of the 15 subsets, all equally likely.

    Args:
        batch_size: number of samples, B.
        seed: the draw depends on it alone. So the random stream of the augmentation is left as it is, and a
            training that resumes needs no saved state of this one.

    Returns:
        (B, 4) of booleans.
    """
    generator = torch.Generator().manual_seed(seed)
    return _KEEP[torch.randint(len(_KEEP), (batch_size,), generator=generator)]


def drop_modalities(images: Tensor, keep: Tensor) -> Tensor:
    """Set the modalities that are not kept to zero, the mean of a normalised image.

    Args:
        images: (B, 4, ...).
        keep: (B, 4) of booleans.

    Raises:
        ValueError: `keep` is not (B, 4).
    """
    if keep.shape != images.shape[:2]:
        raise ValueError(f"'keep' is {tuple(keep.shape)}, images {tuple(images.shape)}: it should be (B, 4)")
    return images * keep.to(images).reshape(*keep.shape, *[1] * (images.ndim - 2))
