"""A run on Slurm that is disturbed, and what is recorded of it."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from one_node import OneNode
from workspace import Run, Workspace


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
    """Cancel the student during its training, and slow choi2023 down until its time limit."""
    student, choi = story.workspace.training("student"), story.workspace.training("choi2023")
    story.run.until(choi.in_its_middle, "choi2023 trains", 600)
    crawl = threading.Thread(target=choi.crawl_until, args=(choi.state.exists, 60 * limit + 40))
    crawl.start()
    story.run.until(student.in_its_middle, "the student trains")
    student.freeze()
    story.cancelled = slurm.job_of("train_network_wildcards_student")
    slurm.ask("scancel", story.cancelled)
    crawl.join()
    story.warned = choi.state.exists() and slurm.job_of("train_network_wildcards_choi2023") != ""


def files_below(folder: Path, leave_out: tuple[str, ...]) -> dict[str, bytes]:
    """Content of every file by its path, without the names in `leave_out`."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in leave_out]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
