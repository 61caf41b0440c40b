"""A table of one's own: `cases.csv` with a path for each modality, for a hospital's data.

Columns: case, t1, t1ce, t2, flair; and, where they are known, seg, patient, release, grade. Paths are absolute
or relative to the table's folder. `release` says whose labels the segmentation follows (see labels.py); without
it --release does, and without that the labels are 1 NCR, 2 ED, 4 ET, as in BraTS until 2021.
"""

import csv
import io
from pathlib import Path

from crossmodal.cohort.cases import Case, Found, name_fault
from crossmodal.cohort.problems import Problem, error
from crossmodal.domain import MODALITIES, RELEASES
from crossmodal.errors import UserError, nearest

TABLE_NAME = "cases.csv"
REQUIRED = ("case", *MODALITIES)
OPTIONAL = ("seg", "patient", "release", "grade")


def read_table(path: Path, release: str = "auto") -> Found:
    """The cases that a table lists; its files are not opened.

    Raises:
        UserError: the table cannot be read, lacks a column or holds no case.
    """
    header, rows = _rows(path)
    default = "table" if release == "auto" else release
    problems: list[Problem] = []
    cases: dict[str, Case] = {}
    for line, cells in rows:
        where = f"{path}, line {line}"
        if len(cells) != len(header):
            what = f"has {len(cells)} cells where the header has {len(header)}"
            problems.append(error(cells[0].strip(), where, what, "quote cells that hold a comma"))
            continue
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        case = _case(row, path, where, default, problems)
        if case.name in cases:
            what = f"bears the name of another case ({cases[case.name].where})"
            problems.append(error(case.name, where, what, "give each case a name of its own"))
        cases.setdefault(case.name, case)
    if not rows:
        raise UserError(f"{path}: lists no case; add one line a case below the header")
    ignored = [name for name in header if name not in (*REQUIRED, *OPTIONAL)]
    notes = [f"columns not used: {', '.join(ignored)}"] if ignored else []
    used = sorted({case.release for case in cases.values()})
    return Found(
        "table", f"a table of one's own, labels as in {', '.join(used)}", list(cases.values()), problems, notes
    )


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text in UTF-8; save the table as 'CSV UTF-8'") from None
    except OSError as fault:
        raise UserError(f"{path}: cannot be read ({fault.strerror}); check its permissions") from None
    if "\0" in text:
        raise UserError(f"{path}: is not a CSV file; save the table as 'CSV UTF-8'")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as fault:
        raise UserError(f"{path}: is not a CSV file ({fault}); save the table as 'CSV UTF-8'") from None
    if not lines:
        raise UserError(f"{path}: is empty; its header must name {', '.join(REQUIRED)}")
    header = [cell.strip() for cell in lines[0][1]]
    _check_header(path, header)
    return header, lines[1:]


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise UserError(f"{path}: its columns are not separated by commas; save the table as 'CSV UTF-8' with commas")
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise UserError(f"{path}: has the column '{min(repeated)}' twice; keep one of them")
    for name in REQUIRED:
        if name not in header:
            spare = [column for column in header if column not in (*REQUIRED, *OPTIONAL)]
            needed = ", ".join(REQUIRED)
            raise UserError(f"{path}: has no column '{name}' ({nearest(name, spare)}); its header must name {needed}")


def _case(row: dict[str, str], table: Path, where: str, default: str, problems: list[Problem]) -> Case:
    name = row["case"]
    release = row.get("release") or default
    case = Case(name, row.get("patient") or name, release, grade=row.get("grade", "").upper(), where=where)
    for kind, value in (("case", name), ("patient", case.patient)):
        fault = name_fault(value)
        if fault:
            problems.append(error(name, where, f"the {kind}'s name {fault}", "give it another in the table"))
    if release not in RELEASES:
        what = f"names a release '{release}' that is not known"
        problems.append(error(name, where, what, nearest(release, RELEASES)))
        case.release = default
    for column in (*MODALITIES, "seg"):
        given = row.get(column, "")
        if not given:
            if column != "seg":
                problems.append(error(name, where, f"has no {column}", f"all of {', '.join(MODALITIES)} are needed"))
            continue
        fault = _path_fault(given)
        if fault:
            problems.append(
                error(name, where, f"the path in {column} {fault}", "give a path below the table, or an absolute one")
            )
            continue
        case.files[column] = str(table.parent / given)
    return case


def _path_fault(given: str) -> str | None:
    if any(ord(character) < 32 for character in given):
        return "has a control character"
    if ".." in Path(given).parts:
        return f"climbs out of the table's folder by '..' ({given})"
    if not given.lower().endswith((".nii", ".nii.gz")):
        return f"does not end in .nii or .nii.gz ({given})"
    return None
