"""Tiny real trainings for the tests: a recipe, a subset, and what came out."""

import json
from pathlib import Path
from typing import Any

import torch

from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.recipe import Recipe
from crossmodal.nnunet.plans import CONFIGURATION
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.train.job import TrainingJob, read_dataset, train
from tests.conftest import TINY_BUDGET, tiny_budget


def recipe_of(method: str, **overrides: Any) -> Recipe:
    """A recipe of the library, with dotted overrides written with __ for dots."""
    return recipes.load(method, overrides={key.replace("__", "."): value for key, value in overrides.items()})


def trained(
    method: str,
    modalities: str,
    dataset: Path,
    out: Path,
    recipe: Recipe | None = None,
    teacher: Path | None = None,
    seed: int = 0,
    **budget: Any,
) -> dict:
    """Train, with a teacher beforehand where the recipe needs one; returns the manifest."""
    recipe = recipe or recipe_of(method)
    needed = recipe.teacher_before(modalities)
    if needed and teacher is None:
        teacher = out.with_name(f"{out.name}-teacher")
        trained(needed[0], needed[1], dataset, teacher, seed=seed, **budget)
    job = TrainingJob(method, recipe, modalities, 0, seed, tiny_budget(**budget), dataset, out, teacher)
    train(job, torch.device("cpu"))
    return json.loads((out / "fold_0" / "manifest.json").read_text())


def prepared(
    method: str, modalities: str, dataset: Path, out: Path, recipe: Recipe | None = None
) -> DistillationTrainer:
    """A trainer that stands before its first step, with its data open."""
    plans, dataset_json, _ = read_dataset(dataset)
    settings = {
        "method": method,
        "recipe": (recipe or recipe_of(method)).plain(),
        "modalities": modalities,
        "seed": 0,
        "budget": TINY_BUDGET,
        "dataset": str(dataset),
    }
    trainer = DistillationTrainer(
        plans | {"distillation": settings}, CONFIGURATION, 0, dataset_json, torch.device("cpu")
    )
    trainer.open_output(out, {})
    trainer.initialize()
    return trainer
