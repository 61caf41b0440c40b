"""`crossmodal score`, `collect`, `tables`, `power`, `compare`, `figure-data`, `figures`, `report` and `readme`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from crossmodal.cli.app import app
from crossmodal.errors import UserError


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


@app.command("shard")
def shard(
    experiment: Annotated[Path, typer.Argument(help="results/<experiment>, a finished run.")],
    into: Annotated[Path, typer.Option(help="The experiment in whose shards/ it is kept.")],
    name: Annotated[str, typer.Option(help="Name of the shard, such as seed0.")],
) -> None:
    """Keep the small results of one run of a large experiment, so that another machine can go on with the rest."""
    from crossmodal.evaluate.shards import save

    print(save(experiment, into, name))


@app.command("merge")
def merge(directory: Annotated[Path, typer.Argument(help="The experiment, with its shards/.")]) -> None:
    """Make an experiment's per_case.csv, cost.csv and curves from its shards; `tables` and `figures` come next."""
    from crossmodal.evaluate.shards import merge

    missing = merge(directory)
    if missing:
        print(f"{len(missing)} predictions are not in any shard, such as {missing[0]}", file=sys.stderr)


@app.command("power")
def power(
    directory: Annotated[
        Path | None, typer.Argument(help="Experiment or folder with per_case.csv; else what was measured on phantoms.")
    ] = None,
    gain: Annotated[
        list[float] | None, typer.Option(min=0.001, max=1, help="A gain in Dice; 0.01, 0.02 and 0.05 by default.")
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(min=3, help="Trainings of each method; 3, 5, 10 and 20 by default.")
    ] = None,
    power: Annotated[float, typer.Option(min=0.05, max=0.99, help="The chance to find the gain.")] = 0.8,
    patients: Annotated[int | None, typer.Option(min=2, help="Show the power of so many patients instead.")] = None,
    sd_trainings: Annotated[
        float | None, typer.Option(min=0, help="SD between trainings to plan for, in place of the measured one.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="All methods that are compared, pooled, by default.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Compared with this method; student by default.")] = None,
    modalities: Annotated[str | None, typer.Option(help="One subset; all of them, pooled, by default.")] = None,
    cohort: Annotated[str | None, typer.Option(help="The first one by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="CSV to write as well.")] = None,
) -> None:
    """How many seeds and patients a gain in Dice needs, from what Dice varied by (docs/study.md)."""
    from crossmodal.cli.printing import show
    from crossmodal.evaluate import study_size
    from crossmodal.evaluate.per_case import write_table
    from crossmodal.experiment.runs import STUDENT

    if directory:
        found = study_size.measured_spread(directory, cohort, method, baseline or STUDENT, modalities)
    elif method or baseline or modalities:
        raise UserError("--method, --baseline and --modalities choose from an experiment: give its folder")
    else:
        found = study_size.default_spread(cohort)
    gains, trainings = gain or study_size.GAINS, seeds or study_size.SEEDS
    sizes = study_size.study_sizes(found, gains, trainings, power, patients, sd_trainings)
    show(study_size.printed(found, sizes, patients, sd_trainings))
    if out:
        write_table(sizes, out, digits=6)


@app.command("compare")
def compare(
    results_a: Annotated[Path, typer.Argument(help="Experiment A: config.yaml and tables/.")],
    results_b: Annotated[Path, typer.Argument(help="Experiment B.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write compare.csv into.")] = None,
) -> None:
    """What differs between two experiments (config, data, versions, machine), and their Dice, paired by patient."""
    from crossmodal.cli.printing import show
    from crossmodal.evaluate import experiments
    from crossmodal.evaluate.per_case import write_table

    a, b = map(experiments.read_experiment, (results_a, results_b))
    table, notes = experiments.compare_dice(a, b)
    print(f"A: {results_a}\nB: {results_b}\n")
    show(experiments.printed(a, b, table, notes))
    if out:
        write_table(table, out / "compare.csv", digits=6)


@app.command("figure-data")
def figure_data(
    config: Annotated[Path, typer.Option(help="The experiment's resolved config.yaml.")],
    cases: Annotated[Path, typer.Option(help="The cohort's cases.csv.")],
    models: Annotated[Path, typer.Option(help="Folder <method>/<modalities>/seed<s>/fold_<k>/.")],
    predictions: Annotated[Path, typer.Option(help="Folder <cohort>/<method>/<modalities>/seed<s>/fold_<k>/.")],
    tables: Annotated[Path, typer.Option(help="Folder with per_case.csv.")],
    out: Annotated[Path, typer.Option(help="The experiment's figure_data folder.")],
) -> None:
    """Gather what figures need from models, predictions and images into small files."""
    from crossmodal.figures.collect import collect_figure_data

    for note in collect_figure_data(config, cases, models, predictions, tables, out):
        print(f"figure-data: {note}", file=sys.stderr)


@app.command("figures")
def figures(
    directory: Annotated[Path, typer.Argument(help="Experiment: config.yaml, tables/ and figure_data/.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write into; <experiment>/figures by default.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Draw every figure as PNG and PDF, from tables/ and figure_data/ alone."""
    from crossmodal.figures import draw_figures

    for entry in draw_figures(directory, out or directory / "figures", workers):
        if entry["note"]:
            print(f"figures: {entry['name']} is a note: {entry['note']}", file=sys.stderr)


@app.command("report")
def report(
    directory: Annotated[Path, typer.Argument(help="Experiment: config.yaml, tables/ and figures/.")],
    out: Annotated[Path | None, typer.Option(help="Page to write; <experiment>/report.html by default.")] = None,
) -> None:
    """Write the report: one page with tables, figures and methods, which needs no other file."""
    from crossmodal.report import write_report

    write_report(directory, out or directory / "report.html")


@app.command("readme")
def readme(
    directory: Annotated[Path, typer.Argument(help="Experiment that the README shows: config.yaml and tables/.")],
    readme: Annotated[Path, typer.Option(help="Markdown file with the markers results:start and results:end.")],
    picture: Annotated[Path, typer.Option(help="PNG to write.")],
    methods: Annotated[str, typer.Option(help="Methods that are shown, with commas between; all by default.")] = "",
) -> None:
    """Rewrite the README's picture and table from an experiment's tables."""
    from crossmodal.report.readme import write_readme

    write_readme(directory, readme, picture, methods.split(",") if methods else ())
