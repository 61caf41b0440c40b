"""Networks of a distillation: teacher and student, what each is shown, and the terms that compare them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossmodal.distill import Features, class_mean
from crossmodal.distill import features as taps
from crossmodal.experiment.recipe import Recipe


@dataclass
class Network:
    """A U-Net and what it is shown.

    Attributes:
        module: the bare nnU-Net network.
        channels: its channels among the four.
        recipe: the recipe by which it is trained: input and skip connections.
    """

    module: nn.Module
    channels: list[int]
    recipe: Recipe

    def features(self, images: Tensor, labels: Tensor) -> Features:
        """Forward pass on a four-channel batch (B, 4, ...) with labels (B, 1, ...)."""
        return taps.forward(self.module, self.view(images, labels), self.recipe.skip_connections)

    def view(self, images: Tensor, labels: Tensor) -> Tensor:
        """What the network is shown of the batch, (B, k, ...)."""
        images = images if self.channels == list(range(images.shape[1])) else images[:, self.channels]
        return class_mean(images, labels) if self.recipe.uses_ground_truth else images


@dataclass
class FrozenNetwork(Network):
    """A network that no longer learns. Students that share a batch share its forward pass."""

    def __post_init__(self) -> None:
        self._last: tuple[Tensor, Features] | None = None

    def features(self, images: Tensor, labels: Tensor) -> Features:
        """Forward pass on a batch; what was found is kept until another batch is asked for."""
        if self._last is None or self._last[0] is not images:
            self._last = None  # its memory is free before the next is computed
            self._last = images, super().features(images, labels)
        return self._last[1]


@dataclass
class Term:
    """One entry of `distill`, with a loss for each tensor at its tap (several for `encoder.*`)."""

    name: str
    at: str
    weight: float
    losses: nn.ModuleList

    def compare(self, student: Features, teacher: Features, labels: Tensor) -> Tensor:
        """Mean of the losses over the tensors at the tap, a scalar.

        Args:
            student, teacher: features of both networks on the same batch.
            labels: (B, 1, ...), for losses that use them.

        Raises:
            ValueError: a loss refuses the shapes.
        """
        pairs = zip(self.losses, student.at(self.at), teacher.at(self.at), strict=True)
        return torch.stack([loss(s, t, labels) for loss, s, t in pairs]).mean()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of nnU-Net's overlapping regions: a binary one in each, from (B, regions, ...) and booleans."""
    return nn.functional.binary_cross_entropy_with_logits(logits, target.to(logits.dtype))


def gradient_ratio(distillation: Tensor, segmentation: Tensor, at: list[Tensor]) -> float:
    """Norm of the distillation's gradient at a tap over that of the segmentation's.

    Args:
        distillation: a term times its weight, a scalar.
        segmentation: the segmentation loss times its weight, a scalar.
        at: the tensors at the tap.

    Returns:
        nan when the segmentation's gradient there is 0.
    """

    def norm(loss: Tensor) -> float:
        gradients = torch.autograd.grad(loss, at, retain_graph=True, allow_unused=True)
        return float(sum(g.float().pow(2).sum() for g in gradients if g is not None)) ** 0.5

    below = norm(segmentation)
    return norm(distillation) / below if below > 0 else float("nan")
