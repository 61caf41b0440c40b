"""Trainings that are cut off at a chosen point, and what must be the same afterwards."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossmodal.train import saving
from tests.train.trainings import trained

# Three epochs of three steps, a state after each step: the saving-cost guard would hold it back.
SHORT = {"epochs": 3, "steps_per_epoch": 3, "save_every_minutes": 1e-9}


class Killed(BaseException):
    """Stands in for kill -9 inside one process: nothing of ours may catch it."""


def save_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off the guard that keeps saving below 1% of the time."""
    monkeypatch.setattr(saving, "SAVE_AT_MOST", float("inf"))


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


def outcome(model: Path, manifest: dict) -> dict:
    """All of a finished training that must not depend on its interruptions."""
    fold = model / "fold_0"
    correlation = fold / "correlation.npz"
    return {
        "manifest": manifest,
        "files": sorted(path.name for path in fold.iterdir() if not path.name.startswith(".lock")),
        "correlation": correlation.read_bytes() if correlation.exists() else None,
        "progress": [
            {name: value for name, value in row.items() if name not in ("time", "resumed_from")}
            for row in progress(model)
        ],
        "plans": json.loads((model / "plans.json").read_text()),
    }


def progress(model: Path) -> list[dict[str, str]]:
    """Rows of progress.csv."""
    return list(csv.DictReader((model / "fold_0" / "progress.csv").open(newline="")))


def run(method: str, modalities: str, dataset: Path, out: Path, **options: Any) -> dict:
    """Train SHORT and return its outcome."""
    return outcome(out, trained(method, modalities, dataset, out, **(SHORT | options)))
