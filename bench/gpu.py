"""Images a second on a GPU: stock nnU-Net, student, joint and frozen, at patch 128³, batch 2, four modalities.

    python bench/gpu.py [--steps 30] [--workers 12] [--out bench/gpu.json] [--readme bench/README.md]
    python bench/gpu.py --tiny      seconds on a CPU, to see that it runs; the times mean nothing

For each network: fp16 (nnU-Net's own autocast) and bf16, torch.compile off and on, and three sources of batches:
already on the device; loaded and augmented by worker processes (`augment_on: loader`); loaded by them and augmented on
the device (`augment_on: device`). One after another; stock nnU-Net has no bf16 and augments in its workers alone. Torch
counts the operations of a step, so that TFLOP/s can be compared with the GPU's peak. A second table has what is aimed
at: `real_vs_preloaded` is images a second with real loading over those with batches that are on the device already.
"""

import datetime
import gc
import itertools
import json
import sys
import time
from pathlib import Path

import torch
import typer
from measure import TINY, Data, device_name, markdown_table, quartiles
from processes import Setup, budget_of, running
from run import SUBSET
from torch.utils.flop_counter import FlopCounterMode

from crossmodal.domain import ALL
from crossmodal.experiment.budget import Budget
from crossmodal.files import replace_between, write_json

NETWORKS = {
    "stock": (None, ALL),
    "student": ("teacher", ALL),  # four channels, as stock nnU-Net has
    "joint": ("choi2023", SUBSET),
    "frozen": ("choi2023_two_stage", SUBSET),
}
# 240×240×155 voxels with nnU-Net's own plan, but for the patch, which it fits to the phantoms.
PLAN = Budget(title="nnU-Net's own plan, its patch at 128³", patch_size=[128] * 3, batch_size=2)
FULL_SIZE = Data(PLAN, "--cases 6 --spacing 1", "--test-fraction 0 --folds 2")
BATCHES_ON_DEVICE = 4
# Where batches come from: whether they are on the device already, and else who augments them.
SOURCES = {"on the device": (True, "loader"), "loaded": (False, "loader"), "augmented there": (False, "device")}
GOALS = {"real_vs_preloaded": "≥ 0.90", "images/s of student": "≥ 60 on an H200"}
OUT = Path(__file__).with_suffix(".json")
HEADER = ("network", "precision", "compile", "data", "images/s", "step, ms", "spread", "TFLOP/s", "peak, MB")


def measure(setup: Setup, on_device: bool, scratch: Path, steps: int, warm_up: int) -> dict:
    """Images a second of one trainer, and what a step costs; on_device: with a few batches, used again and again."""
    gc.collect()
    cuda = setup.device == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    times = []
    with running(setup, scratch) as trainer:
        batches = trainer.dataloader_train
        if on_device:
            few = [next(batches) for _ in range(BATCHES_ON_DEVICE)]
            for batch in few:
                batch["data"] = batch["data"].to(trainer.device)
                batch["target"] = [scale.to(trainer.device) for scale in batch["target"]]
            batches = itertools.cycle(few)
        for _ in range(warm_up + steps):
            start = time.perf_counter()
            trainer.train_step(next(batches))
            trainer.step_in_epoch = 1  # the first step of an epoch, which does more, is in the warm-up
            if cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        low, step, high = quartiles(times[warm_up:])
        found = {"images_per_s": trainer.configuration_manager.batch_size / step, "step_ms": 1000 * step}
        found |= {"spread": (high - low) / 2 / step}
        found |= {"peak_mb": torch.cuda.max_memory_allocated() / 2**20 if cuda else None}
        if not setup.budget.compile:
            batch = next(trainer.dataloader_train)
            with FlopCounterMode(display=False) as counter:
                trainer.train_step(batch)
            found |= {"tflop_per_step": counter.get_total_flops() / 1e12}
            found |= {"tflop_per_s": found["tflop_per_step"] / step}
        trainer.dataloader_train = trainer.dataloader_val = None  # ends the workers
    return found


