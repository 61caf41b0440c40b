"""DVC's own commands, and the files it writes: `.dvc` pointers, and objects named after their MD5.

A pointer names the hash of each output. The hash of a folder ends in `.dir`: the object of that name lists the
hash and the relative path of every file in it. DVC does not check the files that it fetched, so hashes are checked
here.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import yaml

from crossmodal.errors import UserError
from crossmodal.files import md5_of, write_yaml


@dataclass(frozen=True)
class Output:
    """What a `.dvc` file points to.

    Attributes:
        pointer: the `.dvc` file.
        path: the file or folder that it stands for.
        md5: its hash; that of a folder ends in `.dir`.
        size, files: bytes, and how many files.
        remote: name of the DVC remote that holds it, if the pointer says so.
    """

    pointer: Path
    path: Path
    md5: str
    size: int
    files: int
    remote: str | None


@dataclass(frozen=True)
class Entry:
    """One file of an output, or the list of a folder's files."""

    path: Path
    md5: str


def run(root: Path, *arguments: str | Path) -> str:
    """Run `dvc ARGUMENTS` in the repository at `root`, its progress on the terminal; returns what it printed.

    Raises:
        UserError: DVC is not installed, or failed; the message ends in what it said.
    """
    if find_spec("dvc") is None:
        raise UserError("DVC is not installed: pip install 'crossmodal[publish]'")
    shown = sys.stderr.isatty()
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *map(str, arguments)],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if shown else subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        said = done.stdout if shown else done.stdout + done.stderr
        lines = [line for line in said.splitlines() if line.strip() and "error.dvc.org" not in line]
        reason = "\n".join(f"  {line}" for line in lines[-8:]) or "  (see above)"
        raise UserError(f"dvc {' '.join(map(str, arguments))} failed:\n{reason}")
    return done.stdout


def repository(start: Path) -> Path:
    """The folder with .dvc/ that `start` lies in.

    Raises:
        UserError: there is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / ".dvc" / "config").is_file():
            return folder
    raise UserError(f"{start}: lies in no DVC repository: work in a git clone of this project, or run `dvc init`")


def read_pointer(pointer: Path) -> list[Output]:
    """The outputs of a `.dvc` file.

    Raises:
        UserError: it is not one, or one of its outputs was never committed.
    """
    try:
        outs = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"]
        return [
            Output(
                pointer,
                pointer.parent / out["path"],
                str(out["md5"]),
                int(out.get("size", 0)),
                int(out.get("nfiles", 1)),
                out.get("remote"),
            )
            for out in outs
        ]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{pointer}: is not a .dvc file with a hash for each output ({error!r})") from None


def commit(pointers: dict[Path, Iterable[str]], remote: str | None, root: Path) -> None:
    """Add files to DVC's cache and write the pointers to them.

    Args:
        pointers: for each pointer the paths that it stands for, relative to its folder.
        remote: name of the remote that is to hold them.
        root: the repository.

    Raises:
        UserError: DVC refuses; the older pointers are then put back.
    """
    before = {pointer: pointer.read_bytes() for pointer in pointers if pointer.exists()}
    more = {"remote": remote} if remote else {}
    try:
        for pointer, paths in pointers.items():
            write_yaml(pointer, {"outs": [{"path": path} | more for path in paths]})
        run(root, "commit", "--force", *(pointer.resolve() for pointer in pointers))
    except BaseException:
        for pointer in pointers:
            pointer.unlink(missing_ok=True)
        for pointer, content in before.items():
            pointer.write_bytes(content)
        raise


def listed(root: Path, folder: Path) -> list[Entry]:
    """The files of a published folder, from the cache or the remote; none when its list is in neither."""
    try:
        said = run(root, "list", ".", folder.resolve().relative_to(root), "--dvc-only", "-R", "--show-hash", "--json")
    except UserError:
        return []
    return [Entry(folder / file["path"], file["md5"]) for file in json.loads(said)]


def send_missing(root: Path, remote: str, cache: "Cache", hashes: list[str]) -> list[str]:
    """Send the objects that a remote lacks, and return their hashes.

    `dvc push` alone does not: when the list of a folder is in the remote, it assumes that the files are too.

    Args:
        root: the repository.
        remote: name of the DVC remote.
        cache: where the objects are read.
        hashes: of the objects that the remote should hold.
    """
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        store = repo.cloud.get_remote_odb(remote)
        missing = sorted({*hashes} - {*store.oids_exist(hashes)})
        for md5 in missing:
            store.add(str(cache.object(md5)), repo.cache.local.fs, md5)
    return missing


class Cache:
    """DVC's cache of a repository."""

    def __init__(self, root: Path) -> None:
        self.folder = Path(run(root, "cache", "dir").strip()) / "files" / "md5"

    def object(self, md5: str) -> Path:
        """Where the object of that hash lies."""
        return self.folder / md5[:2] / md5[2:]

    def entries(self, output: Output) -> list[Entry]:
        """The files of an output; a folder's list comes first.

        Only the list itself is returned when it is not in the cache, or is damaged.
        """
        found = [Entry(output.path, output.md5)]
        if output.md5.endswith(".dir") and self.is_whole(output.md5):
            files = json.loads(self.object(output.md5).read_text(encoding="utf-8"))
            found += [Entry(output.path / file["relpath"], file["md5"]) for file in files]
        return found

    def is_whole(self, md5: str) -> bool:
        """True when the object is there and its bytes have that hash."""
        path = self.object(md5)
        return path.is_file() and md5_of(path) == md5.removesuffix(".dir")


def files_below(path: Path) -> list[Path]:
    """The file itself, or every file in the folder and the folders in it."""
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
