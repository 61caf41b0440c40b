"""Batches from worker processes: the same whoever makes them, and no worker outlives its training."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from crossmodal import files
from crossmodal.errors import UserError
from crossmodal.train import state as states
from crossmodal.train.distillation import DistillationTrainer
from tests.conftest import REPOSITORY
from tests.train.trainings import cut_off_run, resumed_from, run

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
LONG = 200  # epochs that no test waits for


def test_batches_do_not_depend_on_the_number_of_workers_nor_on_where_a_training_was_cut_off(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run("choi2023", "t2", tiny_dataset, tmp_path / "one", loader_workers=1)
    in_process = run("choi2023", "t2", tiny_dataset, tmp_path / "none")
    assert in_process["manifest"]["weights_sha256"] != expected["manifest"]["weights_sha256"]  # stock's one stream
    three = ("choi2023", "t2", tiny_dataset, tmp_path / "three")
    for function, call in (("train_step", 5), ("validation_step", 2)):
        cut_off_run(monkeypatch, DistillationTrainer, function, call, *three, loader_workers=3)
    assert run(*three, loader_workers=3) == expected
    assert resumed_from(tmp_path / "three") == [0, 4, 9]


def test_a_worker_that_is_killed_ends_the_training_with_a_message(tiny_dataset: Path, tmp_path: Path) -> None:
    # In a process of its own: torch's handler of SIGCHLD reports a killed worker to whatever the process does next.
    code = (
        "import os, pathlib, signal, sys; from crossmodal.train.distillation import DistillationTrainer\n"
        "from tests.train.test_workers import children_of; from tests.train.trainings import trained\n"
        "step = DistillationTrainer.train_step\n"
        "def kill_workers(self, batch):\n"
        "    for worker in children_of(os.getpid()):\n"
        "        os.kill(worker, signal.SIGKILL)\n"
        "    return step(self, batch)\n"
        "DistillationTrainer.train_step = kill_workers\n"
        "trained('student', 't2', *map(pathlib.Path, sys.argv[1:]), loader_workers=2, steps_per_epoch=60)"
    )
    command = [sys.executable, "-c", code, str(tiny_dataset), str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("crossmodal.errors.UserError")
    assert "a process that loads batches was killed, perhaps for want of memory" in last


@pytest.fixture
def started(tiny_dataset: Path, tmp_path: Path):
    """A function that starts a long training with two workers in a process group of its own, past its first state."""
    running: list[subprocess.Popen] = []
    code = (
        "import pathlib, sys; from crossmodal.train.distillation import DistillationTrainer\n"
        "from crossmodal.train import loop; from tests.train.trainings import trained\n"
        "loop.SAVE_AT_MOST = float('inf')\n"
        f"budget = dict(epochs={LONG}, steps_per_epoch=3, loader_workers=2, save_every_minutes=1e-9)\n"
        "trained('choi2023', 't2', *map(pathlib.Path, sys.argv[1:]), **budget)"
    )

    def start(out: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", code, str(tiny_dataset), str(out)]
        # Its messages go to a pipe, as in the workflow, where `tee` writes the log.
        process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=REPOSITORY, start_new_session=True)
        running.append(process)
        newest = out / "fold_0" / "state" / states.NEWEST
        before = newest.stat().st_mtime_ns if newest.exists() else None
        wait_for(lambda: newest.exists() and newest.stat().st_mtime_ns != before, process)
        return process

    yield start
    for process in running:
        process.stderr.close()
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for(happened, process: subprocess.Popen, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children_of(process: int) -> list[int]:
    """Processes whose parent it is."""
    return [child.pid for child in psutil.Process(process).children() if not ended(child.pid)]


def ended(process: int) -> bool:
    """Whether it is gone, or only waits for somebody to read its exit code."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_kill_leaves_no_worker_and_sigterm_to_the_whole_job_still_saves(started, tmp_path: Path) -> None:
    out = tmp_path / "m"
    first = started(out)
    workers = children_of(first.pid)
    assert len(workers) == 3  # two for training, one for validation
    with pytest.raises(UserError, match=f"is being trained by process {first.pid} on"):
        lock = out / "fold_0" / ".lock"
        with files.only_process(lock.parent, lock, "trained"):
            pytest.fail("two processes train in one folder")
    first.kill()
    first.wait()
    killed_at = states.load_state(out / "fold_0" / "state")[0]
    deadline = time.monotonic() + 3  # sooner than torch's own workers notice, which look every 5 s
    while not all(map(ended, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)

    second = started(out)  # at once: the lock of the killed process and its workers does not block
    second.stderr.close()  # the process that reads the log is gone too
    before = steps_of(states.load_state(out / "fold_0" / "state")[0])
    time.sleep(0.5)
    asked = time.monotonic()
    os.killpg(second.pid, signal.SIGTERM)
    assert second.wait(30) == 128 + signal.SIGTERM
    assert time.monotonic() - asked < 10
    state, messages = states.load_state(out / "fold_0" / "state")
    assert not messages and steps_of(state) > before >= steps_of(killed_at) > 0


def steps_of(state: dict) -> int:
    return state["epoch"] * 3 + state["step_in_epoch"]
