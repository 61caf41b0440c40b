"""Rewriting nnU-Net's plans: for a budget's network, and for the modality subset of an exported student."""

import math
import re
from copy import deepcopy

from crossmodal.domain import INTERNAL_REGIONS, MODALITIES, channels_of
from crossmodal.errors import UserError
from crossmodal.experiment.budget import Budget

CONFIGURATION = "3d_fullres"
# The nested regions that are trained. nnU-Net paints them in this order, each with the label that the next one lacks.
LABELS = {"background": 0} | {region: list(labels) for region, labels in INTERNAL_REGIONS.items()}
REGIONS_CLASS_ORDER = [labels[0] for labels in INTERNAL_REGIONS.values()]

# A class of nnU-Net's networks or of torch's layers. A prefix would not do: torch.nn.parallel.distributed.os.system.
NETWORK_CLASS = re.compile(
    r"dynamic_network_architectures\.(architectures|building_blocks)\.\w+\.[A-Z]\w*|torch\.nn\.(modules\.\w+\.)?[A-Z]\w*"
)


def dataset_json(file_ending: str, number_of_cases: int) -> dict:
    """nnU-Net's dataset.json of the four-channel dataset."""
    return {
        "channel_names": {str(number): name.upper() for number, name in enumerate(MODALITIES)},
        "labels": LABELS,
        "regions_class_order": REGIONS_CLASS_ORDER,
        "numTraining": number_of_cases,
        "file_ending": file_ending,
    }


def apply_budget(plans: dict, budget: Budget) -> dict:
    """The plans with a budget's spacing, patch, batch and network; a null keeps what nnU-Net planned.

    Only the 3d_fullres configuration is kept. A number of features also sets the number of stages: strides
    of two, as nnU-Net plans them for isotropic images.

    Args:
        plans: nnU-Net's plans of the four-channel dataset; they are not changed.
        budget: the budget.

    Raises:
        UserError: nnU-Net's and the budget's parts together give a patch that the stages cannot halve.
    """
    plans = deepcopy(plans)
    configuration = plans["configurations"][CONFIGURATION]
    for name in ("next_stage", "previous_stage"):
        configuration.pop(name, None)
    plans["configurations"] = {CONFIGURATION: configuration}
    for key in ("spacing", "patch_size", "batch_size"):
        if getattr(budget, key) is not None:
            configuration[key] = deepcopy(getattr(budget, key))
    network = configuration["architecture"]["arch_kwargs"]
    if budget.features is not None:
        _set_stages(network, budget.features)
    strides = network["strides"]
    for axis, size in enumerate(configuration["patch_size"]):
        divisor = math.prod(stride[axis] for stride in strides)
        if size % divisor:
            raise UserError(
                f"the budget's patch_size {list(configuration['patch_size'])} cannot be used with "
                f"{len(strides)} stages: axis {axis} must be a multiple of {divisor}"
            )
    return plans


def _set_stages(network: dict, features: list[int]) -> None:
    stages = len(features)
    network["n_stages"] = stages
    network["features_per_stage"] = list(features)
    network["kernel_sizes"] = [[3, 3, 3]] * stages
    network["strides"] = [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1)
    lengths = {"n_conv_per_stage_decoder": stages - 1, "n_conv_per_stage": stages, "n_blocks_per_stage": stages}
    for key in lengths.keys() & network.keys():
        planned = list(network[key])
        network[key] = (planned + planned[-1:] * stages)[: lengths[key]]


def require_known_classes(plans: dict, where: str) -> None:
    """Refuse plans whose network is built of other things than nnU-Net's own and torch's layers.

    nnU-Net imports the classes that plans.json names and calls them with the arguments that stand there, so a
    stranger's model folder could name a program to run.

    Args:
        plans: the content of plans.json.
        where: its path, for the message.

    Raises:
        UserError: naming the class.
    """
    for configuration in plans["configurations"].values():
        architecture = configuration.get("architecture", {})
        arguments = architecture.get("arch_kwargs", {})
        imported = [arguments.get(key) for key in architecture.get("_kw_requires_import", [])]
        for name in (architecture.get("network_class_name"), *imported):
            if name is not None and not NETWORK_CLASS.fullmatch(str(name)):
                raise UserError(
                    f"{where}: names '{name}' as a part of its network, which is no part of nnU-Net: not loaded"
                )


def subset_plans(plans: dict, dataset: dict, modalities: tuple[str, ...]) -> tuple[dict, dict]:
    """Plans and dataset.json of a network that takes only these modalities, from those of the four channels.

    Prediction with stock nnU-Net then needs these k files alone, as `case_0000` to `case_000(k−1)`.

    Args:
        plans, dataset: the content of plans.json and dataset.json for four channels; they are not changed.
        modalities: the subset.
    """
    plans, dataset = deepcopy(plans), deepcopy(dataset)
    channels = channels_of(modalities)
    dataset["channel_names"] = {str(new): dataset["channel_names"][str(old)] for new, old in enumerate(channels)}
    for configuration in plans["configurations"].values():
        for key in ("normalization_schemes", "use_mask_for_norm"):
            configuration[key] = [configuration[key][channel] for channel in channels]
    intensities = plans["foreground_intensity_properties_per_channel"]
    plans["foreground_intensity_properties_per_channel"] = {
        str(new): intensities[str(old)] for new, old in enumerate(channels)
    }
    return plans, dataset
