"""cases.csv, which `crossmodal cohort check` writes and every later step reads: one row a case."""

from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.domain import MODALITIES
from crossmodal.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("cohort", "case", "patient", "release", "split", "fold", *MODALITIES, "seg", "sha256")
NEEDED = tuple(column for column in COLUMNS if column not in ("fold", *MODALITIES, "sha256"))  # to score predictions
SPLITS = ("train", "test", "external", "predict_only")


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
