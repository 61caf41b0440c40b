"""Gathers figure_data/ from heavy artefacts, once after a run."""

from pathlib import Path

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.experiment.config import read_resolved
from crossmodal.figures.data.class_means import collect_class_means
from crossmodal.figures.data.panels import collect_panels
from crossmodal.figures.data.training_logs import collect_correlations, collect_curves, shown_trainings


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
        UserError: the config or cases.csv is missing or wrong.
    """
    resolved, table, out = read_resolved(Path(config)), read_cases(Path(cases)), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    trained = shown_trainings(Path(models), resolved.subsets)
    notes = [] if trained else [f"{models}: no trained network, so no training curves"]
    notes += collect_curves(trained, out)
    notes += collect_correlations(trained, out)
    notes += collect_panels(resolved, table, Path(predictions), Path(tables) / "per_case.csv", out)
    return notes + collect_class_means(table, out)
