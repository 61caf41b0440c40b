"""Measured times of a training step, and which of them speak for a method."""

import csv
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from crossmodal.experiment.config import load_budget, read_yaml
from crossmodal.errors import UserError

# What decides the time of a step beside the device; the spacing, for one, does not.
NETWORK = ("patch_size", "batch_size", "features", "threads", "loader_workers", "memory_format", "precision", "compile")
# A training step of one network: one forward and a backward that costs two. A frozen teacher adds a forward.
ARITHMETIC = {"alone": 1.0, "joint": 2.0, "frozen": 4 / 3}
# What bench/latest.json calls the steps of each kind; the first that has the experiment's options is taken.
BENCHES = {"alone": ("fast_vs_stock", "student_vs_stock"), "joint": ("joint_vs_sum",), "frozen": ("frozen_vs_student",)}


@dataclass(frozen=True)
class StepTime:
    """Seconds of a training step as (lowest, middle, highest), its share of the validation included.

    Attributes:
        method: that was measured, or None for any of its kind.
        kind: alone, joint or frozen (see `kind_of`).
        device: as the measurement names it.
        source: the file it is from, for the reader.
    """

    method: str | None
    kind: str
    device: str
    seconds: tuple[float, float, float]
    source: str


def kind_of(recipe: dict) -> str:
    """alone: no teacher; joint: one that learns beside the student; frozen: one that only runs."""
    if recipe["teacher"] is None:
        return "alone"
    return "joint" if recipe["teacher"]["trained"] == "jointly" else "frozen"


def from_run(folder: Path, config: dict) -> list[StepTime]:
    """Step times of an experiment that was run, from its config.yaml and tables/cost.csv.

    Raises:
        UserError: the files are not there, or the run's network was another.
    """
    folder = folder.parent.parent if folder.name == "cost.csv" else folder
    table = folder / "tables" / "cost.csv"
    if not table.is_file():
        raise UserError(f"{table}: no such file: give an experiment that has been run (results/NAME)")
    other = read_yaml(folder / "config.yaml")
    if (
        not _same_network(other["budget_settings"], config["budget_settings"])
        or other["backbone"] != config["backbone"]
    ):
        raise UserError(
            f"{folder}: its network ({_network(other['budget_settings'])}) is not that of this experiment "
            f"({_network(config['budget_settings'])}), so its times say nothing of it: train one method with "
            f"the budget '{config['budget']}' on the device you will use"
        )
    budget = other["budget_settings"]
    steps = budget["epochs"] * budget["steps_per_epoch"]
    seconds: dict[tuple[str, str], list[float]] = {}
    with table.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            seconds.setdefault((row["method"], row["device"]), []).append(float(row["train_s"]) / steps)
    return [
        StepTime(method, kind_of(other["recipes"][method]), device, _spread(values), str(table))
        for (method, device), values in seconds.items()
    ]


def from_bench(path: Path, config: dict, budgets: Path, schema: dict) -> list[StepTime]:
    """Step times of `make bench`, where it measured this experiment's network; no file, no times.

    An entry may name the budget whose network it measured; without one it is demo on a CPU and full on a GPU.
    """
    if not path.is_file() or config["backbone"] != "plain":
        return []
    entries = json.loads(path.read_text(encoding="utf-8"))

    def speaks(entry: dict) -> bool:
        on_cpu = entry["device"].lower().startswith("cpu")
        budget = load_budget(entry.get("budget", "demo" if on_cpu else "full"), budgets, schema)
        return _same_network(budget | {key: entry[key] for key in NETWORK if key in entry}, config["budget_settings"])

    times = []
    for kind, names in BENCHES.items():
        entry = next((entries[name] for name in names if name in entries and speaks(entries[name])), None)
        if entry is not None:
            low, high = 1 - entry["spread"], 1 + entry["spread"]
            seconds = entry["ours_ms"] / 1000
            times.append(StepTime(None, kind, entry["device"], (low * seconds, seconds, high * seconds), str(path)))
    return times


def step_time(method: str, recipe: dict, measured: list[StepTime]) -> StepTime | None:
    """The time that speaks best for a method: its own, its kind's, or arithmetic from another kind's."""
    kind = kind_of(recipe)
    own = [time for time in measured if time.method == method]
    alike = own or [time for time in measured if time.kind == kind]
    if alike:
        source = "measured" if own else f"measured on others that train {kind}"
        return _merged(method, kind, alike, 1.0, source)
    others = [time for time in measured if time.kind == "alone"] or measured
    if not others:
        return None
    factor = ARITHMETIC[kind] / ARITHMETIC[others[0].kind]
    same = [time for time in others if time.kind == others[0].kind]
    return _merged(method, kind, same, factor, f"{factor:.2f} × a step of '{same[0].kind}', by arithmetic")


def _merged(method: str, kind: str, times: list[StepTime], factor: float, source: str) -> StepTime:
    low = min(time.seconds[0] for time in times)
    middle = statistics.median(time.seconds[1] for time in times)
    high = max(time.seconds[2] for time in times)
    return StepTime(method, kind, times[0].device, (factor * low, factor * middle, factor * high), source)


def _spread(values: list[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def _same_network(measured: dict, wanted: dict) -> bool:
    by_device = wanted["precision"] == "bf16_where_fast"  # whatever the device that was measured made of it
    return all(measured[key] == wanted[key] for key in NETWORK if not (by_device and key == "precision"))


def _network(budget: dict) -> str:
    return ", ".join(f"{key} {budget[key]}" for key in ("patch_size", "batch_size", "features") if budget[key]) or (
        "nnU-Net's own plan"
    )