def combinations(names: list[str], cuda: bool, workers: int) -> list[tuple[str, str, dict]]:
    """Name, source of batches, and options of the budget; torch.compile is for GPUs."""
    every = itertools.product(NETWORKS, ("default", "bf16"), (False, True), SOURCES.items())
    found = []
    for name, precision, compiled, (source, (there, augments)) in every:
        possible = (cuda or not compiled) and (name != "stock" or (precision, augments) == ("default", "loader"))
        if name in names and possible:
            options = {"precision": precision, "compile": compiled, "augment_on": augments}
            found.append((name, source, options | {"loader_workers": 0 if there else workers}))
    return found


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table."""
    cells = [
        (
            *(row["name"], row["precision"], "on" if row["compile"] else "off"),
            *(row["source"], f"{row['images_per_s']:.3g}"),
            *(f"{row['step_ms']:.1f}", f"±{100 * row['spread']:.0f}%"),
            f"{row['tflop_per_s']:.3g}" if row.get("tflop_per_s") else "",
            f"{row['peak_mb']:,.0f}" if row["peak_mb"] else "",
        )
        for row in rows
    ]
    return markdown_table(HEADER, cells)


def goals(rows: list[dict]) -> str:
    """What is aimed at beside what was measured, as a Markdown table; of each row, its options follow."""
    speeds = {(row["name"], row["precision"], row["compile"], row["source"]): row["images_per_s"] for row in rows}
    cells = []
    for (name, precision, compiled, source), speed in speeds.items():
        options = f"{name}, {precision}{', compiled' if compiled else ''}, {source}"
        if source == "on the device":
            continue
        ratio = speed / speeds[name, precision, compiled, "on the device"]
        cells.append(("real_vs_preloaded", options, f"{ratio:.2f}", GOALS["real_vs_preloaded"]))
        if name == "student":
            cells.append(("images/s of student", options, f"{speed:.3g}", GOALS["images/s of student"]))
    nothing = [(name, "", "not measured", goal) for name, goal in GOALS.items()]
    return markdown_table(("", "options", "measured", "goal"), sorted(cells) or nothing)


def main(
    steps: int = 30,
    workers: int = 12,
    out: Path = OUT,
    readme: Path | None = None,
    only: str = ",".join(NETWORKS),
    tiny: bool = False,
) -> None:
    """Images a second on a GPU.

    --workers: processes that load and augment. --out: JSON that is written. --readme: also put the table between this
    file's markers. --only: comma-separated names. --tiny: a tiny network on the CPU.
    """
    if not tiny and not torch.cuda.is_available():
        print("no GPU that torch can use: nothing measured (--tiny tries the script on a CPU)", file=sys.stderr)
        print(goals([]))
        return
    steps, warm_up, workers, device = (1, 1, 1, "cpu") if tiny else (steps, 10, workers, "cuda")
    name, today, rows = device_name(device), datetime.date.today().isoformat(), []
    with (TINY if tiny else FULL_SIZE).built() as (folder, _, budget):
        for number, (network, source, options) in enumerate(combinations(only.split(","), not tiny, workers)):
            setup = Setup(folder / "nnunet", budget_of(budget, device, **options), *NETWORKS[network], device)
            found = measure(setup, SOURCES[source][0], folder / str(number), steps, warm_up)
            rows.append({"name": network, "source": source} | options | found)
            print(json.dumps(rows[-1]), flush=True)
    shown = f"{table(rows)}\n\n{goals(rows)}"
    print(shown)
    write_json(out, {"device": name, "measured": today, "rows": rows})
    if readme:
        replace_between(readme, "gpu", f"Measured {today} by `python bench/gpu.py` on: {name}.\n\n{shown}")


if __name__ == "__main__":
    typer.run(main)
