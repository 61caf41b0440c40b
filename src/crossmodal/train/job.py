"""Training one network of an experiment: from a dataset and a recipe to a stock nnU-Net model folder."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossmodal.cost.network import student_bytes
from crossmodal.device import fix_arithmetic, free_memory, resolved_precision
from crossmodal.differences import differences, refuse_other
from crossmodal.domain import ALL, parse_subset, subset_name
from crossmodal.errors import UserError
from crossmodal.experiment.budget import Budget
from crossmodal.experiment.recipe import NOT_IDENTIFYING, Recipe
from crossmodal.files import atomic_path, only_process, sha256_of, write_json
from crossmodal.nnunet.dataset import read_dataset
from crossmodal.nnunet.export import read_checkpoint, read_manifest, write_checkpoint, write_cost, write_manifest
from crossmodal.nnunet.plans import CONFIGURATION, subset_plans
from crossmodal.progress import say
from crossmodal.train import state as states
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.train.initial import InitialWeights, read_initial
from crossmodal.train.loop import TrainingLoop
from crossmodal.train.networks import FrozenNetwork
from crossmodal.train.reproducibility import plain
from crossmodal.train.saving import NotFiniteError

# Parts of a budget that change neither the weights nor the batches.
ASIDE = ("title", "memory_gb", "runtime_hours", "save_every_minutes", "loader_workers")


@dataclass
class TrainingJob:
    """What is to be trained.

    Attributes:
        method: name of the recipe.
        recipe: the recipe, with overrides.
        modalities: the student's subset.
        fold, seed: of this training.
        budget: how much training, and which network.
        dataset: the experiment's nnunet/ folder.
        out: the model folder.
        teacher: model folder of a teacher trained beforehand, or None.
        deterministic: the same bits every time on a GPU too.
        replace: train anew where the folder holds a network of other settings, and do not refuse.
    """

    method: str
    recipe: Recipe
    modalities: str
    fold: int
    seed: int
    budget: Budget
    dataset: Path
    out: Path
    teacher: Path | None = None
    deterministic: bool = False
    replace: bool = False

    @property
    def folder(self) -> Path:
        """The fold's folder in the model folder."""
        return self.out / f"fold_{self.fold}"


Students = list[tuple[TrainingJob, dict]]  # each with its identity


def train(job: TrainingJob, device: torch.device) -> None:
    """Train, or go on with, one network; does nothing when it is already there.

    Args:
        job: what is to be trained.
        device: where to train.

    Raises:
        UserError: the job does not fit its dataset, teacher, initial weights or an earlier training in its folder; data
            cannot be read, files cannot be written, or the loss is not a number. Nothing half-written stays under a
            final name.
        SystemExit: a signal asked to stop; the state is saved.
    """
    train_together([job], device)


def train_together(jobs: Sequence[TrainingJob], device: torch.device) -> None:
    """Train several students on the same batches, beside one forward pass of the teacher that they share.

    The weights of each are those of `train`, and so are its files: either goes on with what the other began. Students
    that are there already are left out.

    Args:
        jobs: alike but for `modalities`, `teacher` and `out`.
        device: where to train.

    Raises:
        UserError: as `train`; where the loss of one student is not a number, the others are finished first.
        SystemExit: a signal asked to stop; the states are saved.
    """
    jobs = [_resolved(job, device) for job in jobs]
    first = jobs[0]
    read = cache(read_checkpoint)  # students may have one teacher
    teachers = {job.modalities: _read_teacher(job, read) for job in jobs}
    dataset = read_dataset(first.dataset)
    manifest = dataset[2]
    remedy = "Train with the budget that the dataset was built with, or build the dataset for this one."
    refuse_other(manifest["budget"], first.budget.dataset_fields(), first.dataset, remedy)
    initial = {job.modalities: read_initial(job.recipe, job.fold, job.modalities, dataset[0]) for job in jobs}
    with ExitStack() as stack:
        for job in jobs:
            stack.enter_context(only_process(job.folder, job.folder / ".lock", "trained"))
        stack.enter_context(fix_arithmetic(device, first.deterministic))
        todo: Students = []
        for job in jobs:
            identity = _identity(job, manifest, teachers[job.modalities], initial[job.modalities])
            if _finished(job, identity):
                say(f"{job.folder}: already trained")
            else:
                todo.append((job, identity))
        faults = []
        for turn in _turns(todo, manifest["backbone"], device):
            faults += _train_turn(turn, teachers, initial, dataset, device, keep_states=len(jobs) > 1)
        if faults:
            raise UserError("\n".join(map(str, faults)))
        for job in jobs:
            states.remove_states(job.folder / "state")


