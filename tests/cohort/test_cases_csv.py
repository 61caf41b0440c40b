"""cases.csv is read as it was written, and a table that is not one is named."""

import subprocess
import sys

import pytest

from crossmodal.cohort import read_cases
from crossmodal.cohort.cases_csv import COLUMNS
from crossmodal.cohort.csv_text import write_csv
from crossmodal.errors import UserError


def test_cells_come_back_as_text(tmp_path):
    row = {"cohort": "c", "case": "007", "patient": "NA", "release": "table", "split": "train", "fold": "0"}
    row |= {"t1": "a/t1.nii", "t2": "a.nii#2", "sha256": "1e5"}
    write_csv(tmp_path / "cases.csv", COLUMNS, [row])
    table = read_cases(tmp_path / "cases.csv")
    assert tuple(table.columns) == COLUMNS
    assert table.iloc[0].to_dict() == row | {"t1ce": "", "flair": "", "seg": ""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as a table of cases"),
        (b"", "cannot be read as a table of cases"),
        (b"\xff\xfe", "cannot be read as a table of cases"),
        (b"cohort,case,release,seg\n", "lacks the column patient, split; `crossmodal cohort check` writes it"),
    ],
)
def test_what_is_no_table_of_cases_is_named(content, message, tmp_path):
    path = tmp_path / "cases.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"cases.csv: {message}"):
        read_cases(path)


def test_the_cohort_room_needs_neither_torch_nor_snakemake():
    code = (
        "import importlib, pkgutil, sys, crossmodal.cohort as c, crossmodal.phantom as p\n"
        "assert 'pandas' not in sys.modules\n"
        "for room in (c, p):\n"
        "    for m in pkgutil.iter_modules(room.__path__, room.__name__ + '.'): importlib.import_module(m.name)\n"
        "print(sorted({'torch', 'snakemake', 'nnunetv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
