"""A table of your own, for a hospital's data: a CSV with a path for each modality of each case.

Columns: case, t1, t1ce, t2, flair; and, where they are known, seg, patient, release, grade. Paths are absolute or
relative to the table's folder. `release` is the release whose label values the segmentation uses; without it
--release is, and without that the labels are 1 NCR, 2 ED, 4 ET, as in BraTS until 2021.
"""

from pathlib import Path

from crossmodal.cohort.cases import Case, Found, name_fault
from crossmodal.cohort.csv_text import csv_rows
from crossmodal.cohort.problems import Problem, error
from crossmodal.domain import MODALITIES, RELEASES
from crossmodal.errors import UserError, nearest

TABLE_NAME = "cases.csv"
REQUIRED = ("case", *MODALITIES)
OPTIONAL = ("seg", "patient", "release", "grade")


def read_table(path: Path, release: str = "auto") -> Found:
    """The cases that a table lists; its files are not opened.

    Args:
        path: the CSV.
        release: of the cases for which the table does not name one; "auto" stands for "table".

    Raises:
        UserError: the table cannot be read, lacks a column or lists no case.
    """
    header, *rows = csv_rows(path) or [(1, [])]
    columns = header[1]
    _check_header(path, columns)
    default = "table" if release == "auto" else release
    problems: list[Problem] = []
    cases: dict[str, Case] = {}
    for line, cells in rows:
        where = f"{path}, line {line}"
        if len(cells) != len(columns):
            what = f"has {len(cells)} cells where the header has {len(columns)}"
            problems.append(error(cells[0], where, what, "quote cells that hold a comma"))
            continue
        case = _case(dict(zip(columns, cells, strict=True)), path, where, default, problems)
        if case.name in cases:
            what = f"has the name of another case ({cases[case.name].where})"
            problems.append(error(case.name, where, what, "give each case a name of its own"))
        cases.setdefault(case.name, case)
    if not rows:
        raise UserError(f"{path}: lists no case; add one line a case below the header")
    ignored = [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]
    notes = [f"columns not used: {', '.join(ignored)}"] if ignored else []
    used = ", ".join(sorted({case.release for case in cases.values()}))
    return Found("table", f"a table of your own, labels as in {used}", list(cases.values()), problems, notes)


def _check_header(path: Path, columns: list[str]) -> None:
    if not columns:
        raise UserError(f"{path}: is empty; its header must name {', '.join(REQUIRED)}")
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
        raise UserError(f"{path}: its columns are not separated by commas; save the table as 'CSV UTF-8' with commas")
    repeated = {name for name in columns if columns.count(name) > 1}
    if repeated:
        raise UserError(f"{path}: has the column '{min(repeated)}' twice; keep one of them")
    for name in REQUIRED:
        if name not in columns:
            spare = [column for column in columns if column not in (*REQUIRED, *OPTIONAL)]
            needed = ", ".join(REQUIRED)
            raise UserError(f"{path}: has no column '{name}' ({nearest(name, spare)}); its header must name {needed}")


def _case(row: dict[str, str], table: Path, where: str, default: str, problems: list[Problem]) -> Case:
    name = row["case"]
    release = row.get("release") or default
    case = Case(name, row.get("patient") or name, release, grade=row.get("grade", "").upper(), where=where)

    def report(what: str, remedy: str) -> None:
        problems.append(error(name, where, what, remedy))

    for kind, value in (("case", name), ("patient", case.patient)):
        if fault := name_fault(value):
            report(f"the {kind}'s name {fault}", "change it in the table")
    if release not in RELEASES:
        report(f"names a release '{release}' that is not known", nearest(release, RELEASES))
        case.release = default
    for column in (*MODALITIES, "seg"):
        given = row.get(column, "")
        if given and (fault := _path_fault(given)):
            report(f"the path in {column} {fault}", "give a path below the table, or an absolute one")
        elif given:
            case.files[column] = str(table.parent / given)
        elif column != "seg":
            report(f"has no {column}", f"all of {', '.join(MODALITIES)} are needed")
    return case


def _path_fault(given: str) -> str | None:
    if any(ord(character) < 32 for character in given):
        return "has a control character"
    if ".." in Path(given).parts:
        return f"leads out of the table's folder by '..' ({given})"
    if not given.lower().endswith((".nii", ".nii.gz")):
        return f"does not end in .nii or .nii.gz ({given})"
    return None
