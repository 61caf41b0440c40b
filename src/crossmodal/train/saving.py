"""What a training saves of itself, when, and how it goes on from there."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from crossmodal.differences import differences, refuse_other
from crossmodal.errors import UserError
from crossmodal.progress import say
from crossmodal.train import state as states
from crossmodal.train.reproducibility import plain, random_state


class NotFiniteError(UserError):
    """The loss or a weight of a training is not a number."""


class Saving:
    """Part of a trainer: its state between two steps, as tensors and plain values.

    Attributes:
        folder: the fold's folder; states lie in its state/.
        identity: what identifies this training; a state must agree with it.
    """

    folder: Path
    identity: dict[str, Any]

    def networks(self) -> dict[str, nn.Module]:
        """Everything with weights that training changes, by name."""
        raise NotImplementedError

    def pack(self) -> dict[str, Any]:
        """The state between two steps, in types that `torch.load(weights_only=True)` reads."""
        scaler = self.grad_scaler
        return {
            "identity": json.dumps(self.identity),
            "made_with": self._made_with(),
            "networks": {name: network.state_dict() for name, network in self.networks().items()},
            "optimizer": self.optimizer.state_dict(),
            "grad_scaler": scaler.state_dict() if scaler is not None else None,
            "epoch": self.current_epoch,
            "step_in_epoch": self.step_in_epoch,
            "train_outputs": self.train_outputs,
            "logging": plain(self.logger.get_checkpoint()),
            "train_seconds": self.train_seconds,
            "step_seconds": self.step_seconds[-1000:],
            "progress": self.progress,
            "correlations": self.correlations,
            "random": random_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put an initialised trainer into a packed state; the caller sets its random streams later.

        Raises:
            UserError: the state is of another training; the message shows each difference.
        """
        where = self.folder / "state"
        remedy = f"To start anew, delete {where}; or use another --out."
        refuse_other(json.loads(state["identity"]), self.identity, where, remedy)
        for name, network in self.networks().items():
            network.load_state_dict(state["networks"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.grad_scaler is not None and state["grad_scaler"] is not None:
            self.grad_scaler.load_state_dict(state["grad_scaler"])
        self.current_epoch, self.step_in_epoch = state["epoch"], state["step_in_epoch"]
        self.train_outputs = state["train_outputs"]
        self.logger.load_checkpoint(state["logging"])
        self.train_seconds, self.step_seconds = state["train_seconds"], state["step_seconds"]
        self.progress, self.correlations = state["progress"], state["correlations"]
        changed = differences(state["made_with"], self._made_with())
        if changed:
            say(
                f"the state was saved elsewhere ({'; '.join(changed)}): the weights will not be bit for bit those of "
                f"an uninterrupted training"
            )

    def save_state(self) -> None:
        """Write the state now.

        Raises:
            UserError: it cannot be written.
            NotFiniteError: a weight is not a number: a step can spoil the weights while its own loss is still finite,
                and such a state must not replace a good one.
        """
        self.require_finite()
        states.save_state(self.folder / "state", self.pack())

    def require_finite(self) -> None:
        """Raise NotFiniteError when a weight is not a number."""
        for name, network in self.networks().items():
            if not all(torch.isfinite(tensor).all() for tensor in network.state_dict().values()):
                self.refuse_nan("a weight", name)

    def refuse_nan(self, what: str, terms: str) -> None:
        """Raise NotFiniteError, which names the batch's cases, and the loss terms or the network that is spoilt."""
        where = self.folder / "state"
        kept = f"the last good state is kept in {where}" if where.exists() else "no state had been saved yet"
        raise NotFiniteError(
            f"{self.folder}: {what} is not a number after step {self._steps_done()} ({terms}); the batch's cases: "
            f"{self._last_cases}. Look at these cases, or lower the weights of the recipe; {kept}"
        )

    def _made_with(self) -> dict[str, str]:
        """What equal bytes depend on beside the identity of a training."""
        return {name: version(name) for name in ("torch", "nnunetv2")} | {"device": self.device.type}
