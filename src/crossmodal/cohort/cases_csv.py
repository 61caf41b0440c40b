"""cases.csv, which `crossmodal cohort check` writes and every later step reads: one row a case."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.domain import MODALITIES
from crossmodal.errors import UserError
from crossmodal.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("cohort", "case", "patient", "release", "split", "fold", *MODALITIES, "seg", "sha256")
NEEDED = tuple(column for column in COLUMNS if column not in ("fold", *MODALITIES, "sha256"))  # to score predictions
SPLITS = ("train", "test", "external", "predict_only")


@dataclass(frozen=True)
class Row:
    """A row of cases.csv; `files` gives a path, or path#channel of a 4D file, for each modality and "seg"."""

    cohort: str
    case: str
    patient: str
    release: str
    split: str
    fold: int | None
    files: dict[str, str]
    sha256: str

    def values(self) -> list[str]:
        """The cells, in the order of `COLUMNS`."""
        fold = "" if self.fold is None else str(self.fold)
        paths = [self.files.get(column, "") for column in (*MODALITIES, "seg")]
        return [self.cohort, self.case, self.patient, self.release, self.split, fold, *paths, self.sha256]


def write_cases(path: Path, rows: Iterable[Row]) -> None:
    """Write cases.csv, atomically."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row.values() for row in rows)


def read_cases(path: Path) -> "pd.DataFrame":
    """cases.csv as text, with empty cells as "".

    Raises:
        UserError: the file is missing, is no CSV, or lacks one of the columns in `NEEDED`.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a table of cases ({error})") from error
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise UserError(f"{path}: lacks the column {', '.join(missing)}; `crossmodal cohort check` writes it")
    return table


def left_out(rows: "pd.DataFrame") -> "pd.Series":
    """Which rows are validation cases that do not count: where a cohort has a held-out test set, that alone does.

    Args:
        rows: a table with the columns cohort and split, such as cases.csv or per_case.csv.

    Returns:
        A boolean for each row.
    """
    held_out = rows.loc[rows["split"] == "test", "cohort"].unique()
    return rows["cohort"].isin(held_out) & (rows["split"] == "train")
