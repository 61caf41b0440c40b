"""`crossmodal dataset` and `crossmodal train`."""

from pathlib import Path
from typing import Annotated

import typer

from crossmodal.cli.app import BudgetName, Deterministic, Device, Fold, app
from crossmodal.errors import UserError


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
    modalities: Annotated[str, typer.Option(help="What the student sees, e.g. t1ce+flair.")],
    dataset: Annotated[Path, typer.Option(help="The experiment's nnunet/ folder.")],
    out: Annotated[Path, typer.Option(help="The model folder.")],
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
) -> None:
    """Train one network, or go on where an interrupted training stopped."""
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
    with claimed_device(device) as kind:
        import torch

        from crossmodal.train.job import TrainingJob
        from crossmodal.train.job import train as run

        job = TrainingJob(name, recipe, modalities, fold, seed, settings, dataset, out, teacher, deterministic)
        run(job, torch.device(kind))
