"""Training states: written whole or not at all, checked when read, with the one before kept.

A state file is 8 bytes of magic, the SHA-256 of the payload, and the payload that `torch.save` wrote. Names
in a folder: `state.pt` is the newest, `state-before.pt` the one before it.
"""

import hashlib
import io
import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from crossmodal.differences import differences
from crossmodal.errors import UserError
from crossmodal.files import atomic_path, write_text

MAGIC = b"CMSTATE1"
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
        UserError: a file with a right checksum holds other things than tensors and plain values.
    """
    damaged = []
    for name in (NEWEST, NEXT, BEFORE):
        path = folder / name
        if not path.exists():
            continue
        payload, fault = _read_payload(path)
        if payload is not None:
            messages = [f"{fault}; the state before it is used" for fault in damaged]
            return _unpack(path, payload), messages
        damaged.append(f"{path}: {fault}")
    messages = [f"{fault}; the state before it is looked for" for fault in damaged[:-1]]
    messages += [f"{fault}; the training starts again from the beginning" for fault in damaged[-1:]]
    return None, messages


def _read_payload(path: Path) -> tuple[bytes | None, str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    payload = content[HEADER:]
    if content[:HEADER] != MAGIC + hashlib.sha256(payload).digest():
        return None, "damaged or cut short"
    return payload, ""


def _unpack(path: Path, payload: bytes) -> dict[str, Any]:
    try:
        return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: is no training state of ours, and was not loaded ({reason}); delete {path.parent} to train anew"
        ) from None


def remove_states(folder: Path) -> None:
    """Delete the states of a finished training."""
    for name in (NEWEST, NEXT, BEFORE):
        (folder / name).unlink(missing_ok=True)
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()


def refuse_other(found: dict[str, Any], wanted: dict[str, Any], where: Path, remedy: str) -> None:
    """Raise UserError, showing each difference, when two identities of a training are not the same."""
    different = differences(found, wanted)
    if different:
        lines = "\n".join(f"  {line}" for line in different)
        raise UserError(f"{where}: was made with other settings:\n{lines}\n{remedy}")


@contextmanager
def only_process(folder: Path, lock: Path, doing: str) -> Iterator[None]:
    """Hold the lock of a folder; it ends with the process, however that ends.

    Args:
        folder: what is locked, for the message.
        lock: the lock file, made when it is not there; the process that holds it is named beside it.
        doing: what is being done to the folder, for the message.

    Raises:
        UserError: another process holds it, and the message names that process; or it cannot be written.
    """
    holder = lock.with_name(f"{lock.name}-holder")
    held = FileLock(lock, timeout=0)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
        write_text(holder, f"process {os.getpid()} on {socket.gethostname()}")
    except Timeout:
        who = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        raise UserError(
            f"{folder}: is being {doing} by {who}; wait for it or stop it, then run the same command again"
        ) from None
    except OSError as error:
        held.release()
        raise UserError(f"{folder}: cannot be written ({error.strerror}): choose another --out") from None
    try:
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        held.release()
