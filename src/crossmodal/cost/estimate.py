"""What an experiment costs before it is submitted: trainings, GPU hours by method, wall time, disk.

Times come from measurements of the same network alone (a run's tables, or `make bench`); the trainings follow from
the config. Waiting in a queue, preprocessing, prediction and scoring are not in the hours.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from crossmodal.experiment.config import model_subset, read_yaml, resolve, scored_subsets
from crossmodal.experiment.recipe import teacher_of
from crossmodal.errors import UserError
from crossmodal.cost.step_times import StepTime, kind_of, step_time

# The box around the brain, to which nnU-Net crops: mean of three BraTS 2021 cases (3.1 to 4.3).
BRAIN_BOX_MM3 = 3.6e6
PREDICTION_MB = 0.1  # a compressed segmentation; those of smoke networks reach 0.5


@dataclass(frozen=True, order=True)
class Training:
    """One training of one network."""

    method: str
    modalities: str
    seed: int
    fold: int


@dataclass(frozen=True)
class Estimate:
    """Hours of one method's trainings, as (lowest, middle, highest), and how they were found."""

    method: str
    trainings: int
    networks: int
    hours: tuple[float, float, float]
    basis: str


def read_config(files: list[Path], changes: list[str], workflow: Path) -> dict:
    """The resolved config that Snakemake would see for these --configfile and --config; config.yaml without any.

    A paper's data need not be there yet.

    Raises:
        UserError: as the workflow would.
    """
    given: dict = {}
    for path in files or [Path("config.yaml")]:
        _update(given, read_yaml(path))
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"--config {change}: write it as key=value, e.g. budget=study")
        given[key] = yaml.safe_load(value)
    if given.get("paper") and not given.get("brats") and given.get("budget") != "smoke":
        given["brats"] = "."
    return resolve(given, workflow)


def _update(config: dict, other: dict) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _update(config[key], value)
        else:
            config[key] = value


def trainings(config: dict) -> dict[Training, Training | None]:
    """Every training of an experiment, with the teacher that must be trained before it (teachers come first)."""
    found: dict[Training, Training | None] = {}

    def add(training: Training) -> Training:
        needed = teacher_of(config["recipes"][training.method], training.modalities)
        teacher = add(Training(*needed, training.seed, training.fold)) if needed else None
        found.setdefault(training, teacher)
        return training

    for method in config["methods"]:
        subsets = {model_subset(config, method, subset) for subset in scored_subsets(config, method)}
        for subset in sorted(subsets):
            for seed in config["seeds"]:
                for fold in config["folds"]:
                    add(Training(method, subset, seed, fold))
    return found


def hours_by_method(config: dict, measured: Iterable[StepTime]) -> list[Estimate] | None:
    """Hours of each method's trainings; None when nothing was measured that says anything about them."""
    measured = list(measured)
    estimates = []
    jobs = trainings(config)
    for method in dict.fromkeys(job.method for job in jobs):
        recipe = config["recipes"][method]
        time = step_time(method, recipe, measured)
        if time is None:
            return None
        count = sum(job.method == method for job in jobs)
        hours = tuple(count * seconds * steps(config) / 3600 for seconds in time.seconds)
        estimates.append(Estimate(method, count, 2 if recipe["teacher"] else 1, hours, time.source))
    return estimates


def steps(config: dict) -> int:
    """Training steps of one network."""
    budget = config["budget_settings"]
    return budget["epochs"] * budget["steps_per_epoch"]


def wall_hours(config: dict, estimates: list[Estimate], gpus: int) -> tuple[float, float, float]:
    """Time until the last training ends on so many GPUs, each training starting as soon as its teacher is there."""
    jobs = trainings(config)
    by_method = {estimate.method: estimate for estimate in estimates}

    def finish(which: int) -> float:
        free = [0.0] * gpus
        done: dict[Training, float] = {}
        for job, teacher in jobs.items():
            start = max(heapq.heappop(free), done.get(teacher, 0.0))
            estimate = by_method[job.method]
            done[job] = start + estimate.hours[which] / estimate.trainings
            heapq.heappush(free, done[job])
        return max(done.values())

    return finish(0), finish(1), finish(2)


def disk_gb(config: dict, cases: int | None) -> dict[str, float | None]:
    """Gigabytes by what takes them: preprocessed arrays (noise hardly compresses), models, states, predictions.

    The states of a training are deleted when it ends; their number is that of the trainings that run at a time,
    so they are given for one.
    """
    jobs, budget = trainings(config), config["budget_settings"]
    weights = parameters(budget["features"], config["backbone"]) * 4 / 1e9
    joint = any(kind_of(config["recipes"][job.method]) == "joint" for job in jobs)
    spacing = budget["spacing"] or [1, 1, 1]
    voxels = BRAIN_BOX_MM3 / (spacing[0] * spacing[1] * spacing[2])
    share = config["split"]["test_fraction"] or 1 / config["split"]["folds"]
    predicted = sum(len(scored_subsets(config, method)) for method in config["methods"])
    predicted *= len(config["seeds"]) * len(config["folds"])
    # Two states are kept of each training, with weights and momentum of every network in it.
    return {
        "preprocessed data": None if cases is None else cases * (1 - config["split"]["test_fraction"]) * voxels * 17e-9,
        "trained networks": len(jobs) * weights,
        "states, each running training": 2 * 2 * weights * (2 if joint else 1),
        "predictions": None if cases is None else predicted * cases * share * PREDICTION_MB / 1e3,
    }


def parameters(features: list[int] | None, backbone: str) -> int:
    """Weights of nnU-Net's network for four modalities and three regions.

    Args:
        features: of each stage; None for nnU-Net's own six.
        backbone: plain (two convolutions a stage), or a residual-encoder preset.
    """
    features = features or [32, 64, 128, 256, 320, 320]
    total, before = 0, 4
    blocks = [1, 3, 4, 6, 6, 6, 6, 6][: len(features)]
    if backbone != "plain":
        total += _convolution(4, features[0])  # the stem
        before = features[0]
    for stage, width in enumerate(features):
        if backbone == "plain":
            total += _convolution(before, width) + _convolution(width, width)
        else:
            total += _convolution(before, width) + (2 * blocks[stage] - 1) * _convolution(width, width)
            total += before * width + 2 * width if before != width else 0  # the shortcut's 1 × 1 × 1
        before = width
    for width, below in zip(features[-2::-1], features[:0:-1], strict=True):
        total += 8 * below * width + width  # transposed convolution
        total += _convolution(2 * width, width)
        total += _convolution(width, width) if backbone == "plain" else 0
        total += 3 * width + 3  # segmentation head
    return total


def _convolution(inputs: int, outputs: int) -> int:
    """3 × 3 × 3 with bias, and its normalisation."""
    return 27 * inputs * outputs + outputs + 2 * outputs


def count_cases(config: dict, results: Path) -> int | None:
    """Cases of the experiment's training cohort, as far as they can be counted without reading them."""
    table = results / config["experiment"] / "cohort" / "cases.csv"
    if table.is_file():
        lines = table.read_text(encoding="utf-8").splitlines()[1:]
        return sum(line.startswith(f"{config['cohorts'][0]},") for line in lines)
    if config["brats"] is None:
        return config["phantom"]["cases"]
    if config["brats"] == ".":  # a paper whose data are not there yet
        return None
    path = Path(config["brats"])
    if path.is_file():
        return len(path.read_text(encoding="utf-8").splitlines()) - 1
    files = [file for file in path.rglob("*.nii*") if "seg" in file.name.lower() or file.parent.name == "labelsTr"]
    return len(files) or None
