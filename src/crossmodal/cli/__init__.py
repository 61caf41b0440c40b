"""The command line: each step of the workflow is one of these commands and can be run by hand.

Commands import what they need when they run: `crossmodal --help` must not wait for torch.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from crossmodal.errors import UserError, storage_fault

app = typer.Typer(
    help="Distillation for glioma segmentation with missing MRI sequences, on nnU-Net v2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cohort_app = typer.Typer(help="Make, check and split cohorts.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(cohort_app, name="cohort")


# --- cohort ---------------------------------------------------------------------------------------------------


@cohort_app.command("phantom")
def cohort_phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write the cohort into.")],
    cases: Annotated[int, typer.Option(help="Number of cases.")] = 40,
    spacing: Annotated[float, typer.Option(help="Voxel edge in mm; 1 gives 240×240×155 as in BraTS.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Case k is the same for a seed, however many cases.")] = 2023,
    site: Annotated[str, typer.Option(help="A, or B: other scanners and another mix of cases.")] = "A",
    workers: Annotated[int | None, typer.Option(help="Processes; all cores when not given.")] = None,
) -> None:
    """Write glioma phantoms laid out as BraTS 2020 is."""
    from crossmodal.phantom import write_cohort

    write_cohort(out, cases, spacing, seed, site, workers)


@cohort_app.command("check")
def cohort_check(
    path: Annotated[Path, typer.Argument(help="A release's folder, or a table of your own (CSV).")],
    out: Annotated[Path, typer.Option(help="Folder for cases.csv and problems.csv.")],
    release: Annotated[str, typer.Option(help="What it is, when the names do not tell.")] = "auto",
    name: Annotated[str | None, typer.Option(help="The cohort's name; the release's when not given.")] = None,
    on_problem: Annotated[str, typer.Option(help="stop, or skip: leave bad cases out.")] = "stop",
    folds: Annotated[int, typer.Option(help="Folds of the training cases, by patient; 0 for none.")] = 5,
    test_fraction: Annotated[float, typer.Option(help="Share of patients held out; 0 for none.")] = 0.2,
    split_seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
    split_file: Annotated[
        str | None, typer.Option(help="Your own split: CSV (case,split[,fold]), or a folder of train.txt, test.txt.")
    ] = None,
    external: Annotated[
        list[str] | None, typer.Option(help="NAME=PATH[:RELEASE] of a cohort that is only tested on.")
    ] = None,
    name_mapping: Annotated[
        list[Path] | None, typer.Option(help="CSV with a patient's names in several releases in one row.")
    ] = None,
    predict_unlabelled: Annotated[bool, typer.Option(help="Keep cases without a segmentation.")] = False,
    headers_only: Annotated[bool, typer.Option(help="A quick look: no voxels read, no cases.csv.")] = False,
    workers: Annotated[int | None, typer.Option(help="Threads; all cores when not given.")] = None,
) -> None:
    """Recognise a BraTS release or your own table, check every case, and split it by patient."""
    from crossmodal.cohort.check import Options, check_cohort

    options = Options(
        release, name, on_problem, folds, test_fraction, split_seed, split_file, tuple(external or ()),
        tuple(name_mapping or ()), predict_unlabelled, headers_only, workers,
    )  # fmt: skip
    check_cohort(path, out, options)


@cohort_app.command("lock")
def cohort_lock(
    lock: Annotated[Path, typer.Argument(help="cohorts/<name>.dvc.")],
    data: Annotated[
        Path | None, typer.Option(help="Pin this folder where it lies; without it the lock is `dvc add`'s.")
    ] = None,
) -> None:
    """Pin a cohort's files by hash, or write the list of files beside a lock that `dvc add` made."""
    from crossmodal.cohort import lock as locks

    if data is not None:
        pinned = locks.write_lock(lock, data)
    else:
        pinned = locks.read_lock(lock)
        locks.add_list(pinned)
    print(f"{pinned.file}: {pinned.files} files, {pinned.size / 1e9:.2f} GB, md5 {pinned.md5}")
    print(f"Commit both: git add {pinned.file} {pinned.list_file}")


