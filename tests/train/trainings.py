"""Tiny real trainings for the tests: whole ones, ones that are cut off at a chosen point, and what came out."""

import csv
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.recipe import Recipe
from crossmodal.nnunet.dataset import read_dataset
from crossmodal.nnunet.plans import CONFIGURATION
from crossmodal.train import loop
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.train.job import TrainingJob, train
from tests.conftest import TINY_BUDGET, tiny_budget

# Three epochs of three steps, a state after each step: the saving-cost guard would hold it back.
SHORT = {"epochs": 3, "steps_per_epoch": 3, "save_every_minutes": 1e-9}


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
    deterministic: bool = False,
    **budget: Any,
) -> dict:
    """Train, with a teacher beforehand where the recipe needs one; returns the manifest."""
    recipe = recipe or recipe_of(method)
    needed = recipe.teacher_before(modalities)
    if needed and teacher is None:
        teacher = out.with_name(f"{out.name}-teacher")
        trained(needed[0], needed[1], dataset, teacher, seed=seed, **budget)
    settings = tiny_budget(**budget)
    job = TrainingJob(method, recipe, modalities, 0, seed, settings, dataset, out, teacher, deterministic)
    train(job, torch.device("cpu"))
    return json.loads((out / "fold_0" / "manifest.json").read_text())


def prepared(
    method: str, modalities: str, dataset: Path, out: Path, recipe: Recipe | None = None
) -> DistillationTrainer:
    """A trainer that stands before its first step."""
    plans, dataset_json, _ = read_dataset(dataset)
    settings = {"method": method, "recipe": (recipe or recipe_of(method)).plain(), "modalities": modalities}
    settings |= {"seed": 0, "budget": TINY_BUDGET, "dataset": str(dataset)}
    plans |= {"distillation": settings}
    made = DistillationTrainer(plans, CONFIGURATION, 0, dataset_json, torch.device("cpu"))
    made.open_output(out, {})
    made.initialize()
    return made


def run(method: str, modalities: str, dataset: Path, out: Path, **options: Any) -> dict:
    """Train SHORT; returns its outcome."""
    trained(method, modalities, dataset, out, **(SHORT | options))
    return outcome(out)


def outcome(out: Path) -> dict:
    """All of a finished training that must not depend on its interruptions, nor on what was trained beside it."""
    fold = out / "fold_0"
    correlation = fold / "correlation.npz"
    return {
        "manifest": json.loads((fold / "manifest.json").read_text()),
        "files": sorted(path.name for path in fold.iterdir() if not path.name.startswith(".lock")),
        "correlation": correlation.read_bytes() if correlation.exists() else None,
        "progress": [
            {name: value for name, value in row.items() if name not in ("time", "resumed_from")}
            for row in progress(out)
        ],
        "plans": json.loads((out / "plans.json").read_text()),
    }


def progress(model: Path) -> list[dict[str, str]]:
    """Rows of progress.csv."""
    return list(csv.DictReader((model / "fold_0" / "progress.csv").open(newline="")))


def resumed_from(model: Path) -> list[int]:
    """The step from which each epoch's process went on."""
    return [int(row["resumed_from"]) for row in progress(model)]


# --- interruptions and faults -------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands in for kill -9 inside one process: nothing of ours may catch it."""


def save_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off the guard that keeps saving below 1% of the time."""
    monkeypatch.setattr(loop, "SAVE_AT_MOST", float("inf"))


def cut_off_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> Callable[[], None]:
    """Make the n-th call (from 1) of a function end the training before it does anything; returns the way back."""
    original = getattr(owner, name)
    calls = iter(range(1, 10**6))

    def counted(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)
    return lambda: monkeypatch.setattr(owner, name, original)


def cut_off_run(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, *training: Any, **options: Any
) -> None:
    """`run` with a state after each step, cut off at the n-th call of a function."""
    save_after_each_step(monkeypatch)
    put_back = cut_off_at(monkeypatch, owner, name, call)
    with pytest.raises(Killed):
        run(*training, **options)
    put_back()


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A new folder with a tmpfs mounted at it; skips the test where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting a tmpfs needs rights that this user has not: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
