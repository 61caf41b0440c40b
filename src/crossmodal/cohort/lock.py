"""Locks: a cohort's files pinned by hash, in DVC's format, so that a run stops when one of them has changed.

cohorts/<name>.dvc holds the hash of the whole folder, as `dvc add` writes it. That hash alone cannot say what
changed. So the hash of each file is in <name>.md5 beside it, which `md5sum -c` reads too. Both belong in git; the
images need not be in DVC's cache.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import yaml

from crossmodal.device import available_cores
from crossmodal.errors import UserError
from crossmodal.files import md5_of, write_json, write_text, write_yaml
from crossmodal.progress import track

# What .dvcignore excludes, and what DVC always ignores.
IGNORED_FILES = (".snakemake_timestamp", ".writing-*")
IGNORED_FOLDERS = (".git", ".hg", ".dvc")
FLAT_FOLDERS = ("", "imagesTr", "imagesTs", "labelsTr")  # MSD: many cases in a folder
SHOWN_CASES = 50


@dataclass(frozen=True)
class Lock:
    """A `.dvc` file that pins one folder.

    Attributes:
        file: the `.dvc` file.
        folder: the folder that the file names; on another machine the cohort may be elsewhere.
        md5: the folder's hash as DVC computes it, ending in `.dir`.
        files, size: number of files, and of bytes in them.
        licence, citation: from `meta` in the `.dvc` file, if its owner wrote them there.
    """

    file: Path
    folder: Path
    md5: str
    files: int
    size: int
    licence: str | None = None
    citation: str | None = None

    @property
    def list_file(self) -> Path:
        """The `.md5` file beside the lock, with the hash of each file."""
        return self.file.with_suffix(".md5")

    def summary(self) -> dict:
        """What an experiment's resolved config keeps of it."""
        found = {"file": str(self.file), "md5": self.md5, "files": self.files, "size": self.size}
        return found | {key: value for key in ("licence", "citation") if (value := getattr(self, key))}


