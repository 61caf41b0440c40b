"""per_case.csv: its columns, which of its rows count, and the one rule by which they become one number a patient."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from crossmodal.cohort.cases_csv import left_out
from crossmodal.domain import REGIONS, all_subsets
from crossmodal.errors import UserError
from crossmodal.experiment.config import Resolved, read_resolved
from crossmodal.files import atomic_path

KEY = ["cohort", "case", "method", "modalities", "fold", "seed", "region"]
METRICS = ["dice", "dice_present", "hd95_mm", "lesion_dice", "lesion_hd95_mm", "volume_ref_ml", "volume_pred_ml"]
OPTIONAL = ["nsd_1mm", "dice_et_postprocessed", "hd95_et_postprocessed_mm"]  # NaN in a table that lacks them
SCORES = [*METRICS, *OPTIONAL]
COLUMNS = [*KEY, *SCORES, "patient", "split"]


def per_case_file(directory: Path) -> Path:
    """The per_case.csv of an experiment or of a folder; raises UserError where neither is there."""
    places = [directory / "tables" / "per_case.csv", directory / "per_case.csv"]
    for place in places:
        if place.is_file():
            return place
    raise UserError(f"{directory}: has neither tables/per_case.csv nor per_case.csv; run `crossmodal collect` first")


def config_of(per_case: Path) -> Resolved | None:
    """The config.yaml of the experiment that a per_case.csv lies in, or beside it; None without one."""
    experiment = per_case.resolve().parent
    experiment = experiment.parent if experiment.name == "tables" else experiment
    config = experiment / "config.yaml"
    return read_resolved(config) if config.is_file() else None


def read_per_case(path: Path) -> pd.DataFrame:
    """per_case.csv with all of `COLUMNS`: without `patient` each case is its own patient, and `split` is then "".

    Raises:
        UserError: it cannot be read, lacks another column, is empty, or holds a measurement twice or none.
    """
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys([*KEY, "patient", "split"], str))
        missing = [name for name in [*KEY, *METRICS] if name not in table]
        if missing or table.empty:
            raise ValueError(f"lacks the column {', '.join(missing)}" if missing else "has no row")
        table[SCORES] = with_optional(table)[SCORES].astype(float)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is not a table of `crossmodal collect` ({error}); collect again") from error
    for wrong, what in ((table.duplicated(KEY), "a measurement twice"), (table["dice"].isna(), "a row without Dice")):
        if wrong.any():
            where = ", ".join(map(str, table.loc[wrong.idxmax(), KEY]))
            raise UserError(f"{path}: holds {what} ({where}); collect again")
    for name, values in (("region", REGIONS), ("modalities", all_subsets())):
        unknown = table.loc[~table[name].isin(values), name]
        if len(unknown):
            raise UserError(f"{path}: holds the {name} '{unknown.iloc[0]}'; known: {', '.join(values)}")
    table["patient"] = table["patient"].fillna(table["case"]) if "patient" in table else table["case"]
    table["split"] = table["split"].fillna("") if "split" in table else ""
    return table


def with_optional(table: pd.DataFrame) -> pd.DataFrame:
    """The table with all of `OPTIONAL`, NaN where it lacks one: what an earlier version scored can still be read."""
    return table.assign(**{name: np.nan for name in OPTIONAL if name not in table})


def held_out(per_case: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows that tables and figures rest on, and a note for each cohort of which a part is left out.

    A cohort with a held-out test set is judged by that alone. One without it is judged by its validation cases, each
    predicted by the fold that did not train on it.
    """
    dropped = left_out(per_case)
    notes = [
        f"{cohort}: {rows['case'].nunique()} validation cases left out: the cohort has a held-out test set"
        for cohort, rows in per_case[dropped].groupby("cohort", sort=False)
    ]
    return per_case[~dropped], notes


def per_patient(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a patient: the mean over what a case has several of (folds, seeds), then over the patient's cases.

    Args:
        rows: numbers, indexed by `patient`, `case`, and any further keys that are kept.
    """
    kept = [name for name in rows.index.names if name != "case"]
    return rows.groupby(level=[*kept, "case"]).mean().groupby(level=kept).mean()


def patients(per_case: pd.DataFrame, by: Sequence[str] = ("cohort", "method", "modalities", "region")) -> pd.DataFrame:
    """One row a patient within each group, by the rule of `per_patient`: columns `by`, `patient` and `SCORES`.

    Args:
        per_case: a table of `read_per_case`, usually after `held_out`.
        by: columns that tell groups apart; whatever else differs (cases, folds, seeds) is averaged.
    """
    means = per_patient(per_case.set_index([*by, "patient", "case"])[SCORES]).reset_index()
    return in_order(means, list(by), per_case)


def runs_of(rows: pd.DataFrame) -> set[tuple[str, str]]:
    """The (fold, seed) pairs that rows come from."""
    return set(zip(rows["fold"], rows["seed"], strict=True))


def in_order(table: pd.DataFrame, by: list[str], like: pd.DataFrame | None = None) -> pd.DataFrame:
    """The table sorted by columns: subsets and regions in the field's order, others as they first appear.

    per_case.csv lists cohorts and methods as the config does, and so do the tables.

    Args:
        table: has the columns `by`.
        by: columns, the first one varying slowest.
        like: the table in which the order of first appearance is looked up; `table` itself by default.
    """
    fixed = {"modalities": all_subsets(), "region": REGIONS}
    like = table if like is None else like
    ranks = []
    for name in by:
        places = {value: place for place, value in enumerate(fixed.get(name, like[name].unique()))}
        ranks.append(table[name].map(places).astype(int))
    return table.iloc[np.lexsort(ranks[::-1])].reset_index(drop=True)


def groups(per_case: pd.DataFrame, by: list[str]) -> Iterator[tuple[tuple, pd.DataFrame]]:
    """Groups of rows in the order of `in_order`."""
    return iter(in_order(per_case, by).groupby(by, sort=False))


def write_table(table: pd.DataFrame, path: Path, digits: int = 9) -> None:
    """Write a CSV atomically, numbers with so many significant digits.

    Nine digits keep equal Dice values equal after averaging, and different ones apart.
    """
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format=f"%.{digits}g", lineterminator="\n")
