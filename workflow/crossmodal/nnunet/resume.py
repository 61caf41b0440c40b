"""Training states: written whole or not at all, checked when read, with the one before kept.

A state file is 8 bytes of magic, the SHA-256 of the payload, and the payload that `torch.save` wrote. Names
in a folder: `state.pt` is the newest, `state-before.pt` the one before it.
"""

import hashlib
import io
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from crossmodal.differences import differences
from crossmodal.errors import UserError
from crossmodal.files import atomic_path, write_text

MAGIC = b"CMSTATE1"
NEWEST, BEFORE = "state.pt", "state-before.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a training state; a crash at any moment leaves this one whole or the one before.

    Raises:
        UserError: the disk is full or the folder cannot be written; older states are untouched.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    newest, before = folder / NEWEST, folder / BEFORE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / "state-next.pt") as temporary, temporary.open("wb") as stream:
            stream.write(MAGIC + hashlib.sha256(payload).digest() + payload)
        if newest.exists():
            newest.replace(before)
        (folder / "state-next.pt").replace(newest)
    except OSError as error:
        raise UserError(
            f"{folder}: the training state could not be saved ({error.strerror}): free some space or choose another "
            f"folder and run the same command again; the training goes on from the last state that was saved"
        ) from None


def load_state(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole state, or None, and a message for each damaged one that was passed over."""
    messages = []
    for name in (NEWEST, "state-next.pt", BEFORE):
        path = folder / name
        if not path.exists():
            continue
        content = path.read_bytes()
        payload = content[len(MAGIC) + 32 :]
        if content[: len(MAGIC)] == MAGIC and content[len(MAGIC) :][:32] == hashlib.sha256(payload).digest():
            return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True), messages
        messages.append(f"{path}: damaged or cut short, so the state before it is used")
    if messages:
        messages[-1] = messages[-1].replace(
            "the state before it is used", "the training starts again from the beginning"
        )
    return None, messages


def remove_states(folder: Path) -> None:
    """Delete the states of a finished training."""
    for name in (NEWEST, BEFORE, "state-next.pt"):
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
def only_process(folder: Path) -> Iterator[None]:
    """Hold the lock of a model folder.

    Raises:
        UserError: another process holds it; the message names that process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / ".lock-holder"
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        who = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        raise UserError(
            f"{folder}: is being trained by {who}; wait for it or stop it, then run the same command again"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}): choose another --out") from None
    try:
        write_text(holder, f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
