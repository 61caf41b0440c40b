"""A training that was cut off anywhere ends, after the same command again, in the bits of one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nnunetv2.training.dataloading import data_loader

from crossmodal.nnunet.export import read_manifest
from crossmodal.train import job as training
from crossmodal.train import state as states
from crossmodal.train.distillation import DistillationTrainer
from tests.conftest import tiny_budget
from tests.train.interrupted import SHORT, Killed, cut_off_at, progress, run, save_after_each_step
from tests.train.trainings import recipe_of, trained

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
    save_after_each_step(monkeypatch)
    again = {"method": method, "modalities": METHODS[method], "dataset": tiny_dataset, "out": tmp_path / "m"}
    for function, call in (("train_step", 5), ("validation_step", 2)):
        put_back = cut_off_at(monkeypatch, DistillationTrainer, function, call)
        with pytest.raises(Killed):
            run(**again, teacher=teacher)
        put_back()
    assert run(**again, teacher=teacher) == expected
    # Killed in step 5 (of epoch 2), then in the second validation from there: that of epoch 3, after step 9.
    assert [int(row["resumed_from"]) for row in progress(tmp_path / "m")] == [0, 4, 9]


@pytest.mark.parametrize(
    ("owner", "function", "call"),
    [
        (DistillationTrainer, "train_step", 1),  # before the first state
        (states, "atomic_path", 2),  # a state is about to be written
        (DistillationTrainer, "on_epoch_end", 1),
        (training, "write_checkpoint", 1),
        (training, "write_manifest", 1),
        (states, "remove_states", 1),  # everything is there, and the states as well
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_kill_at_an_awkward_moment(
    owner, function, call, uninterrupted, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = uninterrupted("choi2023")
    save_after_each_step(monkeypatch)
    put_back = cut_off_at(monkeypatch, owner, function, call)
    with pytest.raises(Killed):
        run("choi2023", "t1ce+flair", tiny_dataset, tmp_path / "m")
    put_back()
    assert run("choi2023", "t1ce+flair", tiny_dataset, tmp_path / "m") == expected


@pytest.mark.parametrize("name", [states.NEWEST, states.NEXT])
def test_a_kill_between_the_renames_of_a_state(
    name: str, uninterrupted, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = uninterrupted("choi2023")
    rename, renamed = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        renamed.append(self.name)
        if renamed.count(name) == 3:
            raise Killed
        return rename(self, target)

    save_after_each_step(monkeypatch)
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(Killed):
        run("choi2023", "t1ce+flair", tiny_dataset, tmp_path / "m")
    monkeypatch.setattr(Path, "replace", rename)
    assert run("choi2023", "t1ce+flair", tiny_dataset, tmp_path / "m") == expected
    assert int(progress(tmp_path / "m")[-1]["resumed_from"]) == 3


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
    hourly = {"save_every_minutes": 60}  # no state by time: what is saved is saved for the signal
    if number == signal.SIGTERM:
        with pytest.raises(SystemExit) as stopped:
            run("choi2023", "t1ce+flair", tiny_dataset, tmp_path / "m", **hourly)
        assert stopped.value.code == 128 + number
        saved_at = calls[1] + (1 if function == "train_step" else 0)
        monkeypatch.setattr(DistillationTrainer, function, original)
    assert run("choi2023", "t1ce+flair", tiny_dataset, tmp_path / "m", **hourly) == expected
    assert saved_after == [2]  # within the step or validation batch in which the signal came
    if number == signal.SIGTERM:
        assert int(progress(tmp_path / "m")[-1]["resumed_from"]) == saved_at
    assert signal.getsignal(number) == handler  # the library gives signals back


def test_epochs_trained_after_the_last_state_lose_their_rows(
    uninterrupted, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = uninterrupted("student")
    save, saves = states.save_state, []
    monkeypatch.setattr(states, "save_state", lambda *args: None if saves else saves.append(save(*args)))
    save_after_each_step(monkeypatch)
    put_back = cut_off_at(monkeypatch, DistillationTrainer, "train_step", 8)
    with pytest.raises(Killed):
        run("student", "t2", tiny_dataset, tmp_path / "m")
    put_back()
    assert [row["epoch"] for row in progress(tmp_path / "m")] == ["1", "2"]  # and the state is of step 1
    assert run("student", "t2", tiny_dataset, tmp_path / "m") == expected
    assert [row["resumed_from"] for row in progress(tmp_path / "m")] == ["1", "1", "1"]


def test_a_finished_training_is_left_alone(uninterrupted, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, teacher = uninterrupted("romero2015")
    checkpoint = teacher / "fold_0" / "checkpoint_final.pth"
    before = checkpoint.stat().st_mtime_ns
    cut_off_at(monkeypatch, DistillationTrainer, "train_step", 1)
    retitled = recipe_of("teacher", title="Another title", source="another citation")
    run("teacher", "t1+t1ce+t2+flair", tiny_dataset, teacher, recipe=retitled)
    assert checkpoint.stat().st_mtime_ns == before


def test_states_and_checkpoints_hold_nothing_that_must_be_unpickled(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_after_each_step(monkeypatch)
    put_back = cut_off_at(monkeypatch, DistillationTrainer, "train_step", 5)
    recipe = recipe_of("romero2015", teacher__trained="jointly")
    with pytest.raises(Killed):
        run("joint", "t1ce+flair", tiny_dataset, tmp_path / "m", recipe=recipe)
    put_back()
    state, messages = states.load_state(tmp_path / "m" / "fold_0" / "state")
    assert not messages and state["epoch"] == 1 and state["step_in_epoch"] == 1
    assert {"student", "term.0", "teacher"} == set(state["networks"])
    assert {"python", "numpy", "torch", "cuda"} == set(state["random"])
    trained("joint", "t1ce+flair", tiny_dataset, tmp_path / "m", recipe=recipe, **SHORT)
    torch.load(tmp_path / "m" / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert not (tmp_path / "m" / "fold_0" / "state").exists()


def test_deterministic_kernels_change_no_bit_on_a_cpu_and_the_process_stays_as_it_was(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    def process() -> tuple:
        return dict(os.environ), data_loader.threadpool_limits, torch.get_deterministic_debug_mode()

    before, weights = process(), []
    for deterministic in (False, True):
        out = tmp_path / f"deterministic-{deterministic}"
        job = training.TrainingJob(
            "choi2023", recipe_of("choi2023"), "t2", 0, 0, tiny_budget(), tiny_dataset, out, None, deterministic
        )
        training.train(job, torch.device("cpu"))
        assert process() == before
        manifest = read_manifest(out / "fold_0" / "manifest.json")
        assert manifest.get("deterministic", False) == deterministic
        weights.append(manifest["weights_sha256"])
    assert weights[0] == weights[1]


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
