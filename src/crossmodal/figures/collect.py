"""Gathers what figures need from heavy artefacts (models, predictions, images) into small files of figure_data/."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from crossmodal.errors import UserError
from crossmodal.evaluate.results import HEADLINE_SUBSET, MANY_SUBSETS
from crossmodal.files import atomic_path
from crossmodal.domain import ALL

CURVE_COLUMNS = ["method", "modalities", "seed", "fold", "epoch", "step", "term", "value"]
NOT_TERMS = {"epoch", "step", "resumed_from", "time"}
MOST_POINTS = 100  # of a curve; longer logs are averaged over blocks of equal length


def collect_figure_data(
    config: str | Path,
    cases: str | Path,
    models: str | Path,
    predictions: str | Path,
    tables: str | Path,
    out: str | Path,
) -> list[str]:
    """Write curves.csv, correlation_*.npz, panels.npz with panels.csv, and class_mean_histograms.csv into `out`.

    Args:
        config: results/<experiment>/config.yaml.
        cases: cohort/cases.csv.
        models: folder <method>/<modalities>/seed<s>/fold_<k>/.
        predictions: folder <cohort>/<method>/<modalities>/seed<s>/fold_<k>/<case>.nii.gz.
        tables: folder with per_case.csv.
        out: results/<experiment>/figure_data.

    Returns:
        A line for each thing that could not be collected, and why; its figure will say so in its place.

    Raises:
        UserError: when the config or cases.csv is missing.
    """
    from crossmodal.figures.class_means import collect_class_means
    from crossmodal.figures.panels import collect_panels

    for path in (Path(config), Path(cases)):
        if not path.is_file():
            raise UserError(f"{path}: not found; run the workflow's first steps, or name the file that is meant")
    settings = yaml.safe_load(Path(config).read_text(encoding="utf-8")) or {}
    table = pd.read_csv(cases, dtype={"case": str, "patient": str})
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    trained = shown_folds(Path(models), settings)
    notes = [] if trained else [f"{models}: no trained network, so no training curves"]
    notes += collect_curves(trained, out)
    notes += collect_correlations(trained, out)
    notes += collect_panels(settings, table, Path(predictions), Path(tables) / "per_case.csv", out)
    notes += collect_class_means(table, out)
    return notes


def model_folds(models: Path) -> list[tuple[str, str, int, int, Path]]:
    """(method, modalities, seed, fold, folder) of every fold trained, sorted."""
    found = []
    for folder in models.glob("*/*/seed*/fold_*"):
        method, modalities, seed, fold = folder.relative_to(models).parts
        if folder.is_dir() and seed[4:].isdigit() and fold[5:].isdigit():
            found.append((method, modalities, int(seed[4:]), int(fold[5:]), folder))
    return sorted(found)


def shown_folds(models: Path, config: dict) -> list[tuple[str, str, int, int, Path]]:
    """Those that a figure shows: of many subsets, the one in focus, beside networks of all four modalities."""
    found, subsets = model_folds(models), config.get("subsets") or []
    if len(subsets) <= MANY_SUBSETS:
        return found
    focus = HEADLINE_SUBSET if HEADLINE_SUBSET in subsets else subsets[0]
    return [fold for fold in found if fold[1] in (focus, ALL)]


def collect_curves(trained: list[tuple[str, str, int, int, Path]], out: Path) -> list[str]:
    """curves.csv: every loss term of every progress.csv, in long form."""
    parts, notes = [], []
    for method, modalities, seed, fold, folder in trained:
        path = folder / "progress.csv"
        try:
            progress = pd.read_csv(path)
            curve = thin(without_repeats(progress)).melt(
                id_vars=["epoch", "step"],
                value_vars=[c for c in progress.columns if c not in NOT_TERMS],
                var_name="term",
            )
        except (OSError, ValueError, KeyError) as error:
            notes.append(f"{path}: no curve ({error})")
            continue
        curve["value"] = pd.to_numeric(curve.value, errors="coerce")
        parts.append(curve.dropna().assign(method=method, modalities=modalities, seed=seed, fold=fold))
    table = pd.concat(parts)[CURVE_COLUMNS] if parts else pd.DataFrame(columns=CURVE_COLUMNS)
    write_csv(out / "curves.csv", table)
    return notes


def without_repeats(progress: pd.DataFrame) -> pd.DataFrame:
    """A resumed training writes some epochs again: the later row counts."""
    return progress.drop_duplicates(["epoch", "step"], keep="last").sort_values(["epoch", "step"])


def thin(progress: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_POINTS rows: means over blocks of consecutive rows."""
    if len(progress) <= MOST_POINTS:
        return progress
    numbers = progress.apply(pd.to_numeric, errors="coerce")
    block = np.arange(len(progress)) // -(-len(progress) // MOST_POINTS)
    means = numbers.groupby(block).mean()
    return means.assign(epoch=means.epoch.round().astype(int), step=means.step.round().astype(int))


def collect_correlations(trained: list[tuple[str, str, int, int, Path]], out: Path) -> list[str]:
    """correlation_<method>_<modalities>.npz: the matrices of the first seed and fold that has them."""
    for old in out.glob("correlation_*.npz"):
        old.unlink()
    done, notes = set(), []
    for method, modalities, _, _, folder in trained:
        path = folder / "correlation.npz"
        if (method, modalities) in done or not path.is_file():
            continue
        try:
            with np.load(path, allow_pickle=False) as file:
                # Half precision: a colour needs three digits, and 320 × 320 channels stay under 0.5 MB.
                matrices = {key: file[key].astype(np.float16) for key in ("start", "end") if key in file.files}
        except (ValueError, OSError, EOFError) as error:
            notes.append(f"{path}: not readable ({error})")
            continue
        write_npz(out / f"correlation_{method}_{modalities}.npz", matrices)
        done.add((method, modalities))
    return notes


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """CSV with six significant digits: enough for a figure, the same bytes from the same numbers."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Compressed .npz; numpy stamps its members with a fixed date."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
