"""Trainers to measure: this project's and stock nnU-Net's, ready for their first step, on the same data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from crossmodal.device import fix_arithmetic, keep_freed_memory, resolved_precision
from crossmodal.domain import ALL, MODALITIES, all_subsets, parse_subset
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.budget import Budget, load_budget
from crossmodal.nnunet.dataset import read_dataset
from crossmodal.nnunet.plans import CONFIGURATION
from crossmodal.train.batches import cached_thread_limits
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.train.loop import TrainingLoop
from crossmodal.train.reproducibility import derive_seed, seed_everything
from crossmodal.train.transforms import switch_off_benchmark

SEED = 0
STOCK_OPTIONS = {"precision": "default", "memory_format": "contiguous", "compile": False}


@dataclass(frozen=True)
class Setup:
    """A trainer to measure: this project's for a method and a subset; stock nnU-Net where no method is given."""

    dataset: Path
    budget: Budget
    method: str | None = None
    subset: str = ALL
    device: str = "cpu"


def budget_of(name: str, device: str, **changes: Any) -> Budget:
    """A budget with changes, its precision resolved as a training on the device would."""
    budget = load_budget(name).replaced(**changes)
    return budget.replaced(precision=resolved_precision(budget.precision, device))


class StockTrainer(nnUNetTrainer):
    """Stock nnU-Net with the random stream of this project's `teacher`, so that losses must be equal.

    Its blur does not choose its method by timing, as in this project's trainer: that makes two runs differ.
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
        """Nothing: it needs hiddenlayer, and is not part of a step."""


def stock(setup: Setup, scratch: Path) -> StockTrainer:
    """Stock nnU-Net on the dataset's plans, with the weights that this project's trainer starts from."""
    budget = setup.budget
    plans, dataset_json, _ = read_dataset(setup.dataset)
    torch.set_num_threads(budget.threads)
    os.environ |= {"nnUNet_preprocessed": f"{setup.dataset}/preprocessed", "nnUNet_results": str(scratch)}
    os.environ |= {"nnUNet_n_proc_DA": str(budget.loader_workers), "nnUNet_compile": str(budget.compile)}
    device = torch.device(setup.device)
    trainer = StockTrainer(plans | {"continue_training": False}, CONFIGURATION, 0, dataset_json, device)
    trainer.print_to_log_file = lambda *_args, **_kwargs: None
    trainer.num_epochs = budget.epochs
    torch.manual_seed(derive_seed(SEED, "teacher", *MODALITIES))
    trainer.initialize()
    return trainer


def ours(setup: Setup, scratch: Path) -> DistillationTrainer:
    """This project's trainer for a method; a teacher that is trained beforehand has its initial weights."""
    keep_freed_memory()  # as `crossmodal train` does
    plans, dataset_json, _ = read_dataset(setup.dataset)
    recipe = recipes.load(setup.method)
    settings = {"method": setup.method, "recipe": recipe.plain(), "modalities": setup.subset}
    settings |= {"seed": SEED, "budget": setup.budget.plain(), "dataset": str(setup.dataset)}
    device = torch.device(setup.device)
    trainer = DistillationTrainer(plans | {"distillation": settings}, CONFIGURATION, 0, dataset_json, device)
    trainer.open_output(scratch, {})
    trainer.initialize()
    needed = recipe.teacher_before(setup.subset)
    if needed:
        modalities = parse_subset(needed[1])
        weights = trainer.build("teacher", modalities).state_dict()
        trainer.teacher = trainer.frozen(weights, modalities, recipes.load(needed[0]))
    return trainer


@contextmanager
def running(setup: Setup, scratch: Path) -> Iterator[nnUNetTrainer]:
    """The trainer of a setup before its first step, in a folder made for it; with the thread limits of its own loop."""
    scratch.mkdir(parents=True)
    fix_arithmetic(torch.device(setup.device), False)
    with cached_thread_limits() if setup.method else nullcontext():
        trainer = ours(setup, scratch) if setup.method else stock(setup, scratch)
        with redirect_stdout(None):
            trainer.on_train_start()
            if setup.method:
                seed_everything(derive_seed(SEED, "batches"))
                trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
            trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        yield trainer


def take_step(trainer: nnUNetTrainer) -> float:
    """One whole step of a trainer, as its own loop takes it; the loss."""
    if not isinstance(trainer, DistillationTrainer):
        return float(trainer.train_step(next(trainer.dataloader_train))["loss"])
    if trainer.step_in_epoch == trainer.num_iterations_per_epoch:  # a new epoch: its first step does more
        trainer.step_in_epoch = 0
    trainer.one_step(next(trainer.dataloader_train))
    return float(trainer.train_outputs[-1]["loss"])


def steps(setup: Setup, scratch: Path) -> Iterator[float | None]:
    """As work of a `Worker`: one step of a trainer each time; yields the loss."""
    with running(setup, scratch) as trainer:
        yield None
        while True:
            yield take_step(trainer)


def steps_together(setup: Setup, scratch: Path) -> Iterator[float | None]:
    """As work of a `Worker`: one step of a student for each of the 15 subsets, side by side; yields the last's loss."""
    keep_freed_memory()
    fix_arithmetic(torch.device(setup.device), False)
    students = [ours(replace(setup, subset=subset), scratch / subset) for subset in all_subsets()]
    for student in students:
        student.teacher = students[0].teacher  # where it was trained beforehand, as in a job of several students
    loop = TrainingLoop(students)
    with cached_thread_limits():
        loop.start()
        yield None
        while True:
            if loop.step_in_epoch == loop.steps_per_epoch:
                loop.step_in_epoch = 0
                for student in students:
                    student.step_in_epoch = 0
            loop.step()
            yield float(students[-1].train_outputs[-1]["loss"])
