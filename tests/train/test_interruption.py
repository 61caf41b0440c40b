"""A training that was cut off anywhere ends, after the same command again, in the bits of one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nnunetv2.training.dataloading import data_loader

from crossmodal.train import job as training
from crossmodal.train import state as states
from crossmodal.train.distillation import DistillationTrainer
from tests.train.trainings import cut_off_at, cut_off_run, progress, recipe_of, resumed_from, run, trained

# One for each kind of thing that a state must hold: a learning teacher and its correlation matrices, a student
# alone, a frozen teacher that reads labels, a learnt projection, modalities dropped at random by step.
METHODS = {
    "choi2023": "t1ce+flair",
    "student": "t2",
    "dong2025": "t1ce+flair",
    "romero2015": "t1ce+flair",
    "modality_dropout": "t1+t1ce+t2+flair",
}


@pytest.fixture(scope="module")
def uninterrupted(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory):
    """Outcome of each method's training in one go, made when it is first asked for; and its teacher's folder."""
    folder, outcomes = tmp_path_factory.mktemp("uninterrupted"), {}

    def of(method: str) -> tuple[dict, Path | None]:
        if method not in outcomes:
            outcomes[method] = run(method, METHODS[method], tiny_dataset, folder / method)
        teacher = folder / f"{method}-teacher"
        return outcomes[method], teacher if teacher.exists() else None

    return of


@pytest.mark.parametrize("method", METHODS)
def test_each_method_goes_on_after_kills_within_an_epoch_and_within_validation(
    method: str, uninterrupted, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, teacher = uninterrupted(method)
    again = (method, METHODS[method], tiny_dataset, tmp_path / "m")
    for function, call in (("train_step", 5), ("validation_step", 2)):
        cut_off_run(monkeypatch, DistillationTrainer, function, call, *again, teacher=teacher)
    assert run(*again, teacher=teacher) == expected
    # Killed in step 5 (of epoch 2), then in the second validation from there: that of epoch 3, after step 9.
    assert resumed_from(tmp_path / "m") == [0, 4, 9]
    assert not (tmp_path / "m" / "fold_0" / "state").exists()


@pytest.mark.parametrize(
    ("owner", "function", "call", "resumed"),
    [
        (DistillationTrainer, "train_step", 1, [0, 0, 0]),  # before the first state
        (states, "atomic_path", 2, [1, 1, 1]),  # a state is about to be written
        # Renames 1 to 3 are of the lock's holder and both plans; 4 and 5 of the first state; 6 makes the next.
        (Path, "replace", 7, [1, 1, 1]),  # the newest is about to become the one before
        (Path, "replace", 8, [2, 2, 2]),  # there is no newest, but the next
        (DistillationTrainer, "on_epoch_end", 1, [3, 3, 3]),
        (training, "write_checkpoint", 1, [0, 0, 0]),
        (training, "write_manifest", 1, [0, 0, 0]),
        (states, "remove_states", 1, [0, 0, 0]),  # everything is there, and the states as well
    ],
    ids=lambda value: value if isinstance(value, str | int) else None,
)
def test_a_kill_at_an_awkward_moment(
    owner, function, call, resumed, uninterrupted, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = uninterrupted("choi2023")
    choi = ("choi2023", METHODS["choi2023"], tiny_dataset, tmp_path / "m")
    cut_off_run(monkeypatch, owner, function, call, *choi)
    assert run(*choi) == expected
    assert resumed_from(tmp_path / "m") == resumed


@pytest.mark.parametrize("function", ["train_step", "validation_step"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_acted_on_within_a_step(
    function: str, number: int, uninterrupted, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = uninterrupted("choi2023")
    original, calls, saved_after = getattr(DistillationTrainer, function), [], []

    def signalled(self, batch):
        if len(calls) == 1:
            os.kill(os.getpid(), number)
        calls.append(self._steps_done())
        return original(self, batch)

    save = states.save_state
    monkeypatch.setattr(DistillationTrainer, function, signalled)
    monkeypatch.setattr(states, "save_state", lambda *args: saved_after.append(len(calls)) or save(*args))
    handler = signal.getsignal(number)
    choi = ("choi2023", METHODS["choi2023"], tiny_dataset, tmp_path / "m")
    hourly = {"save_every_minutes": 60}  # no state by time: what is saved is saved for the signal
    saved_at = 0
    if number == signal.SIGTERM:
        with pytest.raises(SystemExit) as stopped:
            run(*choi, **hourly)
        assert stopped.value.code == 128 + number
        saved_at = calls[1] + (1 if function == "train_step" else 0)
        monkeypatch.setattr(DistillationTrainer, function, original)
    assert run(*choi, **hourly) == expected
    assert saved_after == [2]  # within the step or validation batch in which the signal came
    assert resumed_from(tmp_path / "m")[-1] == saved_at
    assert signal.getsignal(number) == handler  # the library gives signals back


def test_epochs_trained_after_the_last_state_lose_their_rows(
    uninterrupted, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = uninterrupted("student")
    save, saves = states.save_state, []
    monkeypatch.setattr(states, "save_state", lambda *args: None if saves else saves.append(save(*args)))
    student = ("student", METHODS["student"], tiny_dataset, tmp_path / "m")
    cut_off_run(monkeypatch, DistillationTrainer, "train_step", 8, *student)
    assert [row["epoch"] for row in progress(tmp_path / "m")] == ["1", "2"]  # and the state is of step 1
    assert run(*student) == expected
    assert resumed_from(tmp_path / "m") == [1, 1, 1]


def test_a_finished_training_is_left_alone(uninterrupted, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, teacher = uninterrupted("romero2015")
    checkpoint = teacher / "fold_0" / "checkpoint_final.pth"
    before = checkpoint.stat().st_mtime_ns
    cut_off_at(monkeypatch, DistillationTrainer, "train_step", 1)
    retitled = recipe_of("teacher", title="Another title", source="another citation")
    run("teacher", "t1+t1ce+t2+flair", tiny_dataset, teacher, recipe=retitled)
    assert checkpoint.stat().st_mtime_ns == before


def test_deterministic_kernels_change_no_bit_on_a_cpu_and_the_process_stays_as_it_was(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    def process() -> tuple:
        return dict(os.environ), data_loader.threadpool_limits, torch.get_deterministic_debug_mode()

    before, manifests = process(), []
    for deterministic in (False, True):
        out = tmp_path / f"deterministic-{deterministic}"
        manifests.append(trained("choi2023", "t2", tiny_dataset, out, deterministic=deterministic))
        assert process() == before
    assert manifests[1] == manifests[0] | {"deterministic": True}


POOL = """
from multiprocessing import Process
from time import sleep
from crossmodal import cli
def command():
    worker = Process(target=sleep, args=(60,))
    worker.start()
    worker.terminate()
    worker.join(20)
    print(worker.exitcode)
    worker.kill()
cli.app = command
cli.main()
"""


def test_a_shell_that_ignores_term_does_not_make_a_command_ignore_it():
    """A pool ends its processes by TERM: nnU-Net's planning hung in Slurm jobs, whose shells ignore it."""
    shell = ["bash", "-c", 'trap "" TERM; "$@"', "bash", sys.executable, "-c", POOL]
    ended = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == str(-signal.SIGTERM)
