"""What an experiment costs before it is submitted: GPU hours by method, wall time, disk.

Times come from steps of the same network (`step_times`, `published`); the trainings follow from the config. Waiting in
a queue, preprocessing, prediction and scoring are not in the hours.
"""

import heapq
from dataclasses import dataclass
from pathlib import Path

import yaml

from crossmodal.cost.network import parameters
from crossmodal.cost.step_times import StepTime, step_time, together
from crossmodal.errors import UserError
from crossmodal.experiment.config import Resolved, resolve
from crossmodal.experiment.layout import CASES, Training
from crossmodal.experiment.runs import predictions, students_of_jobs, training_jobs, trainings
from crossmodal.experiment.validation import read_yaml

NOT_THERE_YET = "."  # stands for the folder of a paper's data that nobody has given yet
# nnU-Net crops to a box around the brain: mean of three BraTS 2021 cases (3.1 to 4.3).
BRAIN_BOX_MM3 = 3.6e6
PREDICTION_MB = 0.1  # a compressed segmentation; those of smoke networks reach 0.5


@dataclass(frozen=True)
class Estimate:
    """Hours of one method's trainings, as (lowest, middle, highest), and how they were found."""

    method: str
    trainings: int
    hours: tuple[float, float, float]
    basis: str


def read_config(files: list[Path], changes: list[str]) -> Resolved:
    """The resolved config that Snakemake would see. A paper's data need not be there yet.

    Args:
        files: as for --configfile; config.yaml if there is none.
        changes: as for --config, each "key=value".

    Raises:
        UserError: a file or a change is wrong, as for the workflow.
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
        given["brats"] = NOT_THERE_YET
    return resolve(given)


def _update(config: dict, other: dict) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _update(config[key], value)
        else:
            config[key] = value


def hours_by_method(config: Resolved, known: list[StepTime]) -> list[Estimate]:
    """Hours of each method's trainings.

    Args:
        config: the resolved config.
        known: times of its network on one device, at least one.
    """
    estimates = []
    for method, jobs in students_of_jobs(config).items():
        time = step_time(method, config.recipes[method], known)
        alike = len(config.seeds) * len(config.folds)
        count = alike * sum(map(len, jobs))
        share = alike * sum(len(job) * together(time.kind, len(job)) for job in jobs) / count
        hours = tuple(count * share * seconds * config.budget_settings.steps / 3600 for seconds in time.seconds)
        basis = time.source if share == 1 else f"{time.source}; {share:.2f} of it for students together"
        estimates.append(Estimate(method, count, hours, basis))
    return estimates


def wall_hours(config: Resolved, estimates: list[Estimate], gpus: int) -> tuple[float, float, float]:
    """Hours until the last training ends on so many GPUs, when each job starts as soon as its teachers are trained."""
    by_method = {estimate.method: estimate for estimate in estimates}

    def finish(which: int) -> float:
        free = [0.0] * gpus
        done: dict[Training, float] = {}
        for job, teachers in training_jobs(config).items():
            start = max([heapq.heappop(free), *(done[teacher] for teacher in teachers)])
            estimate = by_method[job[0].method]
            end = start + len(job) * estimate.hours[which] / estimate.trainings
            done |= dict.fromkeys(job, end)
            heapq.heappush(free, end)
        return max(done.values())

    return finish(0), finish(1), finish(2)


def disk_gb(config: Resolved, cases: int | None) -> dict[str, float | None]:
    """Gigabytes of preprocessed arrays (noise hardly compresses), models, states and predictions.

    The states of a job's trainings are deleted when it ends, so they are given for each job that runs.

    Args:
        config: the resolved config.
        cases: of the training cohort; None when unknown.
    """
    jobs, budget, split = trainings(config), config.budget_settings, config.split
    weights = parameters(budget, config.backbone) * 4 / 1e9
    joint = any(config.recipes[job.method].training_kind == "joint" for job in jobs)
    spacing = budget.spacing or [1, 1, 1]
    voxels = BRAIN_BOX_MM3 / (spacing[0] * spacing[1] * spacing[2])
    share = split.test_fraction or 1 / split.folds
    predicted = len(predictions(config)) / len(config.cohorts)
    # Two states are kept of each training, with weights and momentum of every network in it.
    students = max(len(job) for of_method in students_of_jobs(config).values() for job in of_method)
    return {
        "preprocessed data": None if cases is None else cases * (1 - split.test_fraction) * voxels * 17e-9,
        "trained networks": len(jobs) * weights,
        "states, each running job": 2 * 2 * weights * (2 if joint else 1) * students,
        "predictions": None if cases is None else predicted * cases * share * PREDICTION_MB / 1e3,
    }


def count_cases(config: Resolved, results: Path) -> int | None:
    """Cases of the training cohort, if they can be counted without reading them.

    Args:
        config: the resolved config.
        results: folder of experiments, where the cohort may have been read already.
    """
    table = results / config.experiment / CASES
    if table.is_file():
        lines = table.read_text(encoding="utf-8").splitlines()[1:]
        return sum(line.startswith(f"{config.cohorts[0]},") for line in lines)
    if config.brats is None:
        return config.phantom.cases
    if config.brats == NOT_THERE_YET:
        return None
    path = Path(config.brats)
    if path.is_file():
        return len(path.read_text(encoding="utf-8").splitlines()) - 1
    files = [file for file in path.rglob("*.nii*") if "seg" in file.name.lower() or file.parent.name == "labelsTr"]
    return len(files) or None
