"""Which release a folder holds, by its names and layout, and every case in it.

brats2018      HGG|LGG/Brats18_*/Brats18_*_{flair,t1,t1ce,t2,seg}.nii[.gz]
brats2019      HGG|LGG/BraTS19_*/…
brats2020      BraTS20_Training_001/BraTS20_Training_001_flair.nii[.gz]
brats2021      BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz
brats2023-gli  BraTS-GLI-00000-000/BraTS-GLI-00000-000-{t1n,t1c,t2w,t2f,seg}.nii.gz (last field: visit)
brats2024-gli  the same pattern; a visit of 100 or more, or a label 4 beside label 3, says 2024
msd-task01     Task01_BrainTumour/{imagesTr,labelsTr,imagesTs}/BRATS_001.nii.gz, 4D, with dataset.json
table          a CSV of your own with paths (see table.py)
"""

import re
from pathlib import Path

from crossmodal.cohort.cases import Case, Cohort
from crossmodal.cohort.csv_text import mapping_rows
from crossmodal.cohort.folders import case_folders, read_folder
from crossmodal.cohort.msd import find_msd_root, read_msd
from crossmodal.cohort.problems import error
from crossmodal.cohort.table import TABLE_NAME, read_table
from crossmodal.domain import RELEASES
from crossmodal.errors import UserError, nearest

GLI = "BraTS-GLI"  # 2023 or 2024
NAMELESS = "brats2021"  # whose labels a prediction has where no name tells the release
_PATTERNS = {
    "brats2018": r"Brats18_.+",
    "brats2019": r"BraTS19_.+",
    "brats2020": r"BraTS20_(Training|Validation|Testing)_\d+",
    "brats2021": r"BraTS2021_\d+",
    GLI: r"BraTS-GLI-\d{5}-\d{3}",
}
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")
_FIRST_VISIT_OF_2024 = 100
_CHOOSE = "name it with --release (" + ", ".join(RELEASES) + ")"


def find_cases(path: Path, release: str = "auto", incomplete: bool = False) -> Cohort:
    """Recognise the release under `path` and list its cases; only dataset.json and tables are opened.

    Args:
        path: a release's folder (or one above it), or a table of your own.
        release: one of `RELEASES`, or "auto" to recognise it.
        incomplete: whether a case may lack sequences, and folders may have names of no release (`NAMELESS` then).

    Raises:
        UserError: the path does not exist, or holds no known release or several of them.
    """
    if release != "auto" and release not in RELEASES:
        raise UserError(f"release '{release}' is not known: {nearest(release, ['auto', *RELEASES])}")
    if not path.exists():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = f" ({nearest(path.name, beside)})" if beside else ""
        raise UserError(f"{path}: there is no such file or folder{hint}; give the folder that holds the cases")
    if path.name.lower().endswith(_ARCHIVES):
        raise UserError(f"{path}: is an archive; unpack it and give the folder")
    table = path if path.is_file() else path / TABLE_NAME
    if path.is_file() or (table.is_file() and release in ("auto", "table")):
        return read_table(table, release, incomplete)
    if release == "table":
        raise UserError(f"{path}: has no {TABLE_NAME}; write one with the columns case, t1, t1ce, t2, flair, seg")
    if release in ("auto", "msd-task01"):
        root = find_msd_root(path)
        if root is not None:
            return read_msd(root)
        if release == "msd-task01":
            raise UserError(f"{path}: has no dataset.json with imagesTr beside it; give the folder Task01_BrainTumour")
    return _read_release(path, release, incomplete)


def gli_release(cases: list[Case]) -> tuple[str, str]:
    """Whether a cohort with BraTS-GLI names is of 2023 or 2024, and why; ("", why not) if both are possible."""
    labels = set().union(*(case.labels or () for case in cases))
    late = [case.name for case in cases if int(case.name.rsplit("-", 1)[-1]) >= _FIRST_VISIT_OF_2024]
    if late:
        return "brats2024-gli", f"BraTS-GLI names with visits from {_FIRST_VISIT_OF_2024} on, such as {late[0]}"
    if 4 in labels and 3 in labels:
        return "brats2024-gli", "BraTS-GLI names, and label 4 (a resection cavity) beside label 3"
    if 4 in labels:
        return "", "BraTS-GLI names with a label 4 and no label 3: a cavity as in 2024, or ET as until 2021?"
    if labels:
        return "brats2023-gli", f"BraTS-GLI names, no visit from {_FIRST_VISIT_OF_2024} on and no label 4"
    return "", "BraTS-GLI names without a segmentation fit both 2023 and 2024"


def _release_of_name(name: str) -> str | None:
    return next((key for key, pattern in _PATTERNS.items() if re.fullmatch(pattern, name, re.IGNORECASE)), None)


def _read_release(path: Path, release: str, incomplete: bool) -> Cohort:
    folders, problems = case_folders(path, lambda name: _release_of_name(name) is not None)
    if not folders:
        raise UserError(
            f"{path}: holds no case of a known release; give the folder that holds the case folders, "
            f"or a table of your own ({TABLE_NAME})"
        )
    why = "--release says so"
    if release == "auto":
        by_release: dict[str | None, list[tuple[Path, list[Path]]]] = {}
        for folder in folders:
            by_release.setdefault(_release_of_name(folder[0].name), []).append(folder)
        strangers = by_release.pop(None, [])
        if not by_release and incomplete:
            by_release[NAMELESS], strangers = strangers, []
        if not by_release:
            raise UserError(
                f"{path}: holds images, but no release is known by names such as '{folders[0][0].name}'; "
                f"{_CHOOSE}, or list the files in a table of your own ({TABLE_NAME})"
            )
        if len(by_release) > 1:
            shares = " and ".join(f"{key} ({len(members)} cases)" for key, members in by_release.items())
            raise UserError(f"{path}: holds {shares}; check each by itself, one of them as --external NAME=PATH")
        ((release, folders),) = by_release.items()
        why = f"{len(folders)} folders are named like {folders[0][0].name}"
        for stranger, _ in strangers:
            what = f"is a folder of images with a name that is not of {release}"
            problems.append(error(stranger.name, stranger, what, "move it, or rename it as the release does"))
    release = "" if release == GLI else release
    cases = [read_folder(folder, entries, release, incomplete) for folder, entries in folders]
    mappings = _name_mappings(path, [folder for folder, _ in folders])
    _grades_from(mappings, cases)
    first: dict[str, str] = {}
    for case in cases:
        if first.setdefault(case.name, case.where) != case.where:
            case.error(f"has the name of another case ({first[case.name]})", "keep one of the two")
    return Cohort(release, why, cases, problems, mappings=mappings)


def _name_mappings(path: Path, folders: list[Path]) -> list[Path]:
    above = {parent for folder in folders for parent in folder.parents[:2] if path in parent.parents}
    return sorted(found for place in {path, *above} for found in place.glob("name_mapping*.csv"))


def _grades_from(mappings: list[Path], cases: list[Case]) -> None:
    """Add the grades that name_mapping.csv gives: BraTS 2020 has no folders HGG and LGG."""
    grades = {}
    for mapping in mappings:
        for cells in mapping_rows(mapping):
            grade = next((cell.upper() for cell in cells if cell.upper() in ("HGG", "LGG")), "")
            grades.update({cell: grade for cell in cells if grade})
    for case in cases:
        case.grade = case.grade or grades.get(case.name, "")
