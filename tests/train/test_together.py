"""Students that are trained side by side become what each becomes by itself, whatever interrupts them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from crossmodal.device import free_memory
from crossmodal.distill import features as taps
from crossmodal.errors import UserError
from crossmodal.train import job as training
from crossmodal.train import state as states
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.train.job import TrainingJob, train_together
from tests.conftest import tiny_budget
from tests.train.trainings import (
    SHORT,
    Killed,
    cut_off_at,
    outcome,
    recipe_of,
    resumed_from,
    run,
    save_after_each_step,
    trained,
)

SUBSETS = ("t2", "t1ce+flair", "t1")


class Group:
    """The students of one method, by themselves and side by side, with the teacher that they share."""

    def __init__(self, method: str, dataset: Path, folder: Path) -> None:
        self.method, self.dataset, self.folder = method, dataset, folder
        self.recipe = recipe_of(method)
        self.needed = self.recipe.teacher_before(SUBSETS[0])
        if self.needed:
            trained(*self.needed, dataset, folder / "teacher", **SHORT)
        self.alone = {
            subset: run(method, subset, dataset, folder / "alone" / subset, teacher=self.teacher) for subset in SUBSETS
        }

    @property
    def teacher(self) -> Path | None:
        return self.folder / "teacher" if self.needed else None

    def train(self, out: Path, **budget: Any) -> dict[str, dict]:
        settings = tiny_budget(**(SHORT | budget))
        jobs = [
            TrainingJob(self.method, self.recipe, subset, 0, 0, settings, self.dataset, out / subset, self.teacher)
            for subset in SUBSETS
        ]
        train_together(jobs, torch.device("cpu"))
        return {subset: outcome(out / subset) for subset in SUBSETS}


@pytest.fixture(scope="module")
def group_of(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory):
    folder, groups = tmp_path_factory.mktemp("groups"), {}

    def of(method: str) -> Group:
        if method not in groups:
            groups[method] = Group(method, tiny_dataset, folder / method)
        return groups[method]

    return of


# A frozen teacher's features and logits, a learning teacher of each student's own, learnt projections, no teacher.
@pytest.mark.parametrize("method", ["choi2023_two_stage", "hinton2015", "choi2023", "romero2015", "student"])
def test_each_student_is_the_one_that_is_trained_by_itself(method: str, group_of, tmp_path: Path) -> None:
    group = group_of(method)
    assert group.train(tmp_path) == group.alone
    assert not list(tmp_path.rglob("state"))


def test_workers_that_load_serve_all_students(group_of, tiny_dataset: Path, tmp_path: Path) -> None:
    group = group_of("hinton2015")
    found = group.train(tmp_path / "together", loader_workers=2)
    workers = {"teacher": group.teacher, "loader_workers": 2}
    assert found["t1"] == run("hinton2015", "t1", tiny_dataset, tmp_path / "alone", **workers)


def test_a_batch_is_loaded_and_the_teacher_asked_once_for_all_students(
    group_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, forward, frozen, loaded = group_of("hinton2015"), taps.forward, [], []

    def counted(module, images, skip):
        if not any(weight.requires_grad for weight in module.parameters()):
            frozen.append(1)
        return forward(module, images, skip)

    loaders = DistillationTrainer.get_dataloaders
    monkeypatch.setattr(taps, "forward", counted)
    monkeypatch.setattr(DistillationTrainer, "get_dataloaders", lambda self: loaded.append(1) or loaders(self))
    group.train(tmp_path)
    assert len(frozen) == 9 and len(loaded) == 1


@pytest.mark.parametrize(
    ("owner", "function", "call"),
    [
        (DistillationTrainer, "train_step", 11),  # the second student, in step 4
        (DistillationTrainer, "validation_step", 5),
        (states, "save_state", 5),  # two of three states are of step 1, and one of step 2
        (states, "save_state", 11),
        (DistillationTrainer, "on_epoch_end", 2),
        (training, "write_checkpoint", 2),  # one student is finished
        (training, "write_manifest", 3),
        (states, "remove_states", 2),
    ],
    ids=lambda value: value if isinstance(value, str | int) else None,
)
def test_a_kill_at_any_moment(owner, function, call, group_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = group_of("choi2023_two_stage")
    save_after_each_step(monkeypatch)
    undo = cut_off_at(monkeypatch, owner, function, call)
    with pytest.raises(Killed):
        group.train(tmp_path)
    undo()
    assert group.train(tmp_path) == group.alone
    assert not list(tmp_path.rglob("state"))


def test_a_student_goes_on_by_itself_and_the_others_without_it(
    group_of, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = group_of("hinton2015")
    save_after_each_step(monkeypatch)
    undo = cut_off_at(monkeypatch, DistillationTrainer, "train_step", 14)
    with pytest.raises(Killed):
        group.train(tmp_path)
    undo()
    assert run("hinton2015", "t1", tiny_dataset, tmp_path / "t1", teacher=group.teacher) == group.alone["t1"]
    assert resumed_from(tmp_path / "t1") == [0, 4, 4]
    assert group.train(tmp_path) == group.alone


def test_networks_of_a_job_that_fails_are_had_again_without_training(
    group_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snakemake deletes the outputs of such a job; states lie outside of them."""
    group = group_of("hinton2015")
    undo = cut_off_at(monkeypatch, states, "remove_states", 1)
    with pytest.raises(Killed):
        group.train(tmp_path)
    undo()
    for name in ("manifest.json", "checkpoint_final.pth"):
        for path in tmp_path.rglob(name):
            path.unlink()
    cut_off_at(monkeypatch, DistillationTrainer, "train_step", 1)
    assert group.train(tmp_path) == group.alone


def test_one_spoilt_student_does_not_stop_the_others(group_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group, step = group_of("hinton2015"), DistillationTrainer.train_step

    def spoil(self: DistillationTrainer, batch: dict) -> dict:
        output = step(self, batch)
        return output | {"loss": float("nan")} if self.name == "t2" and self.position == (1, 1) else output

    monkeypatch.setattr(DistillationTrainer, "train_step", spoil)
    with pytest.raises(UserError, match=r"t2/fold_0: the loss is not a number after step 5"):
        group.train(tmp_path)
    assert not (tmp_path / "t2" / "fold_0" / "manifest.json").exists()
    for subset in ("t1", "t1ce+flair"):
        found = outcome(tmp_path / subset)
        assert found["files"].pop(found["files"].index("state"))
        assert found == group.alone[subset]
    monkeypatch.setattr(DistillationTrainer, "train_step", step)
    assert group.train(tmp_path) == group.alone


def test_students_that_memory_does_not_hold_at_once_take_turns(
    group_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    group = group_of("hinton2015")
    one_more = training.student_bytes(tiny_budget(**SHORT), "plain", group.recipe)
    needed = tiny_budget(**SHORT).memory_gb * 1e9
    monkeypatch.setattr(training, "free_memory", lambda _device: needed + 1.5 * one_more)
    assert group.train(tmp_path) == group.alone
    assert "3 students are trained 2 at a time" in capsys.readouterr().err


def test_a_batch_jobs_limit_is_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_memory(torch.device("cpu"))
    assert 10**8 < free < 10**14
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "64")
    assert free_memory(torch.device("cpu")) == 64 * 2**20


def test_a_student_that_is_asked_for_twice_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    one = TrainingJob("student", recipe_of("student"), "t1", 0, 0, tiny_budget(), tiny_dataset, tmp_path / "m")
    with pytest.raises(UserError, match="is being trained by"):
        train_together([one, one], torch.device("cpu"))