def _resolved(job: TrainingJob, device: torch.device) -> TrainingJob:
    """With the precision of this machine, and its subset written in the one order."""
    budget = job.budget.replaced(precision=resolved_precision(job.budget.precision, device.type))
    return replace(job, modalities=subset_name(parse_subset(job.modalities)), budget=budget)


def _turns(todo: Students, backbone: str, device: torch.device) -> list[Students]:
    """The students in one turn or several, each as large as memory allows."""
    if len(todo) < 2:
        return [todo] if todo else []
    job, free = todo[0][0], free_memory(device)
    # Of main memory, a training by itself takes what its budget asks for; of a GPU's, at most half is left to it.
    left = free - job.budget.memory_gb * 1e9 if device.type == "cpu" else free / 2
    size = max(1, 1 + int(left // student_bytes(job.budget, backbone, job.recipe)))
    if size < len(todo):
        say(f"{free / 1e9:.1f} GB of memory are free: {len(todo)} students are trained {size} at a time")
    return [todo[start : start + size] for start in range(0, len(todo), size)]


def _train_turn(
    turn: Students, teachers: dict, initial: dict, dataset: tuple, device: torch.device, keep_states: bool
) -> list[NotFiniteError]:
    """Train students side by side and write what they became; returns what is wrong with those that were set aside.

    Where states are kept, a job that fails or is killed later gives each of these networks again without training:
    Snakemake deletes the files of a job that did not finish.
    """
    plans, dataset_json, _ = dataset
    frozen: dict[Path, FrozenNetwork] = {}
    trainers: dict[DistillationTrainer, tuple[TrainingJob, dict]] = {}
    for job, identity in turn:
        settings = {
            "method": job.method,
            "recipe": job.recipe.plain(),
            "modalities": job.modalities,
            "seed": job.seed,
            "budget": job.budget.plain(),
            "dataset": str(job.dataset),
        }
        trainer = DistillationTrainer(plans | {"distillation": settings}, CONFIGURATION, job.fold, dataset_json, device)
        trainer.open_output(job.out, identity)
        trainer.initialize()
        if start := initial[job.modalities]:
            start.copy_into(trainer.network)
        if job.teacher is not None:
            if job.teacher not in frozen:
                weights, trained = teachers[job.modalities]
                recipe = Recipe.parse(trained["recipe"], str(job.teacher))
                frozen[job.teacher] = trainer.frozen(weights, parse_subset(trained["modalities"]), recipe)
            trainer.teacher = frozen[job.teacher]
        resolved = {key: value for key, value in identity.items() if key not in ("fold", "teacher_sha256")}
        own_plans, own_json = subset_plans(plans, dataset_json, parse_subset(job.modalities))
        write_json(job.out / "plans.json", own_plans | {"distillation": resolved | {"recipe": job.recipe.plain()}})
        write_json(job.out / "dataset.json", own_json)
        trainers[trainer] = job, identity
    loop = TrainingLoop(list(trainers))
    faults = loop.run()
    for trainer in loop.trainers:
        if keep_states:
            trainer.save_state()
        job, identity = trainers[trainer]
        _write_results(job, trainer, plans, dataset_json, identity, len(turn))
    return faults


def _read_teacher(job: TrainingJob, read: Callable[[Path, int], dict]) -> tuple[dict, dict] | None:
    """Weights and manifest of the teacher that was trained beforehand, if the method needs one."""
    if job.recipe.modalities != "given" and job.modalities != ALL:
        raise UserError(f"the method '{job.method}' is trained on {ALL} only, not on {job.modalities}")
    needs = job.recipe.teacher_before(job.modalities)
    if needs and job.teacher is None:
        raise UserError(
            f"the method '{job.method}' needs a teacher that was trained beforehand: give --teacher with the model "
            f"folder of '{needs[0]}' on {needs[1]}"
        )
    if job.teacher is None:
        return None
    if not needs:
        raise UserError(f"the method '{job.method}' takes no --teacher")
    weights = read(job.teacher, job.fold)["network_weights"]
    manifest = read_manifest(job.teacher / f"fold_{job.fold}" / "manifest.json")
    for key, wanted in zip(("method", "modalities", "fold"), (*needs, job.fold), strict=True):
        if manifest[key] != wanted:
            raise UserError(f"{job.teacher}: --teacher should be of {key} {wanted}, and this is of {manifest[key]}")
    return weights, manifest


def _identity(
    job: TrainingJob, manifest: dict, teacher: tuple[dict, dict] | None, initial: InitialWeights | None
) -> dict[str, Any]:
    optional = {"deterministic": True} if job.deterministic else {}
    optional |= {"init_sha256": initial.sha256} if initial else {}
    budget = {key: value for key, value in job.budget.plain().items() if key not in ASIDE}
    # On the device each batch has a stream of its own, whoever loads it.
    one_stream = job.budget.loader_workers == 0 and job.budget.augment_on == "loader"
    return {
        "method": job.method,
        "recipe": job.recipe.training_fields(),
        "recipe_sha256": sha256_of(job.recipe.training_fields()),
        "modalities": job.modalities,
        "seed": job.seed,
        "fold": job.fold,
        "budget": budget | {"loads_in_process": one_stream},
        "backbone": manifest["backbone"],
        "dataset_sha256": manifest["dataset_sha256"],
        "teacher_sha256": teacher[1]["weights_sha256"] if teacher else None,
    } | optional


def _finished(job: TrainingJob, identity: dict) -> bool:
    manifest, checkpoint = job.folder / "manifest.json", job.folder / "checkpoint_final.pth"
    if not (manifest.is_file() and checkpoint.is_file()):
        return False
    found = read_manifest(manifest)
    found.pop("weights_sha256")
    found["recipe"] = {key: value for key, value in found["recipe"].items() if key not in NOT_IDENTIFYING}
    if job.replace and differences(found, identity):
        say(f"{job.folder}: holds a network of other settings, which is trained anew")
        for path in (manifest, checkpoint):
            path.unlink()
        return False
    refuse_other(found, identity, job.folder, f"To train it anew, delete {job.folder}; or use another --out.")
    return True


def _write_results(
    job: TrainingJob, trainer: DistillationTrainer, plans: dict, dataset_json: dict, identity: dict, students: int
) -> None:
    folder = trainer.folder
    plans, dataset_json = subset_plans(plans, dataset_json, parse_subset(job.modalities))
    if trainer.correlations:
        with atomic_path(folder / "correlation.npz") as temporary:
            np.savez_compressed(temporary, **{name: matrix.numpy() for name, matrix in trainer.correlations.items()})
    seconds, steps = trainer.train_seconds, trainer.step_seconds
    write_cost(folder / "cost.json", job.method, job.modalities, trainer.device, seconds, steps, students)
    write_checkpoint(
        folder / "checkpoint_final.pth",
        trainer.network,
        plans,
        dataset_json,
        job.fold,
        trainer.current_epoch,
        trainer.inference_allowed_mirroring_axes if job.budget.mirroring else None,
        plain(trainer.logger.get_checkpoint()),
    )
    write_manifest(folder / "manifest.json", identity | {"recipe": job.recipe.plain()}, trainer.network)
