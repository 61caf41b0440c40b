"""Tiny real trainings for the tests: a recipe, a subset, and what came out."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from crossmodal.experiment import recipe as recipes
from crossmodal.train.job import Training, read_dataset, train
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.nnunet.plans import CONFIGURATION

from tests.conftest import TINY_BUDGET, WORKFLOW

SCHEMA = yaml.safe_load((WORKFLOW / "schemas" / "recipe.schema.yaml").read_text())
FOLDERS = [WORKFLOW / "methods"]


def recipe_of(method: str, **overrides: Any) -> dict:
    """A recipe of the workflow, with dotted overrides written with __ for dots."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    return recipes.load(method, FOLDERS, SCHEMA, changes)


def trained(
    method: str,
    modalities: str,
    dataset: Path,
    out: Path,
    recipe: dict | None = None,
    teacher: Path | None = None,
    seed: int = 0,
    **budget: Any,
) -> dict:
    """Train, with a teacher beforehand where the recipe needs one; returns the manifest."""
    recipe = recipe or recipe_of(method)
    needed = recipes.teacher_of(recipe, modalities)
    if needed and teacher is None:
        teacher = out.with_name(f"{out.name}-teacher")
        trained(needed[0], needed[1], dataset, teacher, seed=seed, **budget)
    job = Training(method, recipe, modalities, 0, seed, TINY_BUDGET | budget, dataset, out, teacher)
    train(job, torch.device("cpu"))
    return json.loads((out / "fold_0" / "manifest.json").read_text())


def prepared(
    method: str, students: list[str], dataset: Path, out: Path, recipe: dict | None = None
) -> DistillationTrainer:
    """A trainer that stands before its first step, with its data open."""
    plans, dataset_json, _ = read_dataset(dataset)
    settings = {
        "method": method,
        "recipe": recipe or recipe_of(method),
        "students": students,
        "seed": 0,
        "budget": TINY_BUDGET,
    }
    trainer = DistillationTrainer(
        plans | {"distillation": settings}, CONFIGURATION, 0, dataset_json, torch.device("cpu")
    )
    trainer.open_output(out, {})
    trainer.initialize()
    return trainer
