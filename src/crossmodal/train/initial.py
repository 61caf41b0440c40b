"""Starting a training from the weights of a trained network: `init_from` of a recipe.

As with nnU-Net's `-pretrained_weights`, every layer must have the same shape, and what is trained afterwards is the
whole network at nnU-Net's own learning rate. Two things differ. The segmentation heads are kept, since source and
training have the same three regions. And a student of fewer sequences takes its channels of the first convolution,
which is the source given zeros, the mean of a normalised image, for the sequences that it lacks.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from crossmodal.differences import refuse_other
from crossmodal.domain import parse_subset, subset_name
from crossmodal.errors import UserError
from crossmodal.experiment.initial import model_and_fold
from crossmodal.experiment.recipe import Recipe
from crossmodal.nnunet.export import hash_of_weights, read_checkpoint
from crossmodal.nnunet.plans import CONFIGURATION, LABELS
from crossmodal.progress import say


@dataclass
class InitialWeights:
    """The weights that a student starts from.

    Attributes:
        where: the model folder, and which fold of it.
        weights: the source's state_dict.
        channels: the source's input channels that the student has, in the student's order.
        sha256: hash of `weights`.
    """

    where: str
    weights: dict[str, Tensor]
    channels: list[int]
    sha256: str

    def copy_into(self, network: nn.Module) -> None:
        """Give an nnU-Net network these weights, and say so.

        Raises:
            UserError: the checkpoint holds other layers than its plans.json says.
        """
        weights = dict(self.weights)
        for name in names_of_first_convolution(network):
            weights[name] = weights[name][:, self.channels]
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"init_from: {self.where}: its weights are not of its plans.json: {reason}") from None
        say(f"starts from the weights of {self.where}")


def names_of_first_convolution(network: nn.Module) -> list[str]:
    """Names in the state_dict under which the first convolution's weight, (features, channels, ...), stands."""
    first = next(module.weight for module in network.encoder.modules() if isinstance(module, nn.Conv3d))
    return [name for name, tensor in network.state_dict().items() if tensor.data_ptr() == first.data_ptr()]


def read_initial(recipe: Recipe, fold: int, modalities: str, plans: dict) -> InitialWeights | None:
    """What a training starts from, if its recipe says so.

    Args:
        recipe: of the training.
        fold, modalities: of the training.
        plans: the content of the dataset's plans.json.

    Raises:
        UserError: there is no such network, or it does not fit this one; both are named.
    """
    if recipe.init_from is None:
        return None
    model, source_fold = model_and_fold(recipe.init_from, fold)
    theirs, dataset = (_read(model / name) for name in ("plans.json", "dataset.json"))
    where = f"{model}, fold {source_fold}"
    seen = [name.lower() for name in dataset["channel_names"].values()]
    wanted = parse_subset(modalities)
    missing = [name for name in wanted if name not in seen]
    if missing:
        raise UserError(
            f"init_from: {where}: was trained on {'+'.join(seen)}, and the training on {modalities} needs weights for "
            f"{subset_name(tuple(missing))} too: start from a network that saw {modalities}, or more"
        )
    remedy = "Train with the budget and backbone of that network, or start from another."
    refuse_other(_shape(theirs, dataset), _shape(plans), f"init_from: {where}", remedy, "for another network")
    trained = theirs.get("distillation", {}).get("recipe", {})
    ours = recipe.plain()
    given = {key: trained.get(key, ours[key]) for key in ("input", "skip_connections")}
    remedy = "Start from a network whose recipe has the same input and skip connections."
    refuse_other(given, {key: ours[key] for key in given}, f"init_from: {where}", remedy, "by another recipe")
    weights = read_checkpoint(model, source_fold)["network_weights"]
    return InitialWeights(where, weights, [seen.index(name) for name in wanted], hash_of_weights(weights))


def _shape(plans: dict, dataset: dict | None = None) -> dict[str, Any]:
    """What gives every layer its shape, and each head its region."""
    labels = dataset["labels"] if dataset else LABELS
    return {"network": plans["configurations"][CONFIGURATION]["architecture"], "labels": list(labels.values())}


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"init_from: {path}: is not there or cannot be read: is this a model folder?") from None
