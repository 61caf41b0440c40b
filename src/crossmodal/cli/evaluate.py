"""`crossmodal score`, `collect` and `tables`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from crossmodal.cli.app import app


@app.command("score")
def score(
    predictions: Annotated[Path, typer.Option(help="Folder of <case>.nii.gz in native geometry and labels.")],
    cases: Annotated[Path, typer.Option(help="The cohort's cases.csv.")],
    out: Annotated[Path, typer.Option(help="CSV to write, one row for each case and region.")],
    cohort: Annotated[str | None, typer.Option(help="Only this cohort's cases, where names repeat.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; all cores when not given.")] = None,
) -> None:
    """Score predictions against the references: Dice, HD95, lesion-wise, volumes."""
    from crossmodal.device import available_cores
    from crossmodal.evaluate.score import score_folder

    score_folder(predictions, cases, out, cohort, workers or available_cores())


@app.command("collect")
def collect(
    config: Annotated[Path, typer.Option(help="The experiment's resolved config.yaml.")],
    scores: Annotated[Path, typer.Option(help="Folder of <cohort>/<method>/<modalities>/seed<s>/fold_<k>.csv.")],
    cases: Annotated[Path, typer.Option(help="The cohort's cases.csv.")],
    out: Annotated[Path, typer.Option(help="per_case.csv to write; notes.csv goes beside it.")],
    models: Annotated[Path | None, typer.Option(help="Folder of models: writes cost.csv as well.")] = None,
    benchmarks: Annotated[
        Path | None, typer.Option(help="Folder of Snakemake's benchmarks: writes resources.csv as well.")
    ] = None,
) -> None:
    """Stack all scores of an experiment into per_case.csv; what is missing is noted in notes.csv."""
    from crossmodal.evaluate.collect import collect

    collect(config, scores, cases, out, models, benchmarks)


@app.command("tables")
def tables(
    directory: Annotated[Path, typer.Argument(help="Experiment or folder with per_case.csv.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write into; beside per_case.csv by default.")] = None,
) -> None:
    """Summary and comparisons as CSV, Markdown and LaTeX, from per_case.csv alone."""
    from crossmodal.evaluate.pages import write_tables

    notes = write_tables(directory, out)
    if notes:
        print(f"{len(notes)} notes on these tables are in notes.md", file=sys.stderr)
