"""Releases with one folder a case: where the folders are, and which modality each file is."""

import re
from collections.abc import Callable
from pathlib import Path

from crossmodal.cohort.cases import Case, name_fault
from crossmodal.cohort.problems import Problem, extra_file, warning
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


def case_folders(
    root: Path, is_case_name: Callable[[str], bool]
) -> tuple[list[tuple[Path, list[Path]]], list[Problem]]:
    """Every case folder at or below `root` with what is in it (hidden files aside), sorted by path.

    Args:
        root: where to begin.
        is_case_name: whether a release names its cases like this. Such a folder is a case even if it is empty.

    Raises:
        UserError: a folder cannot be listed, or holds the files of several cases.
    """
    found, problems = [], []
    level, seen = [root], 0
    for _ in range(DEEPEST + 1):
        deeper = []
        for path in level:
            entries = _list(path)
            seen += 1
            if seen > MOST_FOLDERS:
                raise UserError(f"{root}: holds more than {MOST_FOLDERS} folders; give the folder of the release")
            folders = [entry for entry in entries if entry.is_dir()]
            images = [match for entry in entries if (match := _IMAGE.fullmatch(entry.name))]
            if path == root and not is_case_name(path.name) and len({match["case"] for match in images}) > 1:
                raise UserError(
                    f"{path}: holds the files of several cases ({images[0].string}, …); "
                    "make a folder for each case, or list the files in a table of your own (cases.csv)"
                )
            if images or (is_case_name(path.name) and not folders):
                found.append((path, entries))
                continue
            problems += [
                warning("", entry, "is a NIfTI file outside every case folder, and is not used", "move it, or leave it")
                for entry in entries
                if _NIFTI.fullmatch(entry.name) and entry not in folders
            ]
            deeper += folders
        level = deeper
    return sorted(found), problems


def read_folder(path: Path, entries: list[Path], release: str, incomplete: bool = False) -> Case:
    """The case in a folder, with its problems: files that are there twice, of another case or, unless it may be
    `incomplete`, missing."""
    name = path.name
    grade = next((part.upper() for part in reversed(path.parts[:-1]) if part.upper() in ("HGG", "LGG")), "")
    case = Case(name, patient_of(name), release, grade=grade, where=str(path))
    case.unlabelled_by_design = bool(re.search(r"_(Validation|Testing)_", name))
    if fault := name_fault(name):
        case.error(f"the case's name {fault}", "rename the folder and its files")
        return case
    candidates: dict[str, list[Path]] = {}
    strangers, of_others = [], []
    for entry in entries:
        match = _IMAGE.fullmatch(entry.name)
        if match is None:
            strangers.append(entry)
        elif match["case"] is not None and match["case"].lower() != name.lower():
            of_others.append(entry)
        else:
            candidates.setdefault(_SUFFIXES[match["suffix"].lower()], []).append(entry)
    if of_others:
        what = f"is named after another case ({', '.join(entry.name for entry in of_others)})"
        case.error(what, f"move it to its own case, or rename it after {name}", of_others[0])
    alike = [entry for entry in strangers if _MISNAMED_SEGMENTATION.fullmatch(entry.name)]
    if "seg" not in candidates and len(alike) == 1:  # in BraTS 2020, that of case 355 is W39_1998.09.19_Segm.nii
        candidates["seg"] = alike
        strangers.remove(alike[0])
        remedy = "check that it is one (BraTS 2020 ships case 355 so)"
        case.warn("is misnamed, and is used as the segmentation", remedy, alike[0])
    case.problems += [extra_file(name, stranger) for stranger in strangers]
    for what, files in candidates.items():
        if len(files) > 1:
            both = " and ".join(file.name for file in files)
            case.error(f"has {len(files)} files for {what}: {both}", "keep one of them")
        case.files[what] = str(files[0])
    missing = [modality for modality in MODALITIES if modality not in case.files]
    if missing and not incomplete:
        there = ", ".join(entry.name for entry in entries) or "nothing"
        case.error(f"has no {', '.join(missing)}", f"all of {', '.join(MODALITIES)} are needed; in the folder: {there}")
    return case


def patient_of(name: str) -> str:
    """The patient of a case, by its name: in BraTS 2018, 2019 and GLI it ends with the visit."""
    match = re.fullmatch(r"(BraTS-GLI-\d{5})-\d{3}|((?:Brats18|BraTS19)_.+)_\d+", name, re.IGNORECASE)
    return (match[1] or match[2]) if match else name


def _list(path: Path) -> list[Path]:
    try:
        entries = sorted(path.iterdir())
    except OSError as fault:
        raise UserError(f"{path}: cannot be listed ({fault.strerror}); check its permissions") from None
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _JUNK]
