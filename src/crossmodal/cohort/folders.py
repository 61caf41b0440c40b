"""Releases with one folder a case: where the folders are, and which modality each file is."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crossmodal.cohort.cases import Case, name_fault
from crossmodal.cohort.problems import Problem, error, extra_file, warning
from crossmodal.domain import MODALITIES
from crossmodal.errors import UserError

DEEPEST = 4  # levels of folders above a case's folder
MOST_FOLDERS = 50_000
_SUFFIXES = {
    "t1": "t1", "t1n": "t1", "t1w": "t1",
    "t1ce": "t1ce", "t1c": "t1ce", "t1gd": "t1ce",
    "t2": "t2", "t2w": "t2",
    "flair": "flair", "t2f": "flair",
    "seg": "seg",
}  # fmt: skip
_IMAGE = re.compile(rf"(?:(?P<case>.*)[_-])?(?P<suffix>{'|'.join(_SUFFIXES)})\.nii(?:\.gz)?", re.IGNORECASE | re.DOTALL)
_NIFTI = re.compile(r".+\.nii(\.gz)?", re.IGNORECASE | re.DOTALL)
_MISNAMED_SEGMENTATION = re.compile(r".*seg.*\.nii(\.gz)?", re.IGNORECASE | re.DOTALL)
_JUNK = {"thumbs.db", "desktop.ini", "icon\r"}


@dataclass(frozen=True)
class Folder:
    """A case's folder and what is in it, without hidden files."""

    path: Path
    entries: tuple[Path, ...]
    grade: str


def case_folders(root: Path, is_case_name: Callable[[str], bool]) -> tuple[list[Folder], list[Problem]]:
    """Every case folder at or below `root`, sorted by path.

    Args:
        root: where to begin.
        is_case_name: whether a release names its cases like this. Such a folder is a case even if it is empty.

    Raises:
        UserError: a folder cannot be listed, or holds the files of several cases.
    """
    found, problems = [], []
    level, seen = [root], 0
    for depth in range(DEEPEST + 1):
        deeper = []
        for path in level:
            entries = _list(path)
            seen += 1
            if seen > MOST_FOLDERS:
                raise UserError(f"{root}: holds more than {MOST_FOLDERS} folders; give the folder of the release")
            images = [match for entry in entries if (match := _IMAGE.fullmatch(entry.name))]
            is_leaf = not any(entry.is_dir() for entry in entries)
            if (images and depth > 0) or (is_case_name(path.name) and (images or is_leaf)):
                found.append(Folder(path, tuple(entries), _grade(path)))
                continue
            if len({match["case"] for match in images}) > 1:
                raise UserError(
                    f"{path}: holds the files of several cases ({images[0].string}, …); "
                    "make a folder for each case, or list the files in a table of your own (cases.csv)"
                )
            if images:
                found.append(Folder(path, tuple(entries), _grade(path)))
                continue
            problems += [
                warning("", entry, "is a NIfTI file outside every case folder, and is not used", "move it, or leave it")
                for entry in entries
                if _NIFTI.fullmatch(entry.name) and not entry.is_dir()
            ]
            deeper += [entry for entry in entries if entry.is_dir()]
        level = deeper
    return sorted(found, key=lambda folder: folder.path), problems


def read_folder(folder: Folder) -> tuple[Case, list[Problem]]:
    """The case in a folder, and its problems: files that are missing, there twice, or of another case."""
    name, path = folder.path.name, folder.path
    case = Case(name=name, patient=name, release="", grade=folder.grade, where=str(path))
    fault = name_fault(name)
    if fault:
        return case, [error(name, path, f"the case's name {fault}", "rename the folder and its files")]
    problems: list[Problem] = []
    candidates: dict[str, list[Path]] = {}
    strangers, of_others = [], []
    for entry in folder.entries:
        match = _IMAGE.fullmatch(entry.name)
        if match is None:
            strangers.append(entry)
        elif match["case"] is not None and match["case"].lower() != name.lower():
            of_others.append(entry)
        else:
            candidates.setdefault(_SUFFIXES[match["suffix"].lower()], []).append(entry)
    if of_others:
        listed = ", ".join(entry.name for entry in of_others)
        what = f"is named after another case ({listed})"
        problems.append(error(name, of_others[0], what, f"move it to its own case, or rename it after {name}"))
    if "seg" not in candidates:
        _take_misnamed_segmentation(name, strangers, candidates, problems)
    problems += [extra_file(name, stranger) for stranger in strangers]
    for what, files in candidates.items():
        if len(files) > 1:
            both = " and ".join(file.name for file in files)
            problems.append(error(name, path, f"has {len(files)} files for {what}: {both}", "keep one of them"))
        case.files[what] = str(files[0])
    missing = [modality for modality in MODALITIES if modality not in case.files]
    if missing:
        there = ", ".join(entry.name for entry in folder.entries) or "nothing"
        remedy = f"all of {', '.join(MODALITIES)} are needed; in the folder: {there}"
        problems.append(error(name, path, f"has no {', '.join(missing)}", remedy))
    return case, problems


def _take_misnamed_segmentation(
    name: str, strangers: list[Path], candidates: dict[str, list[Path]], problems: list[Problem]
) -> None:
    """In BraTS 2020, the segmentation of case 355 is named W39_1998.09.19_Segm.nii."""
    alike = [entry for entry in strangers if _MISNAMED_SEGMENTATION.fullmatch(entry.name)]
    if len(alike) == 1:
        candidates["seg"] = alike
        strangers.remove(alike[0])
        what = "is misnamed, and is used as the segmentation"
        problems.append(warning(name, alike[0], what, "check that it is one (BraTS 2020 ships case 355 so)"))


def _grade(path: Path) -> str:
    return next((part.upper() for part in reversed(path.parts[:-1]) if part.upper() in ("HGG", "LGG")), "")


def _list(path: Path) -> list[Path]:
    try:
        entries = sorted(path.iterdir())
    except OSError as fault:
        raise UserError(f"{path}: cannot be listed ({fault.strerror}); check its permissions") from None
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _JUNK]