@cohort_app.command("verify-lock")
def cohort_verify_lock(
    path: Annotated[Path, typer.Argument(help="The cohort's folder.")],
    lock: Annotated[Path, typer.Argument(help="cohorts/<name>.dvc.")],
) -> None:
    """Read every file of a cohort; exit 1 with the cases that are not as locked."""
    from crossmodal.cohort import lock as locks

    pinned = locks.read_lock(lock)
    locks.require_match(path, pinned)
    print(f"{path}: {pinned.files} files, all as {lock} pins them")


@cohort_app.command("pin")
def cohort_pin(lock: Annotated[Path, typer.Argument(help="The .dvc file of a generated cohort: data.dvc.")]) -> None:
    """Take a cohort that was generated again into DVC's cache, if every byte is as the lock says."""
    from crossmodal.publishing.pin import pin

    pin(lock)


# --- dataset and training -------------------------------------------------------------------------------------

WORKFLOW = Path(__file__).resolve().parents[1]


@app.command("dataset")
def dataset(
    cases: Annotated[Path, typer.Option(help="cases.csv; its training cases are used.")],
    out: Annotated[Path, typer.Option(help="The experiment's nnunet/ folder.")],
    budget: Annotated[str, typer.Option(help="A file in workflow/budgets, without its ending.")] = "full",
    backbone: Annotated[str, typer.Option(help="plain, resenc_m or resenc_l.")] = "plain",
    workers: Annotated[int, typer.Option(min=1, help="Processes for preprocessing.")] = 1,
) -> None:
    """Make the one four-channel nnU-Net dataset of an experiment: raw files, plans, preprocessed arrays."""
    from crossmodal.evaluate.score import read_cases
    from crossmodal.nnunet.dataset import build

    build(read_cases(cases), out, _budget(budget), backbone, workers)


@app.command("train")
def train(
    method: Annotated[str, typer.Option(help="A method (a file in workflow/methods), or a recipe file.")],
    modalities: Annotated[str, typer.Option(help="What the student sees, e.g. t1ce+flair.")],
    dataset: Annotated[Path, typer.Option(help="The experiment's nnunet/ folder.")],
    out: Annotated[Path, typer.Option(help="The model folder.")],
    fold: Annotated[int, typer.Option(min=0)] = 0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    budget: Annotated[str, typer.Option(help="A file in workflow/budgets, without its ending.")] = "full",
    teacher: Annotated[Path | None, typer.Option(help="Model folder of a teacher trained beforehand.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: distill.0.weight=2.")] = None,
    methods_folder: Annotated[Path | None, typer.Option(help="A folder with recipes of your own.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Torch threads, in place of the budget's.")] = None,
    save_every: Annotated[float | None, typer.Option(min=0, help="Minutes between saves; else the budget's.")] = None,
    deterministic: Annotated[bool, typer.Option(help="Bit-identical on a GPU too, at a cost in time.")] = False,
) -> None:
    """Train one network, or go on where an interrupted training stopped."""
    from crossmodal.experiment.config import coerce_values, read_yaml
    from crossmodal.device import claimed_device
    from crossmodal.experiment import recipe as recipes

    changes = {}
    for item in set_ or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: write it as key=value, e.g. distill.0.weight=2")
        changes[key] = value
    folders = [WORKFLOW / "methods", *([methods_folder] if methods_folder else [])]
    schema = read_yaml(WORKFLOW / "schemas" / "recipe.schema.yaml")
    recipe = recipes.load(method, folders, schema, coerce_values(changes))
    given = {"threads": threads, "save_every_minutes": save_every}
    settings = _budget(budget) | {key: value for key, value in given.items() if value is not None}
    with claimed_device(device) as kind:
        import torch

        from crossmodal.train.job import Training
        from crossmodal.train.job import train as run

        name = Path(method).stem if method.endswith((".yaml", ".yml")) else method
        job = Training(name, recipe, modalities, fold, seed, settings, dataset, out, teacher, deterministic)
        run(job, torch.device(kind))


