"""A copy of the workflow in which Snakemake runs, on this machine or on the tests' Slurm, and how it is disturbed."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from one_node import OneNode

from crossmodal.data import BUDGETS
from tests.conftest import copy_workflow

# The demo's graph on six small phantoms. A smoke training takes seconds: too short to interrupt it.
CONFIG = """\
experiment: test
phantom: {cases: 6, spacing: 6}
split: {folds: 2, test_fraction: 0.34}
methods: [teacher, student, choi2023]
subsets: [t1ce+flair]
"""
EPOCHS = 16
# Lines of the profile, with seconds in place of minutes; choi2023 alone should reach its time limit.
PROFILE_CHANGES = {
    "warning: 300": "warning: 10",
    "# runtime: min(2880, 1440 * attempt)": """runtime: "LIMIT * attempt if wildcards.method == 'choi2023' else 60\"""",
    "slurm-init-seconds-before-status-checks: 20": "slurm-init-seconds-before-status-checks: 1",
    "latency-wait: 60": "latency-wait: 5",
}


class Workspace:
    """A folder with a copy of the workflow.

    Attributes:
        folder: where Snakemake runs; its results are in results/test.
        environment: of Snakemake and its jobs.

    Args:
        limit: minutes that choi2023 may train at its first attempt.
    """

    def __init__(self, folder: Path, environment: dict[str, str] | None = None, limit: int = 1) -> None:
        self.folder = folder
        self.results = folder / "results" / "test"
        environment = dict(environment or os.environ)
        self.environment = environment | {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}
        copy_workflow(folder)
        (folder / "test.yaml").write_text(CONFIG)
        budget = (BUDGETS / "smoke.yaml").read_text().replace("epochs: 2\n", f"epochs: {EPOCHS}\n")
        (folder / "budget.yaml").write_text(budget)
        profile = folder / "profiles" / "slurm" / "config.yaml"
        text = profile.read_text()
        for old, new in PROFILE_CHANGES.items():
            assert text.count(old) == 1, f"{profile} should hold {old!r} once"
            text = text.replace(old, new.replace("LIMIT", str(limit)))
        profile.write_text(text)

    def snakemake(self, *options: str) -> "Run":
        """Start Snakemake on the test's experiment; its output goes to a file."""
        return Run(self, options)

    def training(self, method: str, modalities: str = "t1ce+flair", seed: int = 0) -> "Training":
        """One training of this workspace."""
        return Training(self.results / "models" / method / modalities / f"seed{seed}" / "fold_0")


class Run:
    """A running Snakemake."""

    def __init__(self, workspace: Workspace, options: tuple[str, ...]) -> None:
        number = len(list(workspace.folder.glob("snakemake-*.txt")))
        self.log = workspace.folder / f"snakemake-{number}.txt"
        command = ["snakemake", "--configfile", "test.yaml", "--config", "budget=budget.yaml", *options]
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command,
                cwd=workspace.folder,
                env=workspace.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # React to Ctrl-C, which processes that a shell starts in the background ignore, as do their children.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float) -> int:
        """Its exit status. After the time it is killed, and the test fails with the end of its output."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"Snakemake did not end in {seconds:g} s:\n{self.output[-4000:]}") from None

    def until(self, condition, what: str, seconds: float = 300) -> None:
        """Wait for something to happen while it runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"Snakemake ended before {what}:\n{self.output[-4000:]}"
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.output[-4000:]}"
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill it and the processes that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Training:
    """One training, seen through its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self) -> list[dict[str, str]]:
        """Rows of progress.csv so far."""
        path = self.folder / "progress.csv"
        return list(csv.DictReader(path.open(newline=""))) if path.exists() else []

    def in_its_middle(self) -> bool:
        """Whether one epoch is done and most are not."""
        return 1 <= len(self.rows()) < EPOCHS // 2

    @property
    def state(self) -> Path:
        """The state from which it resumes."""
        return self.folder / "state" / "state.pt"

    def seconds(self) -> float:
        """How long it took, from Snakemake's benchmark file."""
        results = self.folder.parents[4]
        path = results / "benchmarks" / "train" / self.folder.relative_to(results / "models")
        with path.with_suffix(".tsv").open(newline="") as stream:
            return float(next(csv.DictReader(stream, delimiter="\t"))["s"])

    def process(self) -> int:
        """The process that trains."""
        return int((self.folder / ".lock-holder").read_text().split()[1])

    def freeze(self) -> None:
        """Stop it where it is. Slurm can still end it, since it sends CONT first."""
        os.kill(self.process(), signal.SIGSTOP)

    def sleep_until_warned(self, seconds: float) -> None:
        """Freeze it until a warning (USR1) waits for it; let it run until its state is saved, and freeze it again."""
        pid, deadline = self.process(), time.monotonic() + seconds
        with suppress(ProcessLookupError, FileNotFoundError):  # Slurm ended it
            os.kill(pid, signal.SIGSTOP)
            while not self.state.exists() and time.monotonic() < deadline:
                if waits_for(pid, signal.SIGUSR1):
                    os.kill(pid, signal.SIGCONT)
                time.sleep(0.02)
            os.kill(pid, signal.SIGSTOP)


def waits_for(pid: int, number: int) -> bool:
    """Whether a signal was sent to a process that has not run since (the ShdPnd mask of /proc, see proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = next(line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(pending, 16) >> (number - 1) & 1)


@dataclass
class Story:
    """What was done to a run on Slurm, and what was recorded.

    Attributes:
        cancelled: id of the student's job, which scancel ended during the training.
        warned: whether choi2023 saved its state after Slurm's warning, before its time limit.
        jobs: every job as `scontrol show job` prints it, by id.
        status: exit status of Snakemake.
    """

    workspace: Workspace
    run: Run
    cancelled: str = ""
    warned: bool = False
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    status: int | None = None

    def trainings(self, method: str) -> list[dict[str, str]]:
        """Jobs of a method's training, in the order of submission."""
        mark = f"rule_train_network_wildcards_{method}_"
        return [job for job in self.jobs.values() if job["Comment"].startswith(mark)]


def disturb(story: Story, slurm: OneNode, limit: int) -> None:
    """Cancel the student during its training, and let choi2023 sleep until its time limit."""
    student, choi = story.workspace.training("student"), story.workspace.training("choi2023")
    story.run.until(choi.in_its_middle, "choi2023 trains", 600)
    sleep = threading.Thread(target=choi.sleep_until_warned, args=(60 * limit + 40,))
    sleep.start()
    story.run.until(student.in_its_middle, "the student trains")
    student.freeze()
    story.cancelled = slurm.job_of("train_network_wildcards_student")
    slurm.ask("scancel", story.cancelled)
    sleep.join()
    story.warned = choi.state.exists() and slurm.job_of("train_network_wildcards_choi2023") != ""
