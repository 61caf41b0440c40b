"""Files of training states: written whole or not at all, verified when read, with the one before kept.

A state file is 8 bytes of magic, the SHA-256 of the payload, and the payload that `torch.save` wrote. Names
in a folder: `state.pt` is the newest, `state-before.pt` the one before it.
"""

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from crossmodal.errors import UserError
from crossmodal.files import atomic_path

MAGIC = b"CMSTATE2"
HEADER = len(MAGIC) + hashlib.sha256().digest_size
NEWEST, NEXT, BEFORE = "state.pt", "state-next.pt", "state-before.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a training state; a crash at any moment leaves this one whole or the one before.

    Raises:
        UserError: the disk is full or the folder cannot be written; older states are untouched.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    newest = folder / NEWEST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / NEXT) as temporary, temporary.open("wb") as stream:
            stream.write(MAGIC + hashlib.sha256(payload).digest())
            stream.write(payload)
        # The next is whole and on disk before an older one gives up its name.
        if newest.exists():
            newest.replace(folder / BEFORE)
        (folder / NEXT).replace(newest)
    except OSError as error:
        raise UserError(
            f"{folder}: the training state could not be saved ({error.strerror}): free some space or choose another "
            f"folder and run the same command again; the training goes on from the last state that was saved"
        ) from None


def load_state(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole state, or None, and a message for each damaged one that was passed over.

    Raises:
        UserError: a file whose checksum is right holds other things than tensors and plain values.
    """
    faults = []
    for path in (folder / name for name in (NEWEST, NEXT, BEFORE)):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            faults.append(f"{path}: cannot be read ({error.strerror})")
            continue
        payload = content[HEADER:]
        if content[:HEADER] != MAGIC + hashlib.sha256(payload).digest():
            faults.append(f"{path}: damaged, cut short or of another version")
            continue
        try:
            state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except (RuntimeError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{path}: is not a training state of this program and was not loaded ({reason}); "
                f"delete {folder} to train anew"
            ) from None
        return state, [f"{fault}; the state before it is used" for fault in faults]
    return None, [f"{fault}; no whole state is left: the training starts again from the beginning" for fault in faults]


def remove_states(folder: Path) -> None:
    """Delete the states of a finished training."""
    for name in (NEWEST, NEXT, BEFORE):
        (folder / name).unlink(missing_ok=True)
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()