@app.command("predict")
def predict(
    models: Annotated[Path, typer.Option(help="A model folder; its folds are averaged.")],
    out: Annotated[Path, typer.Option(help="The segmentation, .nii.gz.")],
    t1: Annotated[Path | None, typer.Option()] = None,
    t1ce: Annotated[Path | None, typer.Option()] = None,
    t2: Annotated[Path | None, typer.Option()] = None,
    flair: Annotated[Path | None, typer.Option()] = None,
    release: Annotated[str | None, typer.Option(help="Whose labels to write; BraTS 1, 2, 4 by default.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Segment one case from the modalities that are there."""
    from crossmodal.device import claimed_device

    given = {"t1": t1, "t1ce": t1ce, "t2": t2, "flair": flair}
    images = {name: path for name, path in given.items() if path is not None}
    for path in images.values():
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    if not out.name.endswith((".nii.gz", ".nii")):
        raise UserError(f"--out {out}: should end in .nii.gz")
    with claimed_device(device) as kind:
        import torch

        from crossmodal.nnunet.predict import Predictor

        Predictor(models, None, torch.device(kind)).write(images, out, release)


@app.command("predict-cases")
def predict_cases(
    model: Annotated[Path, typer.Option(help="A model folder, or the manifest.json of one of its folds.")],
    cases: Annotated[Path, typer.Option(help="cases.csv.")],
    cohort: Annotated[str, typer.Option(help="Which cohort of cases.csv.")],
    modalities: Annotated[str, typer.Option(help="What the network is shown.")],
    out: Annotated[Path, typer.Option(help="Folder for <case>.nii.gz.")],
    fold: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Torch threads.")] = 1,
    deterministic: Annotated[bool, typer.Option(help="Bit-identical on a GPU too, at a cost in time.")] = False,
) -> None:
    """Segment a cohort's test cases (or the fold's validation cases, where none were held out)."""
    from crossmodal.device import claimed_device
    from crossmodal.evaluate.score import read_cases

    with claimed_device(device) as kind:
        import torch

        from crossmodal.nnunet import predict as prediction

        torch.set_num_threads(threads)
        rows = prediction.cases_to_predict(read_cases(cases), cohort, fold)
        folder = model.parents[1] if model.is_file() else model
        prediction.predict_cases(folder, fold, rows, modalities, out, torch.device(kind), deterministic)


def _budget(name: str) -> dict:
    from crossmodal.experiment.config import load_budget, read_yaml

    return load_budget(name, WORKFLOW / "budgets", read_yaml(WORKFLOW / "schemas" / "budget.schema.yaml"))


# --- evaluation -----------------------------------------------------------------------------------------------


@app.command("score")
def score(
    predictions: Annotated[Path, typer.Option(help="Folder of <case>.nii.gz in native geometry and labels.")],
    cases: Annotated[Path, typer.Option(help="The cohort's cases.csv.")],
    out: Annotated[Path, typer.Option(help="CSV to write, one row for each case and region.")],
    cohort: Annotated[str | None, typer.Option(help="Only this cohort's cases, where names repeat.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; all cores when not given.")] = None,
) -> None:
    """Score predictions against the references: Dice, HD95, lesion-wise, volumes."""
    from crossmodal.evaluate.score import available_cores, score_folder

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
    from crossmodal.evaluate.collect import collect as collect_scores

    collect_scores(config, scores, cases, out, models, benchmarks)


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


# --- figures and report ---------------------------------------------------------------------------------------


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
    templates: Annotated[Path, typer.Option(help="Folder of report.html.j2.")] = Path("workflow/report"),
    out: Annotated[Path | None, typer.Option(help="Page to write; <experiment>/report.html by default.")] = None,
) -> None:
    """Write the report: one page with tables, figures and methods, which needs no other file."""
    from crossmodal.report import write_report

    write_report(directory, templates, out or directory / "report.html")


@app.command("readme")
def readme(
    directory: Annotated[Path, typer.Argument(help="Experiment that the README shows: config.yaml and tables/.")],
    readme: Annotated[Path, typer.Option(help="Markdown file with the markers results:start and results:end.")] = Path(
        "README.md"
    ),
    picture: Annotated[Path, typer.Option(help="PNG to write.")] = Path("docs/img/reference.png"),
) -> None:
    """Rewrite the README's picture and table from an experiment's tables."""
    from crossmodal.report.readme import write_readme

    write_readme(directory, readme, picture)


# --- cost -----------------------------------------------------------------------------------------------------


@app.command("cost")
def cost(
    configfile: Annotated[list[Path] | None, typer.Option(help="As for snakemake; config.yaml by default.")] = None,
    config: Annotated[list[str] | None, typer.Option(help="As for snakemake, once for each key=value.")] = None,
    gpus: Annotated[list[int] | None, typer.Option(min=1, help="Wall time on so many; 1, 4 and 16 by default.")] = None,
    measured: Annotated[list[Path] | None, typer.Option(help="results/NAME of a run whose times are used.")] = None,
    bench: Annotated[Path, typer.Option(help="What make bench wrote.")] = Path("bench/latest.json"),
    device: Annotated[str | None, typer.Option(help="Part of a device's name, e.g. H100: only its times.")] = None,
    cases: Annotated[int | None, typer.Option(min=1, help="Cases, when they cannot be counted yet.")] = None,
) -> None:
    """Trainings, GPU hours, wall time and disk of an experiment, before it is submitted."""
    from crossmodal.experiment.config import read_yaml
    from crossmodal.cost.estimate import count_cases, read_config
    from crossmodal.cost.page import cost_page
    from crossmodal.cost.step_times import from_bench, from_run

    experiment = read_config(configfile or [], config or [], WORKFLOW)
    schema = read_yaml(WORKFLOW / "schemas" / "budget.schema.yaml")
    times = [time for folder in measured or [] for time in from_run(folder, experiment)]
    times = times or from_bench(bench, experiment, WORKFLOW / "budgets", schema)
    number = cases or count_cases(experiment, Path("results"))
    print(cost_page(experiment, times, gpus or [1, 4, 16], number, device))


# --- publishing -----------------------------------------------------------------------------------------------

EXPERIMENT = Annotated[Path, typer.Argument(help="results/<experiment>.")]
SOURCES = Annotated[Path, typer.Option("--workflow", help="The folder below the Snakefile.")]


@app.command("publish")
def publish(
    experiment: EXPERIMENT,
    remote: Annotated[
        str | None, typer.Option(help="A folder, s3://bucket/folder, ssh://host/folder, or a DVC remote's name.")
    ] = None,
    preprocessed: Annotated[
        bool | None, typer.Option(help="Preprocessed data too; by default as the config says.")
    ] = None,
    workflow: SOURCES = Path("workflow"),
) -> None:
    """Put a finished experiment's models, predictions and scores under DVC, and push them."""
    from crossmodal.publishing.publish import publish as run

    run(experiment, workflow, remote, preprocessed)


@app.command("restore")
def restore(
    experiment: EXPERIMENT,
    skip: Annotated[list[str] | None, typer.Option(help="Leave a group out, such as preprocessed.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ from the published ones.")] = False,
    workflow: SOURCES = Path("workflow"),
) -> None:
    """Fetch a published experiment, check every hash, and leave snakemake nothing to do."""
    from crossmodal.publishing.restore import restore as run

    run(experiment, workflow, tuple(skip or ()), force)


def main() -> None:
    """Entry point of `crossmodal`: a user's mistake, or a disk's fault, ends in one message and exit code 1."""
    # In a cluster's job the shell ignores TERM (rules/common.smk) and hands that on. A pool ends its processes by it,
    # nnU-Net's own pools too, and would wait for ever for those that ignore it.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        app()
    except UserError as error:
        print(f"crossmodal: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        message = storage_fault(error)
        if message is None:
            raise
        print(f"crossmodal: {message}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
