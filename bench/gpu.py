"""Images a second on a GPU: stock nnU-Net, student, joint and frozen, at patch 128³, batch 2, four modalities.

    python bench/gpu.py [--steps 30] [--workers 12] [--out bench/gpu.json] [--readme bench/README.md]
    python bench/gpu.py --tiny      seconds on a CPU, to see that it runs; the times mean nothing

For each network: fp16 (nnU-Net's own autocast) and bf16, torch.compile off and on, batches already on the device and
batches that worker processes load and augment. One after another; stock nnU-Net has no bf16. Torch counts the
operations of a step, so that TFLOP/s can be compared with the GPU's peak.
"""

import argparse
import datetime
import gc
import itertools
import json
import tempfile
import time
from pathlib import Path

import torch
from dataset import demo_data, make_dataset
from measure import device_name, markdown_table, quartiles
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from processes import Setup, budget_of, running
from run import SUBSET
from torch.utils.flop_counter import FlopCounterMode

from crossmodal.domain import ALL
from crossmodal.files import replace_between, write_json

NETWORKS = {
    "stock": {"method": None, "subset": ALL},
    "student": {"method": "teacher", "subset": ALL},  # four channels, as stock nnU-Net has
    "joint": {"method": "choi2023", "subset": SUBSET},
    "frozen": {"method": "choi2023_two_stage", "subset": SUBSET},
}
BATCHES_ON_DEVICE = 4
HEADER = ("network", "precision", "compile", "data", "images/s", "step, ms", "spread", "TFLOP/s", "peak, MB")


def measure(setup: Setup, on_device: bool, scratch: Path, steps: int, warm_up: int) -> dict:
    """Images a second of one trainer, and what a step costs; on_device: with a few batches, used again and again."""
    scratch.mkdir()
    gc.collect()
    cuda = setup.device == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with running(setup, scratch) as trainer:
        found = time_steps(trainer, on_device, steps, warm_up)
        found["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
        if not setup.budget.compile:
            with FlopCounterMode(display=False) as counter:
                trainer.train_step(next(trainer.dataloader_train))
            found["tflop_per_step"] = counter.get_total_flops() / 1e12
            found["tflop_per_s"] = 1000 * found["tflop_per_step"] / found["step_ms"]
        trainer.dataloader_train = trainer.dataloader_val = None  # ends the workers
    return found


def time_steps(trainer: nnUNetTrainer, on_device: bool, steps: int, warm_up: int) -> dict:
    """Images a second, the median time of a step, and half the interquartile range of the times relative to it."""
    batches = trainer.dataloader_train
    if on_device:
        batches = itertools.cycle([to_device(next(batches), trainer.device) for _ in range(BATCHES_ON_DEVICE)])
    times = []
    for number in range(warm_up + steps):
        start = time.perf_counter()
        trainer.train_step(next(batches))
        trainer.step_in_epoch = 1  # the first step of an epoch, which does more, is in the warm-up
        if trainer.device.type == "cuda":
            torch.cuda.synchronize()
        if number >= warm_up:
            times.append(time.perf_counter() - start)
    low, step, high = quartiles(times)
    batch = trainer.configuration_manager.batch_size
    return {"images_per_s": batch / step, "step_ms": 1000 * step, "spread": (high - low) / 2 / step}


def to_device(batch: dict, device: torch.device) -> dict:
    """The batch, its tensors on the device."""
    return batch | {"data": batch["data"].to(device), "target": [scale.to(device) for scale in batch["target"]]}


def every_run(cuda: bool, workers: int) -> list[dict]:
    """All combinations: name, whether batches are on the device, options of the budget; torch.compile is for GPUs."""
    runs = []
    for name, precision, compiled, on_device in itertools.product(NETWORKS, ("default", "bf16"), (0, 1), (1, 0)):
        if (compiled and not cuda) or (name == "stock" and precision != "default"):
            continue
        options = {"precision": precision, "compile": bool(compiled), "loader_workers": 0 if on_device else workers}
        runs.append({"name": name, "on_device": bool(on_device), "options": options})
    return runs


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table."""
    cells = [
        (
            *(row["name"], row["precision"], "on" if row["compile"] else "off"),
            *("on the device" if row["on_device"] else "loaded", f"{row['images_per_s']:.3g}"),
            *(f"{row['step_ms']:.1f}", f"±{100 * row['spread']:.0f}%"),
            f"{row['tflop_per_s']:.3g}" if row.get("tflop_per_s") else "",
            f"{row['peak_mb']:,.0f}" if row["peak_mb"] else "",
        )
        for row in rows
    ]
    return markdown_table(HEADER, cells)


def main() -> None:
    """Measure all combinations; print and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=12, help="processes that load and augment")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--readme", type=Path, help="also put the table between this file's markers")
    parser.add_argument("--tiny", action="store_true", help="a tiny network on the CPU")
    parser.add_argument("--only", default=",".join(NETWORKS), help="comma-separated: " + ", ".join(NETWORKS))
    given = parser.parse_args()
    if not given.tiny and not torch.cuda.is_available():
        parser.exit(message="no GPU that torch can use: nothing measured (--tiny tries the script on a CPU)\n")
    steps, warm_up, workers, kind = (1, 1, 1, "cpu") if given.tiny else (given.steps, 10, given.workers, "cuda")
    device, today = device_name() if given.tiny else torch.cuda.get_device_name(), datetime.date.today().isoformat()
    rows = []
    with tempfile.TemporaryDirectory(prefix="crossmodal-bench-") as name:
        folder = Path(name)
        if given.tiny:
            _, budget = demo_data(folder, True)
        else:  # phantoms of 240×240×155 voxels with nnU-Net's own plan
            budget = "full"
            make_dataset(folder, budget, "--cases 6 --spacing 1", "--test-fraction 0 --folds 2")
        for number, run in enumerate(every_run(not given.tiny, workers)):
            if run["name"] not in given.only.split(","):
                continue
            settings = budget_of(budget, kind, **run["options"])
            setup = Setup(dataset=str(folder / "nnunet"), budget=settings, device=kind, **NETWORKS[run["name"]])
            found = measure(setup, run["on_device"], folder / str(number), steps, warm_up)
            rows.append({"name": run["name"], "on_device": run["on_device"]} | run["options"] | found)
            print(json.dumps(rows[-1]), flush=True)
    print(table(rows))
    write_json(given.out, {"device": device, "measured": today, "rows": rows})
    if given.readme:
        replace_between(
            given.readme, "gpu", f"Measured {today} by `python bench/gpu.py` on: {device}.\n\n{table(rows)}"
        )


if __name__ == "__main__":
    main()
