"""From rows of per_case.csv to what every training scored: arrays of patients × trainings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crossmodal.evaluate import trainings
from crossmodal.evaluate.statistics import DIGITS
from crossmodal.evaluate.trainings import Mean


def by_training(rows: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Dice with a row for each (patient, case) and a column for each (*by, fold, seed); NaN where not scored.

    Args:
        rows: of one cohort and region, of a table of `read_per_case`.
        by: columns that tell methods apart; without any, the rows are of one method.
    """
    table = rows.set_index(["patient", "case", *by, "fold", "seed"])["dice"]
    return table.unstack([*by, "fold", "seed"]).sort_index(axis="columns")


@dataclass(frozen=True)
class Blocks:
    """Dice of the same patients by one method, or by two, in blocks in which every training scores every patient.

    With a held-out test set there is one block. In a cross-validation without one each fold is a block, since it
    scores patients of its own.

    Attributes:
        arrays: for each block, an array (patients, trainings) for each method.
        left_out: cases that some of the methods' trainings scored, but not all that should have.
    """

    arrays: list[list[np.ndarray]]
    left_out: int

    @property
    def of_patients(self) -> np.ndarray:
        """The mean Dice of each patient over trainings, or the gain of the first method over the second."""
        means = [[array.mean(axis=1) for array in block] for block in self.arrays]
        values = [block[0] - block[1] if len(block) == 2 else block[0] for block in means]
        return np.round(np.concatenate(values), DIGITS) if values else np.empty(0)

    def trainings(self, method: int = 0) -> int:
        """How many trainings of the method there are."""
        return sum(block[method].shape[1] for block in self.arrays)

    def sd(self, method: int = 0) -> float:
        """SD between the mean Dice of single trainings of a block, pooled over blocks; NaN for one training each."""
        means = [block[method].mean(axis=0) for block in self.arrays]
        degrees = sum(len(values) - 1 for values in means)
        squares = sum(((values - values.mean()) ** 2).sum() for values in means)
        return round(float((squares / degrees) ** 0.5), DIGITS) if degrees else np.nan

    def mean(self) -> Mean:
        """The mean or the gain over patients and trainings, without an error from fewer than three trainings."""
        if len(self.arrays) > 1:
            sizes = np.array([len(block[0]) for block in self.arrays])
            values = np.array([part.mean() for part in np.split(self.of_patients, np.cumsum(sizes)[:-1])])
            estimate, units = trainings.over_folds(values, sizes), len(sizes)
        elif self.arrays:
            estimate, units = trainings.crossed(*self.arrays[0]), min(a.shape[1] for a in self.arrays[0])
        else:
            return Mean(np.nan)
        return estimate if units >= trainings.FEWEST else Mean(estimate.value)


def blocks(*methods: pd.DataFrame) -> Blocks:
    """What all trainings of one method, or of two, scored.

    Args:
        methods: a table of `by_training` for each, with the columns fold and seed.
    """
    methods = tuple(table.dropna(axis="columns", how="all") for table in methods)
    if any(table.empty for table in methods):
        return Blocks([], 0)
    folds = [table.notna().T.groupby(level="fold", sort=False).any().T for table in methods]
    crossed = all(len(scored.columns) == 1 for scored in folds) or any((s.sum(axis=1) > 1).any() for s in folds)
    if crossed:
        parts = [methods]
    else:
        shared = [fold for fold in folds[0].columns if all(fold in scored.columns for scored in folds)]
        parts = [tuple(table.xs(fold, axis=1, level="fold", drop_level=False) for table in methods) for fold in shared]
    arrays, kept = [], set()
    for part in parts:
        complete = pd.concat(part, axis=1).dropna().index
        if len(complete):
            arrays.append([table.loc[complete].groupby(level="patient").mean().to_numpy() for table in part])
            kept |= set(complete)
    some = set().union(*(table.dropna(how="all").index for table in methods))
    return Blocks(arrays, len(some - kept))
