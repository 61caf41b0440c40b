"""Size of a budget's network: its weights, and the operations of a forward pass. Nothing is allocated for it."""

from typing import Any

from crossmodal.domain import MODALITIES, REGIONS
from crossmodal.experiment.budget import Budget
from crossmodal.experiment.recipe import Recipe

# What nnU-Net plans for BraTS at 1 mm. Its planner finds these from the cohort's median shape, 140 × 171 × 137.
FEATURES = [32, 64, 128, 256, 320, 320]
PATCH_AND_BATCH = {"plain": ([128, 128, 128], 2), "resenc_m": ([128, 128, 128], 2), "resenc_l": ([160, 192, 160], 3)}
RESIDUAL_BLOCKS = [1, 3, 4, 6, 6, 6, 6, 6]


def patch_and_batch(budget: Budget, backbone: str) -> tuple[list[int], int]:
    """Patch in voxels and patches a batch; where the budget leaves them open, what nnU-Net plans for BraTS."""
    patch, batch = PATCH_AND_BATCH[backbone]
    return budget.patch_size or patch, budget.batch_size or batch


def parameters(budget: Budget, backbone: str) -> int:
    """Number of weights of nnU-Net's network for four modalities and three regions."""
    return sum(weight.numel() for weight in network(budget, backbone).parameters())


def student_bytes(budget: Budget, backbone: str, recipe: Recipe) -> int:
    """Memory that one more student takes in a job: weights, gradients and momentum, and a copy while it is saved.

    What a step computes is freed before the next student's. A teacher that learns beside the student is its own.
    """
    learning = 2 if recipe.teacher_trained == "jointly" else 1
    return 4 * 4 * parameters(budget, backbone) * learning


def forward_operations(budget: Budget, backbone: str) -> int:
    """Floating-point operations of a forward pass of one batch (a multiply-add counts as two)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    patch, batch = patch_and_batch(budget, backbone)
    with FlopCounterMode(display=False) as counter:
        network(budget, backbone)(torch.empty(batch, len(MODALITIES), *patch, device="meta"))
    return counter.get_total_flops()


def network(budget: Budget, backbone: str) -> Any:
    """nnU-Net's network for four modalities and three regions, on torch's meta device: shapes without memory."""
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
    from torch import nn

    features = budget.features or FEATURES
    stages = len(features)
    arguments = {"conv_op": nn.Conv3d, "kernel_sizes": 3, "strides": [1] + [2] * (stages - 1), "conv_bias": True}
    arguments |= {"norm_op": nn.InstanceNorm3d, "norm_op_kwargs": {"affine": True}, "nonlin": nn.LeakyReLU}
    arguments |= {"n_stages": stages, "features_per_stage": features, "deep_supervision": True}
    arguments |= {"input_channels": len(MODALITIES), "num_classes": len(REGIONS)}
    with torch.device("meta"):
        if backbone == "plain":
            return PlainConvUNet(n_conv_per_stage=2, n_conv_per_stage_decoder=2, **arguments)
        blocks = (RESIDUAL_BLOCKS + RESIDUAL_BLOCKS[-1:] * stages)[:stages]
        return ResidualEncoderUNet(n_blocks_per_stage=blocks, n_conv_per_stage_decoder=1, **arguments)
