"""One results/<experiment> folder, read the way the figures and the report need it."""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from crossmodal.domain import REGIONS
from crossmodal.errors import UserError
from crossmodal.evaluate.blocks import by_training
from crossmodal.evaluate.per_case import held_out, patients, read_per_case
from crossmodal.evaluate.shards import SHARDS
from crossmodal.evaluate.statistics import DIGITS
from crossmodal.experiment.config import Resolved, read_resolved
from crossmodal.experiment.runs import STUDENT, Roles
from crossmodal.wording import enumerate_words, method_label, subset_order

HEADLINE_SUBSET = "t1ce+flair"
MANY_SUBSETS = 3


class MissingDataError(Exception):
    """What a figure needs is not there; the text says what, and takes the figure's place."""


class OneNumberError(Exception):
    """A figure would show one point: the text says it as a result, and takes the figure's place."""


def focus_subset(asked: Sequence[str], present: Sequence[str]) -> str:
    """The subset that single-subset figures show: T1ce + FLAIR where it was run, else the first of the config's.

    Args:
        asked: the subsets of the config.
        present: those with results, at least one.
    """
    if HEADLINE_SUBSET in present:
        return HEADLINE_SUBSET
    return next((subset for subset in asked if subset in present), present[0])


def focus_method(paper: str | None, compared: Sequence[str]) -> str | None:
    """The method that the experiment is about: the paper's own, else the first compared one of the config."""
    return paper if paper in compared else next(iter(compared), None)


