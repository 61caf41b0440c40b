"""What is known of a run's steps: which are done, which run, and how long the rest takes at least."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from crossmodal.progress import in_words

SHARE = re.compile(r"(?<![\w/])(\d+)/(\d+)(?![\w/])")  # "epoch 3/40", "cases scored: 3/12", and no date or path


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a text file that are not empty, of its last 16 kB; none when there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line.rstrip() for line in lines if line.strip()][-count:]


@dataclass
class Step:
    """One job.

    Attributes:
        name: for the reader.
        rule: of the workflow.
        logs: paths of its log files.
        started: monotonic time.
    """

    name: str
    rule: str
    logs: list[str]
    started: float
    shares: list[tuple[float, float]] = field(default_factory=list)  # (time, share done): the first and the latest

    def says(self, now: float) -> str:
        """The last line of its log. The share that it tells ("epoch 3/40") is noted with the time."""
        line = next((line for log in self.logs for line in last_lines(Path(log), 1)), "")
        found = SHARE.search(line)
        if found and int(found[2]):
            share = int(found[1]) / int(found[2])
            if not self.shares or share < self.shares[-1][1]:  # another loop has begun
                self.shares = [(now, share)]
            elif share > self.shares[-1][1]:
                self.shares[1:] = [(now, share)]
        return line

    def warnings(self) -> list[str]:
        """The lines of its logs that begin with "warning"."""
        lines = (line for log in self.logs for line in last_lines(Path(log), 500))
        return [line for line in lines if line.startswith("warning")]

    def left(self, now: float) -> float | None:
        """Seconds left at the pace of its log, or None where that is not known."""
        if len(self.shares) < 2:
            return None
        (first, before), (latest, share) = self.shares
        return max(0.0, (latest - first) / (share - before) * (1 - share) - (now - latest))


@dataclass
class Run:
    """The steps of one run of Snakemake; `counts` has the number of jobs of each rule."""

    counts: dict[str, int] = field(default_factory=dict)
    running: dict[int, Step] = field(default_factory=dict)
    failed: dict[int, Step] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # seconds, by rule
    side_by_side: int = 1

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        return sum(map(len, self.took.values()))

    def begin(self, job: int, step: Step) -> None:
        """A step begins, or begins again after it failed."""
        self.failed.pop(job, None)
        self.running[job] = step
        self.side_by_side = len(self.running)

    def finish(self, job: int, now: float) -> Step:
        """A step is done."""
        step = self.running.pop(job)
        self.took[step.rule].append(now - step.started)
        return step

    def fail(self, job: int) -> Step | None:
        """A step has failed; None when that is known already."""
        if job in self.running:
            self.failed[job] = self.running.pop(job)
            return self.failed[job]
        return None

    def left(self, now: float) -> tuple[float, bool]:
        """Seconds left of what is known, and whether all is known.

        A rule's jobs take what those before took or, before one is done, what the log of one that runs promises.
        """
        of_running = {job: step.left(now) for job, step in self.running.items()}
        expected = {rule: mean(seconds) for rule, seconds in self.took.items()}
        for job, step in self.running.items():
            if of_running[job] is not None:
                expected.setdefault(step.rule, now - step.started + of_running[job])
            elif step.rule in expected:
                of_running[job] = max(0.0, expected[step.rule] - (now - step.started))
        begun = Counter(step.rule for step in (*self.running.values(), *self.failed.values()))
        waiting = {rule: n - begun[rule] - len(self.took.get(rule, ())) for rule, n in self.counts.items()}
        jobs = [*of_running.values()]
        for rule, number in waiting.items():
            jobs += [expected.get(rule)] * number
        known = [seconds for seconds in jobs if seconds is not None]
        return max([sum(known) / max(1, self.side_by_side), *known, 0.0]), len(known) == len(jobs)

    def left_in_words(self, now: float) -> str:
        """The time left; nothing while nothing of what is left is known."""
        seconds, whole = self.left(now)
        return f"{'about' if whole else 'at least'} {in_words(seconds)} left" if seconds >= 1 else ""
