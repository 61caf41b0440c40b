"""Times of a training step, and the best available estimate for a method from them."""

import csv
import json
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from crossmodal.data import STEP_TIMES
from crossmodal.errors import UserError
from crossmodal.experiment.budget import Budget, load_budget
from crossmodal.experiment.config import Resolved, read_resolved
from crossmodal.experiment.recipe import Recipe
from crossmodal.experiment.runs import students_of_jobs

# What the time of a step depends on, beside the device. The spacing, for one, does not matter.
NETWORK = (
    *("patch_size", "batch_size", "features", "threads", "loader_workers", "augment_on"),
    *("memory_format", "precision", "compile"),
)
# A step is a forward and a backward pass, which costs twice as much. A frozen teacher adds a forward pass.
ARITHMETIC = {"alone": 1.0, "joint": 2.0, "frozen": 4 / 3}
# Names of the steps of each kind in data/step_times.json; the first with the experiment's options is taken.
BENCHES = {"alone": ("fast_vs_stock", "student_vs_stock"), "joint": ("joint_vs_sum",), "frozen": ("frozen_vs_student",)}


@dataclass(frozen=True)
class StepTime:
    """Seconds of a training step as (lowest, middle, highest), including its share of the validation.

    Attributes:
        method: the method that was measured, or None for any of its kind.
        kind: alone, joint or frozen (`Recipe.training_kind`).
        device: as the measurement names it.
        source: where it is from, for the reader.
        estimated: from published rates, not measured.
    """

    method: str | None
    kind: str
    device: str
    seconds: tuple[float, float, float]
    source: str
    estimated: bool = False


def from_run(folder: Path, config: Resolved) -> list[StepTime]:
    """Step times of an experiment that was run, from its config.yaml and tables/cost.csv.

    Args:
        folder: results/<experiment>, or its tables/cost.csv.
        config: of the experiment that is planned.

    Raises:
        UserError: the files are missing, or the run had another network.
    """
    folder = folder.parent.parent if folder.name == "cost.csv" else folder
    table = folder / "tables" / "cost.csv"
    if not table.is_file():
        raise UserError(f"{table}: no such file: give an experiment that has been run (results/NAME)")
    other = read_resolved(folder / "config.yaml")
    ran, wanted = other.budget_settings, config.budget_settings
    if not _same_network(ran, wanted) or other.backbone != config.backbone:
        raise UserError(
            f"{folder}: its network ({_network(ran)}) is not that of this experiment ({_network(wanted)}), so its "
            f"times cannot be used: train one method with the budget '{config.budget}' on the device you will use"
        )
    seconds: dict[tuple[str, str], list[float]] = {}
    with table.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            seconds.setdefault((row["method"], row["device"]), []).append(float(row["train_s"]) / ran.steps)
    times, jobs = [], students_of_jobs(other)
    for (method, device), values in seconds.items():
        kind = other.recipes[method].training_kind
        shared = together(kind, max(map(len, jobs.get(method, [[method]]))))
        spread = tuple(value / shared for value in (min(values), statistics.median(values), max(values)))
        times.append(StepTime(method, kind, device, spread, str(table)))
    return times


def from_bench(path: Path, config: Resolved) -> list[StepTime]:
    """Step times of `make bench`, if it measured this experiment's network.

    Args:
        path: what bench/run.py wrote (data/step_times.json); without that file there are no times.
        config: of the experiment that is planned.
    """
    if not path.is_file() or config.backbone != "plain":
        return []
    entries = json.loads(path.read_text(encoding="utf-8"))

    def is_ours(entry: dict) -> bool:
        options = {key: entry[key] for key in NETWORK if key in entry}
        return _same_network(load_budget(entry["budget"]).replaced(**options), config.budget_settings)

    source = "make bench" if path == STEP_TIMES else str(path)
    times = []
    for kind, names in BENCHES.items():
        entry = next((entries[name] for name in names if name in entries and is_ours(entries[name])), None)
        if entry is not None:
            low, high = 1 - entry["spread"], 1 + entry["spread"]
            seconds = entry["ours_ms"] / 1000
            times.append(StepTime(None, kind, entry["device"], (low * seconds, seconds, high * seconds), source))
    return times


def together(kind: str, students: int) -> float:
    """Time of a student's step among several on the same batches, as a share of its step by itself.

    By arithmetic, of the networks alone: a finished teacher's forward pass is shared. That batches are loaded once is
    not counted, since on a GPU other processes load them.

    Args:
        kind: alone, joint or frozen.
        students: how many.
    """
    if kind != "frozen":
        return 1.0
    return (ARITHMETIC["alone"] + (ARITHMETIC["frozen"] - ARITHMETIC["alone"]) / students) / ARITHMETIC["frozen"]


def step_time(method: str, recipe: Recipe, known: list[StepTime]) -> StepTime:
    """The best available step-time estimate: the method's own, its kind's, or from another kind's by arithmetic.

    Args:
        method: name of the method.
        recipe: its recipe.
        known: times of the same network on one device, at least one.
    """
    kind, factor, source = recipe.training_kind, 1.0, "estimated" if known[0].estimated else "measured"
    kinds = [time.kind for time in known]
    taken = next((one for one in (kind, "alone") if one in kinds), kinds[0])
    times = [time for time in known if time.method == method]
    if not times:
        times = [time for time in known if time.kind == taken]
        if taken != kind:
            factor = ARITHMETIC[kind] / ARITHMETIC[taken]
            source = f"{factor:.2f} × a step of '{taken}', by arithmetic"
        elif not known[0].estimated:
            source = f"measured on others that train {kind}"
    lows, middles, highs = zip(*(time.seconds for time in times), strict=True)
    seconds = (factor * min(lows), factor * statistics.median(middles), factor * max(highs))
    return replace(times[0], method=method, kind=kind, seconds=seconds, source=source)


def _same_network(measured: Budget, wanted: Budget) -> bool:
    # bf16_where_fast: each device chose its own precision.
    keys = [key for key in NETWORK if not (key == "precision" and wanted.precision == "bf16_where_fast")]
    return all(getattr(measured, key) == getattr(wanted, key) for key in keys)


def _network(budget: Budget) -> str:
    given = {key: getattr(budget, key) for key in ("patch_size", "batch_size", "features")}
    return ", ".join(f"{key} {value}" for key, value in given.items() if value) or "nnU-Net's own plan"
