"""`crossmodal dataset`, `train`, `predict` and `predict-cases`: what needs torch."""

from pathlib import Path
from typing import Annotated

import typer

from crossmodal.cli.app import app
from crossmodal.domain import parse_subset, subset_name
from crossmodal.errors import UserError

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Deterministic = Annotated[bool, typer.Option(help="Bit-identical on a GPU too, at a cost in time.")]
OF_STUDENT = "{modalities}"  # in --out and --teacher: the subset of each student
Fold = Annotated[int, typer.Option(min=0)]
BudgetName = Annotated[str, typer.Option(help="A budget (`crossmodal budgets` lists them), or a YAML file.")]


@app.command("dataset")
def dataset(
    cases: Annotated[Path, typer.Option(help="cases.csv; its training cases are used.")],
    out: Annotated[Path, typer.Option(help="The experiment's nnunet/ folder.")],
    budget: BudgetName = "full",
    backbone: Annotated[str, typer.Option(help="plain, resenc_m or resenc_l.")] = "plain",
    workers: Annotated[int, typer.Option(min=1, help="Processes for preprocessing.")] = 1,
) -> None:
    """Make the one four-channel nnU-Net dataset of an experiment: raw files, plans, preprocessed arrays."""
    from crossmodal.cohort.cases_csv import read_cases
    from crossmodal.experiment.budget import load_budget
    from crossmodal.nnunet.dataset import build

    build(read_cases(cases), out, load_budget(budget), backbone, workers)


@app.command("train")
def train(
    method: Annotated[str, typer.Option(help="A method (`crossmodal methods` lists them), or a recipe file.")],
    modalities: Annotated[str, typer.Option(help="What the student sees, e.g. t1ce+flair; of several, t1,t2,t1+t2.")],
    dataset: Annotated[Path, typer.Option(help="The experiment's nnunet/ folder.")],
    out: Annotated[Path, typer.Option(help="The model folder; of several students, with {modalities} in its name.")],
    fold: Fold = 0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    budget: BudgetName = "full",
    teacher: Annotated[Path | None, typer.Option(help="Model folder of a teacher trained beforehand.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: distill.0.weight=2.")] = None,
    methods_folder: Annotated[Path | None, typer.Option(help="A folder with recipes of your own.")] = None,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Torch threads, in place of the budget's.")] = None,
    save_every: Annotated[float | None, typer.Option(min=0, help="Minutes between saves; else the budget's.")] = None,
    deterministic: Deterministic = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Train anew where --out holds a network of other settings.")
    ] = False,
) -> None:
    """Train one network, or several on the same batches, or go on where an interrupted training stopped."""
    from crossmodal.device import claimed_device
    from crossmodal.experiment import recipe as recipes
    from crossmodal.experiment.budget import load_budget

    changes = {}
    for item in set_ or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: write it as key=value, e.g. distill.0.weight=2")
        changes[key] = value
    recipe = recipes.load(method, [methods_folder] if methods_folder else [], changes)
    given = {"threads": threads, "save_every_minutes": save_every}
    settings = load_budget(budget).replaced(**{key: value for key, value in given.items() if value is not None})
    name = Path(method).stem if method.endswith((".yaml", ".yml")) else method
    subsets = _subsets_to_train(modalities, out)
    with claimed_device(device) as kind:
        import torch

        from crossmodal.train.job import TrainingJob, train_together

        jobs = []
        for subset in subsets:
            own = [path and Path(str(path).replace(OF_STUDENT, subset)) for path in (out, teacher)]
            jobs.append(TrainingJob(name, recipe, subset, fold, seed, settings, dataset, *own, deterministic, replace))
        train_together(jobs, torch.device(kind))


