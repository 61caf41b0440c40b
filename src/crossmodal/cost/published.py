"""Estimated step times where nothing was measured: the network's operations, at rates that others have published.

Everything is scaled from nnU-Net's own network for BraTS (patch 128 × 128 × 128, batch 2) on an A100 with 40 GB:

    lowest   73 ms a step: NVIDIA's tuned nnU-Net, 27.5 images/s (NVIDIA DeepLearningExamples, PyTorch nnU-Net)
    middle   9 h a training of 1000 epochs (nnU-Net, documentation/resenc_presets.md)
    highest  302 ms a step: eight processes that do not augment fast enough (nnU-Net, issue 3063)

Time grows with the operations of a forward pass, and that of augmentation with the voxels of a batch. Other GPUs are
scaled by their memory bandwidth, as data sheets give it, since a 3D U-Net waits for memory more than for arithmetic:
the epoch times that nnU-Net published for an A100, V100, Titan RTX and RTX 2080 Ti (its version 1,
documentation/expected_epoch_times.md) differ from this rule by at most a quarter, which the range includes.
"""

from crossmodal.cost.network import forward_operations, patch_and_batch
from crossmodal.cost.step_times import ARITHMETIC, StepTime
from crossmodal.experiment.budget import Budget
from crossmodal.experiment.config import Resolved

# GB/s of memory.
BANDWIDTH = {
    "NVIDIA A100 40 GB": 1555,
    "NVIDIA H100 SXM": 3350,
    "NVIDIA V100": 900,
    "NVIDIA RTX 4090": 1008,
    "NVIDIA RTX 3090": 936,
}
REFERENCE = "NVIDIA A100 40 GB"
TUNED, AUGMENTING = 2 / 27.5, 0.302  # seconds a step
TRAINING_HOURS = 9
SCATTER = 1.25
# The rates hold for networks about as large as nnU-Net's own: launching kernels takes most of a small one's step.
SMALLEST = 0.05


def from_published(config: Resolved, device: str | None = None) -> list[StepTime]:
    """Estimated step times of the experiment's network, one of each kind for each class of GPU.

    Args:
        config: the resolved config.
        device: part of a GPU's name, to leave the others out.

    Returns:
        An empty list where the rates do not hold: on a CPU, in full precision, for a much smaller network.
    """
    budget, backbone, standard = config.budget_settings, config.backbone, Budget(title="nnU-Net's own")
    if config.device == "cpu" or budget.precision == "fp32":
        return []
    size = forward_operations(budget, backbone) / forward_operations(standard, "plain")
    if size < SMALLEST:
        return []
    voxels = _voxels(budget, backbone) / _voxels(standard, "plain")
    own = TRAINING_HOURS * 3600 / standard.steps / _with_validation(standard)
    times = []
    for name, bandwidth in BANDWIDTH.items():
        if device is not None and device.lower() not in name.lower():
            continue
        slower = BANDWIDTH[REFERENCE] / bandwidth
        scatter = 1 if name == REFERENCE else SCATTER
        for kind, passes in ARITHMETIC.items():
            middle = own * size * slower * passes
            # A teacher computes on the same augmented batch.
            highest = max(middle * scatter, AUGMENTING * voxels)
            lowest = TUNED * size * slower * passes / scatter
            seconds = tuple(_with_validation(budget) * value for value in (lowest, middle, highest))
            times.append(StepTime(None, kind, name, seconds, "published rates", estimated=True))
    return times


def _voxels(budget: Budget, backbone: str) -> int:
    (depth, height, width), batch = patch_and_batch(budget, backbone)
    return batch * depth * height * width


def _with_validation(budget: Budget) -> float:
    """An epoch's time over that of its training steps: a validation step is a forward pass, a third of a step."""
    return 1 + budget.val_steps_per_epoch / budget.steps_per_epoch / 3
