"""Distillation for any training loop: losses, the features they compare (taps), and what a network is given.

Importing this needs torch and nothing else outside the library. docs/methods.md has an example of a loop.
"""

from crossmodal.distill.base import LOSSES, DistillationLoss, make_loss, register
from crossmodal.distill.features import Features, forward, tap_channels
from crossmodal.distill.inputs import class_mean, drop_modalities, labels_from_regions, random_subsets
from crossmodal.distill.losses import MSE, AttentionTransfer, BarlowTwins, ChannelKL, Prototypes, SoftTargets

__all__ = ["LOSSES", "MSE", "AttentionTransfer", "BarlowTwins", "ChannelKL", "DistillationLoss", "Features"]
__all__ += ["Prototypes", "SoftTargets", "class_mean", "drop_modalities", "forward", "labels_from_regions", "make_loss"]
__all__ += ["random_subsets", "register", "tap_channels"]