def _subsets_to_train(modalities: str, out: Path) -> list[str]:
    """The subsets of --modalities, each once and in the one way of writing it."""
    subsets = [subset_name(parse_subset(part.strip())) for part in modalities.split(",")]
    twice = next((subset for subset in subsets if subsets.count(subset) > 1), None)
    if twice:
        raise UserError(f"--modalities {modalities}: {twice} is there twice")
    if len(subsets) > 1 and OF_STUDENT not in str(out):
        raise UserError(
            f"--out {out}: several students cannot share a model folder: write {OF_STUDENT} where the subset stands, "
            f"e.g. {out}/{OF_STUDENT}"
        )
    return subsets


@app.command("predict")
def predict(
    out: Annotated[Path | None, typer.Option(help="The segmentation, .nii.gz; with --patients a folder.")] = None,
    t1: Annotated[Path | None, typer.Option()] = None,
    t1ce: Annotated[Path | None, typer.Option()] = None,
    t2: Annotated[Path | None, typer.Option()] = None,
    flair: Annotated[Path | None, typer.Option()] = None,
    patients: Annotated[
        Path | None, typer.Option(help="In place of files: a folder of patients in any release's layout, or a table.")
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="A model folder, or an experiment's (results/NAME); else the shipped network.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Of an experiment: this method, not the best validated.")] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Of an experiment: average all seeds and folds.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the networks and the choice; segment nothing.")
    ] = False,
    release: Annotated[
        str | None, typer.Option(help="Release whose label values are written; else the folder's, or BraTS 1, 2, 4.")
    ] = None,
    resample: Annotated[bool, typer.Option("--resample", help="Bring all images to the first one's grid.")] = False,
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", help="Write those of WT, TC, ET too: 4D, float32, *_probabilities.nii.gz."),
    ] = False,
    picture: Annotated[bool, typer.Option("--picture", help="Write a picture for a quick look too: *.png.")] = False,
    device: Device = "auto",
) -> None:
    """Segment a patient, or a folder of them, from the sequences that are there. Research use, not a medical device."""
    from crossmodal.device import claimed_device
    from crossmodal.predict.choose import Networks
    from crossmodal.predict.request import answer, check_request, explanation

    given = {"t1": t1, "t1ce": t1ce, "t2": t2, "flair": flair}
    files = {name: path for name, path in given.items() if path is not None}
    networks = Networks(models, method, ensemble)
    check_request(files, patients, out, release, resample, explain)
    if explain:
        from crossmodal.cli.printing import show

        show(explanation(networks, files, patients))
        return
    with claimed_device(device) as kind:
        import torch

        from crossmodal.predict import patients as folders
        from crossmodal.predict.segment import Segmenter, Wanted, show_warnings

        segmenter = Segmenter(networks, torch.device(kind), Wanted(release, resample, probabilities, picture))
        if patients:
            print(folders.summary(folders.segment_folder(patients, out, segmenter), out))
            return
        record = segmenter.segment(files, out)
        show_warnings(record)
        print(answer(record, out))


@app.command("predict-cases")
def predict_cases(
    model: Annotated[Path, typer.Option(help="A model folder, or the manifest.json of one of its folds.")],
    cases: Annotated[Path, typer.Option(help="cases.csv.")],
    cohort: Annotated[str, typer.Option(help="Which cohort of cases.csv.")],
    modalities: Annotated[str, typer.Option(help="What the network is shown.")],
    out: Annotated[Path, typer.Option(help="Folder for <case>.nii.gz.")],
    fold: Fold = 0,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Torch threads.")] = 1,
    deterministic: Deterministic = False,
) -> None:
    """Segment a cohort's test cases (or the fold's validation cases, where none were held out)."""
    from crossmodal.cohort.cases_csv import read_cases
    from crossmodal.device import claimed_device

    with claimed_device(device) as kind:
        import torch

        from crossmodal.nnunet import predict as prediction

        torch.set_num_threads(threads)
        rows = prediction.cases_to_predict(read_cases(cases), cohort, fold)
        folder = model.parents[1] if model.is_file() else model
        prediction.predict_cases(folder, fold, rows, modalities, out, torch.device(kind), deterministic)
