"""A trained network as a stock nnU-Net model folder, and the manifest that says what it is."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal.errors import UserError
from crossmodal.files import atomic_path, write_json
from crossmodal.nnunet.plans import CONFIGURATION


def write_checkpoint(
    path: Path,
    network: nn.Module,
    plans: dict,
    dataset_json: dict,
    fold: int,
    epochs: int,
    mirroring: tuple[int, ...] | None,
    logging: dict[str, Any],
) -> None:
    """checkpoint_final.pth as stock nnU-Net writes it, for `nnUNetTrainer`: no class of ours is needed to read it.

    Only tensors and plain types are in it, so `torch.load(weights_only=True)` reads it too.
    """
    checkpoint = {
        "network_weights": {
            name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
        },
        "optimizer_state": None,
        "grad_scaler_state": None,
        "logging": logging,
        "_best_ema": None,
        "current_epoch": epochs,
        "init_args": {
            "plans": plans,
            "configuration": CONFIGURATION,
            "fold": fold,
            "dataset_json": dataset_json,
            "device": "cpu",
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": mirroring,
    }
    with atomic_path(path) as temporary:
        torch.save(checkpoint, temporary)


def read_weights(model: Path, fold: int) -> dict[str, Tensor]:
    """Weights of a finished network of ours.

    Raises:
        UserError: there is no finished checkpoint, or it cannot be read safely.
    """
    path = model / f"fold_{fold}" / "checkpoint_final.pth"
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such checkpoint: train this network first (crossmodal train --fold {fold})"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)["network_weights"]
    except Exception as error:
        raise UserError(
            f"{path}: cannot be read as a checkpoint ({error}): train this network again"
        ) from None


def hash_of_weights(network: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of a network's tensors."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_manifest(path: Path, identity: dict[str, Any], network: nn.Module) -> None:
    """manifest.json: what was trained and the hash of what came out, and nothing that changes between equal runs."""
    write_json(path, {"weights_sha256": hash_of_weights(network)} | identity)
