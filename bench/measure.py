"""Measuring side by side: parties take turns, in another order each round; what is reported is the median."""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

BENCH = Path(__file__).resolve().parent


def device_name() -> str:
    """The processor, and how many of its cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"cpu, {model}, {len(os.sched_getaffinity(0))} cores"


def entry(ours: list[float], peer: list[float], **more: object) -> dict:
    """One row of latest.json, from times in ms that were measured in pairs.

    ratio: of the medians. spread: half the distance between the quartiles of the pairs' own ratios, as a part of
    their median, so that 0.02 means that half of the pairs lie within about 2% of it.
    """
    pairs = sorted(a / b for a, b in zip(ours, peer, strict=True))
    low, middle, high = statistics.quantiles(pairs, n=4, method="inclusive") if len(pairs) > 1 else pairs * 3
    ours_ms, peer_ms = statistics.median(ours), statistics.median(peer)
    return {
        "ratio": round(ours_ms / peer_ms, 3),
        "ours_ms": round(ours_ms, 2),
        "peer_ms": round(peer_ms, 2),
        "n": len(pairs),
        "spread": round((high - low) / 2 / middle, 3),
        "device": device_name(),
    } | more


class Party:
    """A process that does its work once whenever it is told to, and answers with {ms, value, peak_mb}.

    Attributes:
        times: ms of each time.
        values: what came out each time, to hold against another party's.
        peak_mb: the process's peak memory.
    """

    def __init__(self, name: str, script: str, settings: dict, scratch: Path) -> None:
        self.name, self.times, self.values, self.peak_mb = name, [], [], 0.0
        (scratch / name).mkdir(parents=True)
        self.log = (scratch / f"{name}.log").open("w+")
        settings = settings | {"scratch": str(scratch / name)}
        self.process = subprocess.Popen(
            [sys.executable, str(BENCH / script), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def answer(self) -> str:
        """The next line it says.

        Raises:
            RuntimeError: it ended instead; with the end of its log.
        """
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{self.name} ended:\n{self.log.read()[-2000:]}")
        return line

    def step(self) -> None:
        """Have it do its work once."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = json.loads(self.answer())
        self.times.append(answer["ms"])
        self.values.append(answer["value"])
        self.peak_mb = answer["peak_mb"]

    def end(self) -> None:
        """Let it go."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def take_turns(parties: list[Party], warm_up: int, rounds: int) -> None:
    """Every party works once a round, in another order each time; the times of the warm-up are not kept."""
    for party in parties:
        party.answer()  # ready
    for number in range(warm_up + rounds):
        first = number // 2 % len(parties)
        order = parties[first:] + parties[:first]
        for party in order if number % 2 else order[::-1]:
            party.step()
    for party in parties:
        del party.times[:warm_up]


def serve(work: Callable[[], object]) -> None:
    """The other end of a `Party`: work once for each line of stdin. Call `answers_only` first."""
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
    """Keep stdout for answers: whatever else is printed goes to stderr."""
    sys.stdout = sys.stderr


def run_command(command: list[str], environment: dict[str, str], log: Path) -> tuple[float, float]:
    """Milliseconds of a command, and the peak memory in MB of its largest process.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    # Linux counts a parent's memory as that of what it starts: so a small process stands between.
    launcher = [sys.executable, "-S", str(BENCH / "measure.py"), *command]
    with log.open("w+") as stream:
        done = subprocess.run(
            launcher, env=os.environ | environment, stdout=subprocess.PIPE, stderr=stream, text=True, check=False
        )
        stream.seek(0)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{stream.read()[-2000:]}")
    answer = json.loads(done.stdout)
    return answer["ms"], answer["peak_mb"]


def launch(command: list[str]) -> None:
    """Run a command with its output on stderr, and print its time and its largest process's peak memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    print(json.dumps({"ms": 1000 * (time.perf_counter() - start), "peak_mb": usage.ru_maxrss / 1024}))
    sys.exit(process.returncode != 0)


def compare(ours: Callable[[int], tuple[float, float]], peer: Callable[[int], tuple[float, float]], times: int) -> dict:
    """Run two things in turn, each `times` times; each gets the number of the run and returns ms and peak MB."""
    took: dict[str, list[tuple[float, float]]] = {"ours": [], "peer": []}
    for number in range(times):
        order = [("ours", ours), ("peer", peer)]
        for name, run in order if number % 2 else order[::-1]:
            took[name].append(run(number))
    times_of = {name: [ms for ms, _ in runs] for name, runs in took.items()}
    peaks = {f"{name}_peak_mb": round(max(mb for _, mb in runs)) for name, runs in took.items()}
    return entry(times_of["ours"], times_of["peer"], **peaks)


if __name__ == "__main__":
    launch(sys.argv[1:])
