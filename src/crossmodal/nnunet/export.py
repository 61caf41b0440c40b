"""A trained network as a stock nnU-Net model folder, and the manifest that says what it is."""

import hashlib
import io
import json
import resource
import statistics
from collections.abc import Mapping
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

    Args:
        path: the file.
        network: whose weights are written.
        plans, dataset_json: as `plans.subset_plans` returns them for this network.
        fold: its fold.
        epochs: number of epochs it was trained for.
        mirroring: spatial axes over which predictions are averaged, or None.
        logging: content of nnU-Net's logger, in plain types.
    """
    checkpoint = {
        "network_weights": {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()},
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
    buffer = io.BytesIO()  # torch's own file writer does not say that a disk is full
    torch.save(checkpoint, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_checkpoint(model: Path, fold: int) -> dict[str, Any]:
    """checkpoint_final.pth of a finished network, its weights verified against the manifest where there is one.

    Args:
        model: model folder.
        fold: whose checkpoint.

    Raises:
        UserError: there is no finished checkpoint, it cannot be read safely, or its weights are not those that
            were trained.
    """
    path = model / f"fold_{fold}" / "checkpoint_final.pth"
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint: train this network first (crossmodal train --fold {fold})")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        weights = checkpoint["network_weights"]
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as a checkpoint ({reason}): train this network again") from None
    manifest = path.with_name("manifest.json")
    if manifest.is_file() and read_manifest(manifest)["weights_sha256"] != hash_of_weights(weights):
        raise UserError(
            f"{path}: its weights are not those that {manifest.name} beside it records: it was damaged or replaced; "
            f"restore it, or delete {path.parent} and train this network again"
        )
    return checkpoint


def hash_of_weights(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and bytes of a network's state_dict."""
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_manifest(path: Path, identity: dict[str, Any], network: nn.Module) -> None:
    """manifest.json: what was trained (`identity`) and the hash of the network: the same for equal trainings."""
    write_json(path, {"weights_sha256": hash_of_weights(network.state_dict())} | identity)


def read_manifest(path: Path) -> dict[str, Any]:
    """What `write_manifest` wrote.

    Raises:
        UserError: it is not there, or not a manifest.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{path}: is not there or not the manifest of a trained network: delete {path.parent} and train it again"
        ) from None
    return manifest


def write_cost(
    path: Path,
    method: str,
    modalities: str,
    device: torch.device,
    seconds: float,
    steps: list[float],
    students: int = 1,
) -> None:
    """cost.json: seconds of training, median step in ms, peak memory in MB, device, number of students.

    Args:
        path: the file.
        method, modalities: whose cost it is.
        device: where it was trained.
        seconds: of the whole training, those of an interrupted process included.
        steps: seconds of each step.
        students: how many were trained side by side; seconds are then this student's share, and the peak is of all.
    """
    cuda = device.type == "cuda"
    in_ram = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10
    cost = {
        "method": method,
        "modalities": modalities,
        "train_s": round(seconds, 2),
        "step_ms": round(1000 * statistics.median(steps), 2),
        "peak_mem_mb": round((torch.cuda.max_memory_allocated() if cuda else in_ram) / 2**20),
        "device": torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads",
    } | ({"students": students} if students > 1 else {})
    write_json(path, cost)
