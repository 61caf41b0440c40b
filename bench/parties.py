"""Trainers that are measured: this project's and stock nnU-Net's, standing before their first step, on the same data.

    python bench/parties.py '{"kind": "ours", ...}'      one of them, taking a step for each line on stdin

Each trainer runs in a process of its own, which gives its peak memory, and takes steps in turn with the others.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from crossmodal.experiment.config import load_budget, read_yaml
from crossmodal.device import keep_freed_memory, resolved_precision
from crossmodal.experiment import recipe as recipes
from crossmodal.train.job import read_dataset
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.domain import MODALITIES, parse_subset
from crossmodal.train.loading import switch_off_benchmark
from crossmodal.nnunet.plans import CONFIGURATION
from crossmodal.train.seeds import derive_seed, fix_arithmetic, seed_everything
from measure import answers_only, serve
from nnunetv2.training.dataloading import data_loader
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from threadpoolctl import threadpool_limits

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
SEED = 0
STOCK_OPTIONS = {"precision": "default", "memory_format": "contiguous", "compile": False}


def budget_of(name: str, device: str, **changes: Any) -> dict:
    """A budget of the workflow with changes, its precision resolved as a training on the device would."""
    schema = read_yaml(WORKFLOW / "schemas" / "budget.schema.yaml")
    budget = load_budget(name, WORKFLOW / "budgets", schema) | changes
    return budget | {"precision": resolved_precision(budget["precision"], device)}


def recipe_of(method: str) -> dict:
    """A recipe of the workflow."""
    schema = read_yaml(WORKFLOW / "schemas" / "recipe.schema.yaml")
    return recipes.load(method, [WORKFLOW / "methods"], schema, {})


class StockTrainer(nnUNetTrainer):
    """Stock nnU-Net, started from the stream and the weights of this project's `teacher`, so that losses must agree.

    The blur's choice of method by timing is off, as it is in ours: it makes two runs differ.
    """

    def get_dataloaders(self) -> tuple[Any, Any]:
        seed_everything(derive_seed(SEED, "batches"))
        return super().get_dataloaders()

    @staticmethod
    def get_training_transforms(*args: Any, **kwargs: Any) -> Any:
        transforms = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        switch_off_benchmark(transforms)
        return transforms

    def plot_network_architecture(self) -> None:
        """Nothing: it needs hiddenlayer, and is no part of a step."""


def stock(dataset: Path, scratch: Path, budget: dict, device: torch.device) -> StockTrainer:
    """Stock nnU-Net on the dataset's plans, with the weights that ours starts from."""
    plans, dataset_json, _ = read_dataset(dataset)
    data_loader.threadpool_limits = threadpool_limits  # nnU-Net's own, which crossmodal.train.loading replaces
    torch.set_num_threads(budget["threads"])
    os.environ |= {"nnUNet_results": str(scratch), "nnUNet_n_proc_DA": str(budget["loader_workers"])}
    os.environ["nnUNet_compile"] = str(bool(budget["compile"]))
    trainer = StockTrainer(plans | {"continue_training": False}, CONFIGURATION, 0, dataset_json, device)
    trainer.print_to_log_file = lambda *_args, **_kwargs: None
    trainer.num_epochs = budget["epochs"]
    torch.manual_seed(derive_seed(SEED, "teacher", *MODALITIES))
    trainer.initialize()
    return trainer


def ours(
    method: str, subset: str, dataset: Path, scratch: Path, budget: dict, device: torch.device
) -> DistillationTrainer:
    """This project's trainer for a method; a teacher that is trained beforehand gets the weights it starts from."""
    keep_freed_memory()  # as `crossmodal train` does
    plans, dataset_json, _ = read_dataset(dataset)
    recipe = recipe_of(method)
    settings = {"method": method, "recipe": recipe, "students": [subset], "seed": SEED, "budget": budget}
    trainer = DistillationTrainer(plans | {"distillation": settings}, CONFIGURATION, 0, dataset_json, device)
    trainer.open_output(scratch, {})
    trainer.initialize()
    needed = recipes.teacher_of(recipe, subset)
    if needed:
        modalities = parse_subset(needed[1])
        weights = trainer.build("teacher", modalities).state_dict()
        trainer.set_teacher(weights, modalities, recipe_of(needed[0]))
    return trainer


def build(party: dict, scratch: Path) -> nnUNetTrainer:
    """The trainer of a party: kind (ours or stock), method, subset, dataset, budget, device."""
    device = torch.device(party["device"])
    fix_arithmetic(device, False)
    common = (Path(party["dataset"]), scratch, party["budget"], device)
    trainer = stock(*common) if party["kind"] == "stock" else ours(party["method"], party["subset"], *common)
    with redirect_stdout(None):
        trainer.on_train_start()
        trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    return trainer


def stepper(trainer: nnUNetTrainer) -> Callable[[], float]:
    """A function that takes one whole step of a trainer as its own loop does, and returns the loss."""
    outputs: list[dict] = []

    def one_of_stock() -> float:
        outputs.append(trainer.train_step(next(trainer.dataloader_train)))
        return float(outputs[-1]["loss"])

    def one_of_ours() -> float:
        if trainer.step_in_epoch == trainer.num_iterations_per_epoch:  # what is done once an epoch is done again
            trainer.step_in_epoch = 0
        trainer._one_step()
        return float(trainer.train_outputs[-1]["loss"])

    return one_of_ours if isinstance(trainer, DistillationTrainer) else one_of_stock


def main() -> None:
    """Read the party from the command line, and step when told to."""
    party = json.loads(sys.argv[1])
    answers_only()
    serve(stepper(build(party, Path(party["scratch"]))))


if __name__ == "__main__":
    main()