def read_lock(file: Path) -> Lock:
    """Read cohorts/<name>.dvc.

    Raises:
        UserError: the file is missing, or does not pin one folder.
    """
    remedy = "make one with `dvc add` or `crossmodal cohort lock` (docs/data.md)"
    if not file.is_file():
        raise UserError(f"{file}: there is no such lock: {remedy}")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        (out,) = content["outs"]
        meta = content.get("meta") or out.get("meta") or {}
        counts = int(out["nfiles"]), int(out["size"])
        folder, md5 = file.parent / out["path"], str(out["md5"])
        lock = Lock(file, folder, md5, *counts, meta.get("licence"), meta.get("citation"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{file}: is not the .dvc file of one folder: {remedy}") from None
    if not lock.md5.endswith(".dir"):
        raise UserError(f"{file}: pins a single file, and a cohort is a folder: {remedy}")
    return lock


def hash_files(folder: Path, remembered: Path | None = None) -> dict[str, str]:
    """MD5 of every file below a folder, by relative path with forward slashes, sorted.

    Args:
        folder: the cohort.
        remembered: a JSON file of earlier hashes, which is updated. A file whose size, times and inode have not
            changed since is not read again.
    """
    try:
        notes = json.loads(remembered.read_text(encoding="utf-8")) if remembered else {}
    except (OSError, ValueError):
        notes = {}
    status = {path.relative_to(folder).as_posix(): path.stat() for path in _files_of(folder)}
    stamps = {name: [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for name, s in status.items()}
    hashes = {name: notes[name][1] for name, stamp in stamps.items() if notes.get(name, [None])[0] == stamp}
    unknown = [name for name in stamps if name not in hashes]
    if unknown:
        with ThreadPoolExecutor(available_cores()) as pool:
            found = pool.map(lambda name: md5_of(folder / name), unknown)
            hashes |= dict(zip(unknown, track(found, "files hashed", len(unknown)), strict=True))
    if remembered and (unknown or notes.keys() != stamps.keys()):
        write_json(remembered, {name: [stamps[name], hashes[name]] for name in stamps})
    return dict(sorted(hashes.items()))


def folder_hash(files: dict[str, str]) -> str:
    """The hash that DVC gives a folder with these files: that of the JSON list of hashes and relative paths."""
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def write_lock(file: Path, folder: Path) -> Lock:
    """Pin a folder where it is: write the `.dvc` file and its list; nothing is moved, linked or copied.

    Args:
        file: the `.dvc` file to write.
        folder: the cohort.

    Raises:
        UserError: the folder is missing or empty.
    """
    if not folder.is_dir():
        raise UserError(f"--data {folder}: there is no such folder")
    files = hash_files(folder)
    if not files:
        raise UserError(f"--data {folder}: holds no file")
    size = sum((folder / name).stat().st_size for name in files)
    out = {"md5": folder_hash(files), "size": size, "nfiles": len(files), "hash": "md5", "path": file.stem}
    # The terms of most cohorts forbid passing the images on: `dvc push` must not.
    write_yaml(file, {"outs": [out | {"push": False}]})
    write_list(file.with_suffix(".md5"), files)
    return read_lock(file)


def write_list(path: Path, files: dict[str, str]) -> None:
    """Write the list beside a lock, in the format of md5sum."""
    write_text(path, "".join(f"{md5}  {name}\n" for name, md5 in files.items()))


def read_list(lock: Lock) -> dict[str, str] | None:
    """Hash by relative path of the files that a lock pins; None if the list is missing or does not fit the lock."""
    try:
        lines = lock.list_file.read_text(encoding="utf-8").splitlines()
        files = {name: md5 for md5, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError):
        return None
    return files if folder_hash(files) == lock.md5 else None


def add_list(lock: Lock) -> None:
    """Write the list of a lock that `dvc add` made.

    Raises:
        UserError: the folder that the lock names is missing, or does not match it.
    """
    if not lock.folder.is_dir():
        raise UserError(f"{lock.file}: {lock.folder} is not there; give the folder of the files with --data")
    files = hash_files(lock.folder)
    if folder_hash(files) != lock.md5:
        raise UserError(f"{lock.folder}: is not what {lock.file} pins: lock it anew with `dvc add {lock.folder}`")
    write_list(lock.list_file, files)


def require_match(folder: Path, lock: Lock, remembered: Path | None = None, remedy: str = "") -> None:
    """Check that a cohort is what its lock pins.

    Args:
        folder: the cohort.
        lock: what it must be.
        remembered: see `hash_files`.
        remedy: ends the message in place of the general advice.

    Raises:
        UserError: it is not; the message names each case that is missing, new or changed.
    """
    found = hash_files(folder, remembered) if folder.is_dir() else {}
    if found and folder_hash(found) == lock.md5:
        return
    wanted = read_list(lock)
    remedy = remedy or (
        f"Put the files back as they were (`dvc checkout {lock.file}`, where DVC's cache has them). If the change is "
        "meant, lock the cohort anew (docs/data.md) and give the run a name of its own (--config experiment=NAME)."
    )
    if not found:
        lines = f"  no file is there, and {lock.files} are pinned"
    elif wanted is None:
        lines = (
            f"  {len(found)} files are there, {lock.files} are pinned; which cases differ cannot be told without "
            f"{lock.list_file}, which `crossmodal cohort lock` writes"
        )
    else:
        lines = "\n".join(f"  {line}" for line in changes(wanted, found))
    raise UserError(f"{folder}: is not the cohort that {lock.file} pins:\n{lines}\n{remedy}")


def require_locked(data: str | None, lock: str | None, notes: Path, only_known: bool = False) -> None:
    """Check that an experiment's cohort is what its lock pins; do nothing without a lock.

    Images that are missing altogether are no error here, since an experiment that was restored on another machine
    has none: the steps that need them say so.

    Args:
        data: the cohort's folder, or a table in it.
        lock: the `.dvc` file.
        notes: folder in which hashes are remembered, so that unchanged files are read only once.
        only_known: do nothing for a cohort that was never read before.

    Raises:
        UserError: see `require_match`.
    """
    if data is None or lock is None or not Path(data).exists():
        return
    folder = Path(data) if Path(data).is_dir() else Path(data).parent
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    remembered = notes / f"{name}.json"
    if remembered.exists() or not only_known:
        require_match(folder, read_lock(Path(lock)), remembered)


def changes(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    """A line for each case that differs, with its files.

    Args:
        wanted, found: hash by relative path, as from `hash_files`.
    """
    cases: dict[str, list[str]] = {}
    for name in sorted({*wanted, *found}):
        if wanted.get(name) != found.get(name):
            what = "missing" if name not in found else "not pinned" if name not in wanted else "changed"
            cases.setdefault(case_of(name), []).append(f"{PurePosixPath(name).name} {what}")
    lines = [f"{case}: {', '.join(files)}" for case, files in cases.items()]
    return lines[:SHOWN_CASES] + ([f"and {len(lines) - SHOWN_CASES} more cases"] if len(lines) > SHOWN_CASES else [])


def case_of(name: str) -> str:
    """The case that a file belongs to: its folder, or its own name where a folder holds many cases."""
    path = PurePosixPath(name)
    return path.name.split(".")[0] if path.parent.name in FLAT_FOLDERS else path.parent.name


def _files_of(folder: Path) -> list[Path]:
    found = []
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in IGNORED_FOLDERS)
        found += [Path(where, name) for name in names if not any(fnmatch(name, pattern) for pattern in IGNORED_FILES)]
    return sorted(found)
