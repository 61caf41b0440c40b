"""Experiment folders for the choice of a network: model folders, and a table with known Dice."""

import json
import shutil
from pathlib import Path

import numpy as np

from crossmodal.domain import ALL, REGIONS
from crossmodal.evaluate.per_case import write_table
from tests.evaluate.per_case_maker import rows, stack

PATIENTS = 6


def network(experiment: Path, method: str, modalities: str, seed: int = 0, like: Path | None = None) -> Path:
    """A model folder: a trained one's copy; without `like`, with what the choice reads and an empty checkpoint."""
    folder = experiment / "models" / method / modalities / f"seed{seed}"
    if like:
        shutil.copytree(like, folder)
        return folder
    (folder / "fold_0").mkdir(parents=True)
    (folder / "fold_0" / "checkpoint_final.pth").touch()
    recipe = {"modalities": "any" if method.startswith("modality_dropout") else "subset"}
    if method == "dong2025_teacher":
        recipe["input"] = "class_mean"
    (folder / "plans.json").write_text(json.dumps({"distillation": {"method": method, "recipe": recipe}}))
    names = {str(number): name.upper() for number, name in enumerate(modalities.split("+"))}
    (folder / "dataset.json").write_text(json.dumps({"channel_names": names}))
    return folder


def validated(experiment: Path, dice: dict[tuple[str, str], float]) -> None:
    """tables/per_case.csv: for each method and subset, so much Dice, spread over the patients."""
    spread = np.linspace(-0.02, 0.02, PATIENTS)
    tables = [
        rows(mean + spread, method=method, modalities=subset, region=region)
        for (method, subset), mean in dice.items()
        for region in REGIONS
    ]
    (experiment / "tables").mkdir(parents=True)
    write_table(stack(*tables), experiment / "tables" / "per_case.csv")


def study(experiment: Path) -> Path:
    """Two methods for T1ce + FLAIR, one for T2, a teacher, and a network for any sequences."""
    for method in ("student", "choi2023"):
        for seed in (0, 1):
            network(experiment, method, "t1ce+flair", seed)
    network(experiment, "student", "t2")
    network(experiment, "teacher", ALL)
    network(experiment, "modality_dropout", ALL)
    network(experiment, "dong2025_teacher", "t1ce+flair")
    dice = {("student", "t1ce+flair"): 0.80, ("choi2023", "t1ce+flair"): 0.85, ("student", "t2"): 0.70}
    dice |= {("teacher", ALL): 0.90, ("modality_dropout", "t2"): 0.75, ("modality_dropout", "flair"): 0.72}
    validated(experiment, dice)
    return experiment
