"""What the rest of a training depends on, as one mapping of tensors and plain values, and back."""

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from crossmodal.differences import differences
from crossmodal.train import resume
from crossmodal.train.seeds import random_state
from crossmodal.progress import say

if TYPE_CHECKING:
    from crossmodal.train.trainer import ReproducibleTrainer


def pack(trainer: "ReproducibleTrainer") -> dict[str, Any]:
    """The trainer's state between two steps, in types that `torch.load(weights_only=True)` reads."""
    scaler = trainer.grad_scaler
    return {
        "identity": json.dumps(trainer.identity),
        "made_with": made_with(trainer),
        "networks": {name: network.state_dict() for name, network in trainer.networks().items()},
        "optimizer": trainer.optimizer.state_dict(),
        "grad_scaler": scaler.state_dict() if scaler is not None else None,
        "epoch": trainer.current_epoch,
        "step_in_epoch": trainer.step_in_epoch,
        "train_outputs": trainer.train_outputs,
        "logging": plain_log(trainer),
        "train_seconds": trainer.train_seconds,
        "step_seconds": trainer.step_seconds[-1000:],
        "extra": trainer.extra_state(),
        "random": random_state(),
    }


def take_up(trainer: "ReproducibleTrainer", state: dict[str, Any]) -> None:
    """Put a trainer that is initialised where `pack` found it; its random streams are set later, by the caller.

    Raises:
        UserError: the state is of another training; the message shows each difference.
    """
    where = trainer.folder / "state"
    remedy = f"To start anew, delete {where}; or use another --out."
    resume.refuse_other(json.loads(state["identity"]), trainer.identity, where, remedy)
    for name, network in trainer.networks().items():
        network.load_state_dict(state["networks"][name])
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.grad_scaler is not None and state["grad_scaler"] is not None:
        trainer.grad_scaler.load_state_dict(state["grad_scaler"])
    trainer.current_epoch, trainer.step_in_epoch = state["epoch"], state["step_in_epoch"]
    trainer.train_outputs = state["train_outputs"]
    trainer.logger.load_checkpoint(state["logging"])
    trainer.train_seconds, trainer.step_seconds = state["train_seconds"], state["step_seconds"]
    trainer.take_up_extra(state["extra"])
    changed = differences(state["made_with"], made_with(trainer))
    if changed:
        say(
            f"the state was saved elsewhere ({'; '.join(changed)}): the weights will not be bit for bit those of "
            f"an uninterrupted training"
        )


def made_with(trainer: "ReproducibleTrainer") -> dict[str, str]:
    """What equal bytes depend on beside the identity of a training."""
    versions = {name: version(name) for name in ("torch", "nnunetv2")}
    return versions | {"device": trainer.device.type}


def plain_log(trainer: "ReproducibleTrainer") -> dict[str, Any]:
    """nnU-Net's log of each epoch, as plain numbers."""
    return _plain(trainer.logger.get_checkpoint())


def _plain(value: Any) -> Any:
    """NumPy numbers as Python's, which weights_only loading reads."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
