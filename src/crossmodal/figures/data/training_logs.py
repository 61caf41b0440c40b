"""What trainings logged: loss curves, and Barlow Twins' correlation matrices."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from crossmodal.domain import ALL
from crossmodal.evaluate.results import MANY_SUBSETS, focus_subset
from crossmodal.experiment.layout import Training, trainings_in
from crossmodal.figures.data import write_csv, write_npz

CURVE_COLUMNS = ["method", "modalities", "seed", "fold", "epoch", "step", "term", "value"]
NOT_TERMS = {"epoch", "step", "resumed_from", "time"}
MOST_POINTS = 100  # of a curve; longer logs are averaged over blocks of equal length

Trained = Sequence[tuple[Training, Path]]


def shown_trainings(models: Path, subsets: Sequence[str]) -> Trained:
    """The trainings that a figure shows: of many subsets, the one in focus, and networks of all four modalities."""
    found = list(trainings_in(models))
    if len(subsets) <= MANY_SUBSETS:
        return found
    shown = {focus_subset(subsets, subsets), ALL}
    return [(training, folder) for training, folder in found if training.modalities in shown]


def collect_curves(trained: Trained, out: Path) -> list[str]:
    """Write curves.csv: every loss term of every progress.csv, in long form. Returns what could not be read."""
    parts, notes = [pd.DataFrame(columns=CURVE_COLUMNS)], []
    for training, folder in trained:
        path = folder / "progress.csv"
        try:
            progress = pd.read_csv(path)
            # A resumed training writes some epochs again: the later row counts.
            progress = progress.drop_duplicates(["epoch", "step"], keep="last").sort_values(["epoch", "step"])
            terms = [name for name in progress.columns if name not in NOT_TERMS]
            curve = thin(progress).melt(id_vars=["epoch", "step"], value_vars=terms, var_name="term")
        except (OSError, ValueError, KeyError) as error:
            notes.append(f"{path}: no curve ({error})")
            continue
        curve["value"] = pd.to_numeric(curve.value, errors="coerce")
        parts.append(curve.dropna().assign(**vars(training))[CURVE_COLUMNS])
    write_csv(out / "curves.csv", pd.concat(parts[1:] or parts))
    return notes


def thin(progress: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_POINTS rows: means over blocks of consecutive rows."""
    if len(progress) <= MOST_POINTS:
        return progress
    numbers = progress.apply(pd.to_numeric, errors="coerce")
    block = np.arange(len(progress)) // -(-len(progress) // MOST_POINTS)
    means = numbers.groupby(block).mean()
    return means.assign(epoch=means.epoch.round().astype(int), step=means.step.round().astype(int))


def collect_correlations(trained: Trained, out: Path) -> list[str]:
    """Write correlation_<method>_<modalities>.npz: the matrices of the first seed and fold that has them.

    Returns what could not be read; files of an earlier run are deleted.
    """
    for old in out.glob("correlation_*.npz"):
        old.unlink()
    notes = []
    for training, folder in trained:
        path, target = folder / "correlation.npz", out / f"correlation_{training.method}_{training.modalities}.npz"
        if target.exists() or not path.is_file():
            continue
        try:
            with np.load(path, allow_pickle=False) as file:
                # Half precision: a colour needs three digits, and 320 × 320 channels stay under 0.5 MB.
                matrices = {key: file[key].astype(np.float16) for key in ("start", "end") if key in file.files}
        except (ValueError, OSError, EOFError) as error:
            notes.append(f"{path}: not readable ({error})")
            continue
        write_npz(target, matrices)
    return notes
