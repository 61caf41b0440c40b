"""A table of your own, for a hospital's data: a CSV with a path for each modality of each case.

Columns: case, t1, t1ce, t2, flair; and, where they are known, seg, patient, release, grade. Paths are absolute or
relative to the table's folder. `release` is the release whose label values the segmentation uses; without it
--release is, and without that the labels are 1 NCR, 2 ED, 4 ET, as in BraTS until 2021.
"""

from pathlib import Path

from crossmodal.cohort.cases import Case, Cohort, name_fault
from crossmodal.cohort.csv_text import read_csv
from crossmodal.cohort.problems import Problem, error
from crossmodal.domain import MODALITIES, RELEASES
from crossmodal.errors import nearest

TABLE_NAME = "cases.csv"
REQUIRED = ("case", *MODALITIES)
OPTIONAL = ("seg", "patient", "release", "grade")


def read_table(path: Path, release: str = "auto", incomplete: bool = False) -> Cohort:
    """The cases that a table lists; its files are not opened.

    Args:
        path: the CSV.
        release: of the cases for which the table does not name one; "auto" stands for "table".
        incomplete: whether a case may lack sequences, and the table their columns.

    Raises:
        UserError: the table cannot be read, lacks a column or lists no case.
    """
    columns, rows = (
        read_csv(path, REQUIRED[:1], (*MODALITIES, *OPTIONAL)) if incomplete else read_csv(path, REQUIRED, OPTIONAL)
    )
    problems: list[Problem] = []
    cases: dict[str, Case] = {}
    for where, cells in rows:
        if len(cells) != len(columns):
            what = f"has {len(cells)} cells where the header has {len(columns)}"
            problems.append(error(cells[0], where, what, "quote cells that hold a comma"))
            continue
        row = dict(zip(columns, cells, strict=True))
        case = _case(row, path, where, "table" if release == "auto" else release, incomplete)
        if case.name in cases:
            case.error(f"has the name of another case ({cases[case.name].where})", "give each case a name of its own")
            problems += case.problems
        cases.setdefault(case.name, case)
    ignored = [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]
    notes = [f"columns not used: {', '.join(ignored)}"] if ignored else []
    used = ", ".join(sorted({case.release for case in cases.values()}))
    return Cohort("table", f"a table of your own, labels as in {used}", list(cases.values()), problems, notes)


def _case(row: dict[str, str], table: Path, where: str, default: str, incomplete: bool) -> Case:
    name, release = row["case"], row.get("release") or default
    case = Case(name, row.get("patient") or name, release, grade=row.get("grade", "").upper(), where=where)
    for kind, value in (("case", name), ("patient", case.patient)):
        if fault := name_fault(value):
            case.error(f"the {kind}'s name {fault}", "change it in the table")
    if release not in RELEASES:
        case.error(f"names a release '{release}' that is not known", nearest(release, RELEASES))
        case.release = default
    for column in (*MODALITIES, "seg"):
        given = row.get(column, "")
        if given and (fault := _path_fault(given)):
            case.error(f"the path in {column} {fault}", "give a path below the table, or an absolute one")
        elif given:
            case.files[column] = str(table.parent / given)
        elif column != "seg" and not incomplete:
            case.error(f"has no {column}", f"all of {', '.join(MODALITIES)} are needed")
    return case


def _path_fault(given: str) -> str | None:
    if any(ord(character) < 32 for character in given):
        return "has a control character"
    if ".." in Path(given).parts:
        return f"leads out of the table's folder by '..' ({given})"
    if not given.lower().endswith((".nii", ".nii.gz")):
        return f"does not end in .nii or .nii.gz ({given})"
    return None
