"""One results/<experiment> folder, read the way the figures and the report need it."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from crossmodal.errors import UserError
from crossmodal.wording import subset_order
from crossmodal.domain import ALL

HEADLINE_SUBSET = "t1ce+flair"
MANY_SUBSETS = 3


class MissingDataError(Exception):
    """What a figure needs is not there; the text says what, and takes the figure's place."""


class Experiment:
    """Tables, figure data and resolved config of one experiment; nothing else of it is read.

    Args:
        folder: results/<experiment>, with config.yaml, tables/ and figure_data/.

    Raises:
        UserError: when the folder or its config.yaml is missing or unreadable.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        path = self.folder / "config.yaml"
        if not path.is_file():
            raise UserError(f"{path}: not found; the folder of an experiment (results/<experiment>) is wanted")
        try:
            self.config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise UserError(f"{path}: not readable as YAML: {error}") from None

    @cached_property
    def versions(self) -> dict[str, str]:
        """versions.json, empty when it is missing."""
        path = self.folder / "versions.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @property
    def is_phantom(self) -> bool:
        """True unless the config names a BraTS folder: a phantom result is never shown as a clinical one."""
        return not self.config.get("brats")

    @property
    def name(self) -> str:
        return str(self.config.get("experiment") or self.folder.name)

    def table(self, name: str) -> pd.DataFrame:
        """tables/<name>.csv.

        Raises:
            MissingDataError: when it is missing or has no row.
        """
        return self._csv(f"tables/{name}.csv")

    def optional_table(self, name: str) -> pd.DataFrame:
        """tables/<name>.csv, or an empty table."""
        try:
            return self.table(name)
        except MissingDataError:
            return pd.DataFrame()

    def data(self, name: str) -> pd.DataFrame:
        """figure_data/<name>.csv, under the same rule as `table`."""
        return self._csv(f"figure_data/{name}.csv")

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """figure_data/<name>.npz as a dictionary.

        Raises:
            MissingDataError: when it is missing or unreadable.
        """
        path = self.folder / "figure_data" / f"{name}.npz"
        if not path.is_file():
            raise MissingDataError(f"figure_data/{name}.npz is not there.")
        try:
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (ValueError, OSError, EOFError) as error:
            raise MissingDataError(f"figure_data/{name}.npz cannot be read: {error}.") from None

    def _csv(self, relative: str) -> pd.DataFrame:
        path = self.folder / relative
        if not path.is_file():
            raise MissingDataError(f"{relative} is not there.")
        try:
            table = pd.read_csv(path)
        except pd.errors.EmptyDataError:
            table = pd.DataFrame()
        except pd.errors.ParserError as error:
            raise MissingDataError(f"{relative} cannot be read: {error}.") from None
        if table.empty:
            raise MissingDataError(f"{relative} has no row.")
        return table

    @cached_property
    def per_case(self) -> pd.DataFrame:
        """One row per cohort, patient, method, modalities and region: visits, folds and seeds averaged, so that
        no patient counts twice."""
        table = self.table("per_case")
        if "patient" not in table:
            table = table.assign(patient=table.case)
        if "split" in table:
            # As the tables do: a cohort with a held-out test set is judged by that alone.
            tested = table.cohort.isin(table[table.split == "test"].cohort.unique())
            table = table[~(tested & (table.split == "train"))]
        keys = ["cohort", "method", "modalities", "region", "patient"]
        return table.groupby(keys, as_index=False, sort=False).mean(numeric_only=True)

    def count(self, cohort: str | None = None) -> int:
        """How many patients (or phantoms) of a cohort are scored; the training cohort's by default."""
        return self.per_case[self.per_case.cohort == (cohort or self.cohort)].patient.nunique()

    @property
    def unit(self) -> str:
        """What one of them is called."""
        return "phantom" if self.is_phantom else "patient"

    @cached_property
    def cohort(self) -> str:
        """The cohort trained on (its held-out cases are what is scored): the first one of the config."""
        present = list(self.table("summary").cohort.unique())
        wanted = [c for c in self.config.get("cohorts") or [] if c in present]
        return (wanted or present)[0]

    @cached_property
    def externals(self) -> list[str]:
        """Scored cohorts that were only tested on."""
        return [c for c in self.table("summary").cohort.unique() if c != self.cohort]

    @cached_property
    def methods(self) -> list[str]:
        """Scored methods: student first, then the config's order, teacher last."""
        present = list(self.table("summary").method.unique())
        listed = [m for m in self.config.get("methods") or [] if m in present]
        listed += [m for m in present if m not in listed]
        middle = [m for m in listed if m not in ("student", "teacher")]
        return [m for m in ["student", *middle, "teacher"] if m in present]

    @cached_property
    def unscored_methods(self) -> list[str]:
        """Methods of the config without a single row: they failed or have not run yet."""
        return [m for m in self.config.get("methods") or [] if m not in self.methods]

    @property
    def distilled(self) -> list[str]:
        """Scored methods other than the two bounds."""
        return [m for m in self.methods if m not in ("student", "teacher")]

    @cached_property
    def subsets(self) -> list[str]:
        """Scored modality subsets other than the teacher's, in the field's order."""
        summary = self.table("summary")
        found = summary[summary.method != "teacher"].modalities.unique()
        return sorted(found, key=subset_order) or [ALL]

    @property
    def focus_subset(self) -> str:
        """The subset that single-subset figures show: T1ce + FLAIR where it was run, else the config's first."""
        listed = [s for s in self.config.get("subsets") or [] if s in self.subsets]
        return HEADLINE_SUBSET if HEADLINE_SUBSET in self.subsets else (listed or self.subsets)[0]

    @property
    def shown_subsets(self) -> list[str]:
        """All subsets when there are few, otherwise the focus alone (the subset matrix shows them all)."""
        return self.subsets if len(self.subsets) <= MANY_SUBSETS else [self.focus_subset]

    @property
    def focus_method(self) -> str | None:
        """The distilled method in question: the paper's own, else the first of the config."""
        paper = self.config.get("paper")
        return paper if paper in self.distilled else next(iter(self.distilled), None)

    def recipe(self, method: str) -> dict[str, Any]:
        """The resolved recipe, empty when the config does not hold it."""
        return (self.config.get("recipes") or {}).get(method) or {}

    def at(self, table: pd.DataFrame, method: str, subset: str) -> pd.DataFrame:
        """Rows of one method for one subset; the teacher's own are those of all four modalities."""
        rows = table[table.method == method]
        own = rows[rows.modalities == subset]
        return rows[rows.modalities == ALL] if own.empty and method == "teacher" else own

    def methods_at(self, subset: str, cohort: str | None = None) -> list[str]:
        """Methods that have a row for this subset in this cohort (the training cohort by default)."""
        summary = self.table("summary")
        summary = summary[summary.cohort == (cohort or self.cohort)]
        return [m for m in self.methods if not self.at(summary, m, subset).empty]
