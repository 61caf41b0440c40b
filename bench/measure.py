"""What the benchmarks share: the demo's data, work that is done in turn, medians, and tables in Markdown."""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class Usage:
    """What a piece of work used, its peak memory being that of its largest process; and its result."""

    ms: float
    peak_mb: float
    cpu_s: float = 0.0
    value: Any = None


class Worker:
    """A process that does its work once at each call, so that its peak memory is its own.

    Args:
        work: a generator, run in the process; the first thing it yields says that it is ready, each other one is the
            result of doing the work once.
        arguments: of `work`.
    """

    def __init__(self, work: Callable[..., Iterator], *arguments: Any) -> None:
        self.pool = ProcessPoolExecutor(1, get_context("spawn"))
        self.ready = self.pool.submit(_prepare, work, *arguments)

    def __call__(self) -> Usage:
        self.ready.result()
        return self.pool.submit(_work_once).result()


def _prepare(work: Callable[..., Iterator], *arguments: Any) -> None:
    global _working
    sys.stdout = None  # `print` is silent
    _working = work(*arguments)
    next(_working)


def _work_once() -> Usage:
    start = time.perf_counter()
    value = next(_working)
    return Usage(1000 * (time.perf_counter() - start), _peak_mb(), value=value)


def _peak_mb() -> float:
    """Peak memory of this process in MB, without what its parent had when it started this one."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def take_turns(sides: dict[str, Callable[[], Usage]], rounds: int) -> dict[str, list[Usage]]:
    """Call every side once a round, in changing order; what each used in each round."""
    found: dict[str, list[Usage]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        first = number // 2 % len(names)
        order = names[first:] + names[:first]
        for name in order if number % 2 else order[::-1]:
            found[name].append(sides[name]())
    return found


def with_scripts() -> dict[str, str]:
    """This process's variables, with the commands of its Python's environment on PATH; before them `forks.py`'s."""
    folders = [os.environ.get("CROSSMODAL_FORKS"), str(Path(sys.executable).parent), os.environ["PATH"]]
    return os.environ | {"PATH": os.pathsep.join(filter(None, folders))}


def run_command(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Usage:
    """Run a command of this Python's environment, with variables added to this process's; it prints into the log.

    Raises:
        RuntimeError: the command failed; with the end of what it printed.
    """
    # Linux counts a parent's memory as that of the process it starts, so a small process stands between.
    launcher = [sys.executable, "-S", __file__, *command]
    variables = with_scripts() | (environment or {})
    with log.open("w+") as stream:
        done = subprocess.run(launcher, env=variables, stdout=subprocess.PIPE, stderr=stream, text=True, check=False)
        stream.seek(0)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{stream.read()[-2000:]}")
    return Usage(*json.loads(done.stdout))


def _launch(command: list[str]) -> None:
    """Run a command with its output on stderr, and print the values of its `Usage`."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ms = 1000 * (time.perf_counter() - start)
    print(json.dumps([ms, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime]))
    sys.exit(process.returncode != 0)


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile; of a single value, that value."""
    return tuple(statistics.quantiles(values, n=4, method="inclusive")) if len(values) > 1 else (values[0],) * 3


def entry(ours: list[Usage], *peers: list[Usage], **more: object) -> dict:
    """One row of the result, from pairs of this project and its peer; the times of several peers are added.

    ratio: of the medians. spread: half the interquartile range of the pairs' ratios, relative to their median; 0.02
    means that half of the pairs lie within about 2% of it.
    """
    times = [run.ms for run in ours]
    sums = [sum(run.ms for run in runs) for runs in zip(*peers, strict=True)]
    low, middle, high = quartiles([a / b for a, b in zip(times, sums, strict=True)])
    ours_ms, peer_ms = statistics.median(times), statistics.median(sums)
    return {
        "ratio": round(ours_ms / peer_ms, 3),
        "ours_ms": round(ours_ms, 2),
        "peer_ms": round(peer_ms, 2),
        "n": len(ours),
        "spread": round((high - low) / 2 / middle, 3),
        "device": device_name(),
        "ours_peak_mb": round(max(run.peak_mb for run in ours)),
        "peer_peak_mb": round(max(run.peak_mb for peer in peers for run in peer)),
    } | more


def device_name(device: str = "cpu") -> str:
    """The GPU, or the processor and how many of its cores this process may use."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    from crossmodal.device import available_cores  # not above: `run_command` starts this file where it cannot be found

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"cpu, {model}, {available_cores()} cores"


def markdown_row(cells: Iterable[object]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def markdown_table(header: Sequence[str], rows: Iterable[Iterable[object]] = ()) -> str:
    """A Markdown table; without rows its first two lines."""
    return "\n".join(map(markdown_row, [header, ["---"] * len(header), *rows]))


@dataclass(frozen=True)
class Data:
    """A cohort and its dataset, built by the workflow's commands.

    Attributes:
        budget: its name, or a budget of its own.
        phantoms: options of `crossmodal cohort phantom`.
        split: options of `crossmodal cohort check`.
        cohort: folder of cases; where there is none, phantoms are made.
    """

    budget: Any
    phantoms: str
    split: str
    cohort: Path | None = None

    @contextmanager
    def built(self, where: Path | None = None) -> Iterator[tuple[Path, Path, str]]:
        """A folder that holds the dataset in nnunet/, its cases.csv, and the budget; deleted when the block ends."""
        with tempfile.TemporaryDirectory(prefix="crossmodal-bench-", dir=where) as name:
            folder = Path(name)
            cohort, cases = self.cohort, folder / "cohort" / "cases.csv"
            if cohort is None or not cohort.is_dir():
                cohort = folder / "phantoms"
                make = ["crossmodal", "cohort", "phantom", str(cohort), *self.phantoms.split()]
                run_command(make, folder / "phantom.log")
            check = ["crossmodal", "cohort", "check", str(cohort), "--out", str(cases.parent), "--name", "bench"]
            run_command([*check, *self.split.split()], folder / "check.log")
            build = ["crossmodal", "dataset", "--cases", str(cases), "--out", str(folder / "nnunet")]
            budget = self.budget
            if not isinstance(budget, str):
                budget = str(folder / "budget.yaml")
                Path(budget).write_text(json.dumps(self.budget.plain()))
            run_command([*build, "--budget", budget], folder / "dataset.log")
            yield folder, cases, budget


TINY = Data("smoke", "--cases 3 --spacing 5 --workers 1", "--test-fraction 0.34 --folds 2")
DEMO = Data("demo", "--cases 40 --spacing 3 --seed 2023 --site A", "--test-fraction 0.3 --folds 5", REPOSITORY / "data")


if __name__ == "__main__":
    _launch(sys.argv[1:])