class Results:
    """Tables, figure data and resolved config of one experiment; nothing else of it is read.

    Args:
        folder: results/<experiment>, with config.yaml, tables/ and figure_data/.
        only: methods that are shown, where an experiment has more; all by default.

    Raises:
        UserError: the folder or its config.yaml is missing, or the config is wrong.
    """

    def __init__(self, folder: str | Path, only: Sequence[str] = ()) -> None:
        self.folder = Path(folder)
        self.only = tuple(only)
        self.config: Resolved = read_resolved(self.folder / "config.yaml")
        self.is_phantom = self.config.is_phantom  # a phantom result is never shown as a clinical one
        self.name = self.config.experiment or self.folder.name
        self.unit = "phantom" if self.is_phantom else "patient"

    @cached_property
    def timed_in(self) -> str:
        """Where cost.csv was measured, in words: shards may come from several machines."""
        several = (self.folder / SHARDS).is_dir()
        return "several runs, which may have been on different machines" if several else "this run"

    @cached_property
    def versions(self) -> dict[str, str]:
        """versions.json, empty when it is missing."""
        path = self.folder / "versions.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def table(self, name: str, folder: str = "tables", needs: str | None = None) -> pd.DataFrame:
        """<folder>/<name>.csv, as one table.

        Args:
            name: of the table.
            folder: tables or figure_data.
            needs: a column that tables of earlier versions lack.

        Raises:
            MissingDataError: it is missing, cannot be read, has no row or lacks the column `needs`.
        """
        path = self._path(f"{folder}/{name}.csv")
        try:
            table = pd.read_csv(path)
        except pd.errors.EmptyDataError:
            table = pd.DataFrame()
        except pd.errors.ParserError as error:
            raise MissingDataError(f"{folder}/{name}.csv cannot be read: {error}.") from None
        if table.empty:
            raise MissingDataError(f"{folder}/{name}.csv has no row.")
        if needs and needs not in table:
            raise MissingDataError(
                f"{folder}/{name}.csv is of an earlier version, without {needs}: run `crossmodal tables` again."
            )
        return table

    def optional_table(self, name: str) -> pd.DataFrame:
        """tables/<name>.csv, or an empty table."""
        try:
            return self.table(name)
        except MissingDataError:
            return pd.DataFrame()

    def data(self, name: str) -> pd.DataFrame:
        """figure_data/<name>.csv; raises as `table` does."""
        return self.table(name, "figure_data")

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """figure_data/<name>.npz as a dictionary; a MissingDataError where it is missing or cannot be read."""
        path = self._path(f"figure_data/{name}.npz")
        try:
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (ValueError, OSError, EOFError) as error:
            raise MissingDataError(f"figure_data/{name}.npz cannot be read: {error}.") from None

    def _path(self, relative: str) -> Path:
        path = self.folder / relative
        if not path.is_file():
            raise MissingDataError(f"{relative} is not there.")
        return path

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The rows of tables/per_case.csv that count; a MissingDataError where it is missing or cannot be read."""
        try:
            return held_out(read_per_case(self._path("tables/per_case.csv")))[0]
        except UserError as error:
            raise MissingDataError(f"{error}.") from None

    @cached_property
    def per_case(self) -> pd.DataFrame:
        """One row per cohort, method, modalities, region and patient: visits, folds and seeds averaged, so that no
        patient counts twice."""
        return patients(self.scores)

    @cached_property
    def _dice_by_training(self) -> pd.DataFrame:
        rows = self.scores[self.scores.cohort == self.cohort]
        return by_training(rows, ["region", "method", "modalities"])

    def dice_by_training(self, method: str, subset: str, regions: Sequence[str] = REGIONS) -> pd.DataFrame:
        """Dice in the training cohort, the mean over regions: a row for each (patient, case), and a column for each
        training (fold, seed) of the method for this subset; without columns where it was not scored."""
        table, modalities = self._dice_by_training, self.roles.row_subset(method, subset)
        scored = [region for region in regions if (region, method, modalities) in table.columns.droplevel([3, 4])]
        found = [table[region, method, modalities] for region in scored]
        return sum(found[1:], found[0]) / len(found) if found else table.iloc[:, :0]

    def gains_of_trainings(self, method: str, subset: str, regions: Sequence[str] = REGIONS) -> pd.Series:
        """For each training (fold, seed) of a method, its mean Dice less that of the student's trainings together, on
        the same patients of the training cohort; the mean over regions."""
        student = self.dice_by_training(STUDENT, subset, regions).mean(axis=1)
        gains = self.dice_by_training(method, subset, regions).sub(student, axis=0)
        return gains.groupby(level="patient").mean().mean().round(DIGITS)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """tables/summary.csv; raises as `table` does."""
        return self.table("summary")

    def summary_of(self, cohort: str | None = None) -> pd.DataFrame:
        """Rows of the summary for one cohort, the training cohort by default."""
        return self.summary[self.summary.cohort == (cohort or self.cohort)]

    def count(self, cohort: str | None = None) -> int:
        """How many patients (or phantoms) of a cohort are scored; the training cohort's by default."""
        return self.per_case[self.per_case.cohort == (cohort or self.cohort)].patient.nunique()

    @cached_property
    def cohort(self) -> str:
        """The cohort trained on (its held-out cases are what is scored): the first one of the config."""
        present = list(self.summary.cohort.unique())
        return next((cohort for cohort in self.config.cohorts if cohort in present), present[0])

    @property
    def externals(self) -> list[str]:
        """Scored cohorts that were only tested on."""
        return [cohort for cohort in self.summary.cohort.unique() if cohort != self.cohort]

    @cached_property
    def roles(self) -> Roles:
        """Student alone, compared methods and upper bounds among the scored methods, as far as they are shown."""
        present = [method for method in self.summary.method.unique() if method in self.only or not self.only]
        return Roles([*(m for m in self.config.methods if m in present), *present], self.config.recipes)

    @property
    def methods(self) -> list[str]:
        """Scored methods: student first, then the config's order, then the upper bounds with `teacher` last."""
        return self.roles.methods

    @property
    def unscored_methods(self) -> list[str]:
        """Methods of the config without a single row: they failed or have not run yet."""
        asked = self.only or self.config.methods
        return [method for method in asked if method not in self.methods]

    @cached_property
    def subsets(self) -> list[str]:
        """Scored modality subsets that a student was given, in the field's order."""
        scored = self.summary[["method", "modalities"]].itertuples(index=False, name=None)
        return sorted(self.roles.subsets(scored), key=subset_order)

    @property
    def focus_subset(self) -> str:
        """The subset that single-subset figures show."""
        return focus_subset(self.config.subsets, self.subsets)

    @property
    def shown_subsets(self) -> list[str]:
        """Those of `subsets` in the config when they are few, otherwise the focus alone (the subset matrix has all)."""
        asked = [subset for subset in self.subsets if subset in self.config.subsets] or self.subsets
        return asked if len(asked) <= MANY_SUBSETS else [self.focus_subset]

    @property
    def focus_method(self) -> str | None:
        """The compared method that the experiment is about."""
        return focus_method(self.config.paper, self.roles.compared)

    def at(self, table: pd.DataFrame, method: str, subset: str) -> pd.DataFrame:
        """Rows of one method for one subset; those of a method that always sees all four are under all four."""
        return table[(table.method == method) & (table.modalities == self.roles.row_subset(method, subset))]

    def methods_at(self, subset: str, cohort: str | None = None) -> list[str]:
        """Methods that have a row for this subset in this cohort (the training cohort by default)."""
        summary = self.summary_of(cohort)
        return [method for method in self.methods if not self.at(summary, method, subset).empty]

    def seeing_all(self, methods: Iterable[str]) -> str:
        """For captions that name the sequences given: " (Teacher: all four sequences)", if one of the methods is so."""
        roles = Roles.of(self.config)
        names = [method_label(method) for method in methods if roles.always_sees_all(method)]
        return f" ({enumerate_words(names)}: all four sequences)" if names else ""

    def gains(self, method: str | None = None, subset: str | None = None) -> pd.DataFrame:
        """Rows of comparisons.csv against the student alone in the training cohort.

        Args:
            method: of this method alone.
            subset: for this subset alone.

        Raises:
            MissingDataError: no method is compared with the student alone.
        """
        table = self.optional_table("comparisons")
        if not table.empty:
            table = table[(table.baseline == STUDENT) & (table.cohort == self.cohort)].dropna(subset=["dice_gain"])
        if table.empty:
            raise MissingDataError("no method is compared with the student alone: it takes both in one experiment.")
        if "finding" not in table:
            raise MissingDataError("tables/comparisons.csv is of an earlier version: run `crossmodal tables` again.")
        wanted = (table.method == method) | (method is None)
        return table[wanted & ((table.modalities == subset) | (subset is None))]
