"""Measuring side by side: processes take turns, in another order each round, and medians are reported."""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent


def device_name() -> str:
    """The processor, and how many of its cores this process may use."""
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


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile; of a single value, that value."""
    return tuple(statistics.quantiles(values, n=4, method="inclusive")) if len(values) > 1 else (values[0],) * 3


def entry(ours: list[float], peer: list[float], **more: object) -> dict:
    """One row of the result, from times in ms of this project and its peer that were measured in pairs.

    ratio: of the medians. spread: half the interquartile range of the pairs' ratios, relative to their median; 0.02
    means that half of the pairs lie within about 2% of it.
    """
    low, middle, high = quartiles([a / b for a, b in zip(ours, peer, strict=True)])
    ours_ms, peer_ms = statistics.median(ours), statistics.median(peer)
    return {
        "ratio": round(ours_ms / peer_ms, 3),
        "ours_ms": round(ours_ms, 2),
        "peer_ms": round(peer_ms, 2),
        "n": len(ours),
        "spread": round((high - low) / 2 / middle, 3),
        "device": device_name(),
    } | more


class BenchProcess:
    """A process that does its work once for each request and answers with {ms, value, peak_mb}.

    It runs a script of this folder, which calls `serve` and gets the settings as JSON, with a folder as "scratch".

    Attributes:
        times: ms of each time.
        values: the result of each time, to compare with another process's.
        peak_mb: the process's peak memory.
    """

    def __init__(self, name: str, script: str, settings: dict, scratch: Path) -> None:
        self.name, self.times, self.values, self.peak_mb = name, [], [], 0.0
        (scratch / name).mkdir(parents=True)
        self.log = (scratch / f"{name}.log").open("w+")
        command = [sys.executable, str(BENCH / script), json.dumps(settings | {"scratch": str(scratch / name)})]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )

    def answer(self) -> str:
        """The next line that the process prints.

        Raises:
            RuntimeError: the process ended instead; with the end of its log.
        """
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{self.name} ended:\n{self.log.read()[-2000:]}")
        return line

    def step(self) -> None:
        """Let the process do its work once."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = json.loads(self.answer())
        self.times.append(answer["ms"])
        self.values.append(answer["value"])
        self.peak_mb = answer["peak_mb"]

    def end(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def take_turns(processes: list[BenchProcess], warm_up: int, rounds: int) -> None:
    """Let every process work once a round, in changing order, and end them; times of the warm-up are not kept."""
    for process in processes:
        process.answer()  # ready
    for number in range(warm_up + rounds):
        first = number // 2 % len(processes)
        order = processes[first:] + processes[:first]
        for process in order if number % 2 else order[::-1]:
            process.step()
    for process in processes:
        del process.times[:warm_up]
        process.end()


def serve(work: Callable[[], object]) -> None:
    """The other end of a `BenchProcess`: work once for each line of stdin. Call `answers_only` first."""
    print("ready", file=_ANSWERS[0], flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        value = work()
        answer = {"ms": 1000 * (time.perf_counter() - start), "value": value}
        answer["peak_mb"] = peak_mb()
        print(json.dumps(answer), file=_ANSWERS[0], flush=True)


def peak_mb() -> float:
    """Peak memory of this process in MB, without what its parent had when it started this one."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


_ANSWERS = [sys.stdout]


def answers_only() -> None:
    """Keep stdout for answers: everything else that is printed goes to stderr."""
    sys.stdout = sys.stderr


@dataclass
class Usage:
    """What a command used: milliseconds, processor seconds, and the peak memory in MB of its largest process."""

    ms: float
    cpu_s: float
    peak_mb: float


def run_command(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Usage:
    """Run a command of this Python's environment, with variables added to this process's; it prints into the log.

    Raises:
        RuntimeError: the command failed; with the end of what it printed.
    """
    # Linux counts a parent's memory as that of the process it starts, so a small process stands between.
    launcher = [sys.executable, "-S", str(BENCH / "measure.py"), *command]
    variables = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | (environment or {})
    with log.open("w+") as stream:
        done = subprocess.run(launcher, env=variables, stdout=subprocess.PIPE, stderr=stream, text=True, check=False)
        stream.seek(0)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{stream.read()[-2000:]}")
    return Usage(*json.loads(done.stdout))


def launch(command: list[str]) -> None:
    """Run a command with its output on stderr, and print the values of its `Usage`."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ms = 1000 * (time.perf_counter() - start)
    print(json.dumps([ms, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
    sys.exit(process.returncode != 0)


def compare(ours: Callable[[], Usage], peer: Callable[[], Usage], times: int) -> dict:
    """Run two commands in turn, each `times` times."""
    found: dict[str, list[Usage]] = {"ours": [], "peer": []}
    for number in range(times):
        order = [("ours", ours), ("peer", peer)]
        for name, run in order if number % 2 else order[::-1]:
            found[name].append(run())
    peaks = {f"{name}_peak_mb": round(max(run.peak_mb for run in runs)) for name, runs in found.items()}
    return entry(*([run.ms for run in runs] for runs in found.values()), **peaks)


if __name__ == "__main__":
    launch(sys.argv[1:])
