"""Writing files so that a final name never holds half of one, by one process at a time."""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from filelock import FileLock, Timeout

from crossmodal.errors import UserError

HALF_WRITTEN = ".writing-"  # what a killed process leaves behind begins with this


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its name when the block ends without an exception.

    The data is on disk (fsync) before the rename, so a crash leaves the old file or the new one.

    Raises:
        OSError: with `path` as its file name, which an error of a full disk does not have.
    """
    path = Path(path)
    suffix = "".join(path.suffixes[-2:])  # stays, since many writers choose the format by it
    temporary = path.with_name(f"{HALF_WRITTEN}{uuid4().hex}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename is None or Path(error.filename).name.startswith(HALF_WRITTEN):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def resumable_directory(path: str | Path, made_for: Any) -> Iterator[Path]:
    """A folder beside `path` that replaces it when the block ends, and is kept for the next try when it does not.

    Args:
        path: the final folder.
        made_for: JSON data on which all its files depend; files made for other data are deleted first.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    note = partial / ".made-for"
    wanted = sha256_of(made_for)
    if partial.exists() and not (note.is_file() and note.read_text(encoding="utf-8") == wanted):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    remove_half_written(partial)
    write_text(note, wanted)
    yield partial
    note.unlink()
    if path.exists():
        shutil.rmtree(path)
    partial.replace(path)


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


def remove_half_written(folder: Path) -> None:
    """Delete what processes that were killed left in a folder that nobody else writes to."""
    for file in folder.rglob(f"{HALF_WRITTEN}*"):
        file.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, data: Any) -> None:
    """Write JSON atomically, keys in the order given."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_yaml(path: str | Path, data: Any) -> None:
    """Write YAML atomically, keys in the order given."""
    write_text(path, yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110))


def replace_between(path: Path, name: str, body: str) -> None:
    """Replace what stands between `<!-- name:start -->` and `<!-- name:end -->` in a Markdown file.

    Raises:
        UserError: the file or one of the markers is missing.
    """
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, found, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise UserError(f"{path}: lacks the lines {start} and {end}; put them where the text belongs")
    write_text(path, f"{before}{start}\n{body.rstrip()}\n{end}{after}")


def sha256_of(data: Any) -> str:
    """Hash of anything that JSON can hold, independent of the order of keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def md5_of(path: Path) -> str:
    """MD5 of a file's bytes, which is how DVC names it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
