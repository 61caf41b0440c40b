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
    index = methods[0].index if len(methods) == 1 else methods[0].index.union(methods[1].index)
    tables = [table if table.index is index else table.reindex(index) for table in methods]
    tables = [table.loc[:, table.notna().to_numpy().any(axis=0)] for table in tables]
    if any(table.empty for table in tables):
        return Blocks([], 0)
    dice = [table.to_numpy() for table in tables]
    folds = [table.columns.get_level_values("fold").to_numpy() for table in tables]
    patients = pd.factorize(index.get_level_values("patient"))[0]
    arrays, kept = [], np.zeros(len(index), bool)
    for parts in _parts(dice, folds):
        complete = np.logical_and.reduce([~np.isnan(part).any(axis=1) for part in parts])
        if complete.any():
            arrays.append([_per_patient(part[complete], patients[complete]) for part in parts])
            kept |= complete
    some = np.logical_or.reduce([~np.isnan(part).all(axis=1) for part in dice])
    return Blocks(arrays, int((some & ~kept).sum()))


def _parts(dice: list[np.ndarray], folds: list[np.ndarray]) -> list[list[np.ndarray]]:
    """All trainings together where folds score the same cases, else those of each fold that all methods have."""
    names = [np.unique(of_method) for of_method in folds]
    scored = [
        np.stack([~np.isnan(values[:, of_method == fold]).all(axis=1) for fold in own])
        for values, of_method, own in zip(dice, folds, names, strict=True)
    ]
    if all(len(own) == 1 for own in names) or any((of_folds.sum(axis=0) > 1).any() for of_folds in scored):
        return [dice]
    shared = [fold for fold in names[0] if all(fold in own for own in names)]
    return [[values[:, of == fold] for values, of in zip(dice, folds, strict=True)] for fold in shared]


def _per_patient(dice: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The mean over the cases of each patient: from (cases, trainings) to (patients, trainings)."""
    _, place, counts = np.unique(patients, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), dice.shape[1]))
    np.add.at(sums, place, dice)
    return sums / counts[:, None]
