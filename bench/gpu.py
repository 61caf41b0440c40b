"""Images a second on a GPU: stock nnU-Net, student, joint and frozen, at patch 128³, batch 2, four modalities.

    python bench/gpu.py [--steps 30] [--workers 12] [--out bench/gpu.json] [--readme bench/README.md]
    python bench/gpu.py --tiny      seconds on a CPU: to see that it runs; its figures mean nothing

For each of: fp16 (nnU-Net's own autocast) and bf16, torch.compile off and on, batches already on the device and
batches really loaded and augmented by worker processes. One after another; stock nnU-Net compiles by default, and
has no bf16. The operations of a step are counted by torch: TFLOP/s is what can be held against the chip's peak.
"""

import argparse
import datetime
import gc
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from crossmodal.files import write_json, write_text
from crossmodal.domain import ALL
from measure import device_name, run_command
from parties import budget_of, build
from run import SUBSET, demo_data
from torch.utils.flop_counter import FlopCounterMode

PARTIES = {
    "stock": {"kind": "stock"},
    "student": {"kind": "ours", "method": "teacher", "subset": ALL},  # four channels, as stock has
    "joint": {"kind": "ours", "method": "choi2023", "subset": SUBSET},
    "frozen": {"kind": "ours", "method": "choi2023_two_stage", "subset": SUBSET},
}
BATCHES_ON_DEVICE = 4
BEGIN, END = "<!-- gpu: begin -->", "<!-- gpu: end -->"


def full_size_data(folder: Path) -> tuple[Path, str]:
    """A dataset of six phantoms of 240×240×155 voxels by nnU-Net's own plan."""
    make = ["crossmodal", "cohort", "phantom", str(folder / "phantoms"), "--cases", "6", "--spacing", "1"]
    run_command(make, {}, folder / "phantom.log")
    check = ["crossmodal", "cohort", "check", str(folder / "phantoms"), "--out", str(folder / "cohort")]
    run_command([*check, "--test-fraction", "0", "--folds", "2"], {}, folder / "check.log")
    command = ["crossmodal", "dataset", "--cases", str(folder / "cohort" / "cases.csv"), "--out"]
    run_command([*command, str(folder / "nnunet"), "--budget", "full", "--workers", "4"], {}, folder / "dataset.log")
    return folder / "nnunet", "full"


def measure(party: dict, on_device: bool, scratch: Path, steps: int, warm_up: int) -> dict:
    """Images a second of one trainer, and what a step costs."""
    scratch.mkdir()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer = build(party, scratch)
    cuda = party["device"] == "cuda"
    batches = trainer.dataloader_train
    if on_device:
        kept = [to_device(next(batches), trainer.device) for _ in range(BATCHES_ON_DEVICE)]
        batches = itertools.cycle(kept)
    times = []
    for number in range(warm_up + steps):
        start = time.perf_counter()
        trainer.train_step(next(batches))
        trainer.step_in_epoch = 1  # what is done once an epoch is done in the warm-up
        if cuda:
            torch.cuda.synchronize()
        if number >= warm_up:
            times.append(time.perf_counter() - start)
    step = statistics.median(times)
    low, _, high = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else [step] * 3
    batch = trainer.configuration_manager.batch_size
    found = {"images_per_s": batch / step, "step_ms": 1000 * step, "spread": (high - low) / 2 / step}
    found["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
    if not party["budget"]["compile"]:
        with FlopCounterMode(display=False) as counter:
            trainer.train_step(next(batches))
        found["tflop_per_step"] = counter.get_total_flops() / 1e12
        found["tflop_per_s"] = found["tflop_per_step"] / step
    trainer.dataloader_train = trainer.dataloader_val = None  # ends the workers
    return found


def to_device(batch: dict, device: torch.device) -> dict:
    """The batch, its tensors on the device."""
    target = [scale.to(device) for scale in batch["target"]]
    return batch | {"data": batch["data"].to(device), "target": target}


def every_run(cuda: bool, workers: int) -> list[dict]:
    """All combinations that there are; torch.compile is for GPUs."""
    runs = []
    for name, precision, compiled, on_device in itertools.product(PARTIES, ("default", "bf16"), (0, 1), (1, 0)):
        if (compiled and not cuda) or (name == "stock" and precision != "default"):
            continue
        options = {"precision": precision, "compile": bool(compiled), "loader_workers": 0 if on_device else workers}
        runs.append({"name": name, "on_device": bool(on_device), "options": options})
    return runs


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table."""
    lines = ["| network | precision | compile | data | images/s | step, ms | spread | TFLOP/s | peak, MB |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        data = "on the device" if row["on_device"] else "loaded"
        reached = f"{row['tflop_per_s']:.3g}" if row.get("tflop_per_s") else ""
        peak = f"{row['peak_mb']:,.0f}" if row["peak_mb"] else ""
        lines.append(
            f"| {row['name']} | {row['precision']} | {'on' if row['compile'] else 'off'} | {data} "
            f"| {row['images_per_s']:.3g} | {row['step_ms']:.1f} | ±{100 * row['spread']:.0f}% | {reached} | {peak} |"
        )
    return "\n".join(lines)


def write_readme(readme: Path, rows: list[dict], device: str) -> None:
    """Put the table between the README's markers, with date and device."""
    text = readme.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    heading = f"Measured {datetime.date.today().isoformat()} by `python bench/gpu.py` on: {device}."
    write_text(readme, f"{before}{BEGIN}\n{heading}\n\n{table(rows)}\n{END}{after}")


def main() -> None:
    """Measure all combinations; print and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=12, help="processes that load and augment")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--readme", type=Path, help="also put the table between this file's markers")
    parser.add_argument("--tiny", action="store_true", help="a tiny network on the CPU")
    parser.add_argument("--only", default=",".join(PARTIES), help="comma-separated: " + ", ".join(PARTIES))
    given = parser.parse_args()
    if not given.tiny and not torch.cuda.is_available():
        parser.exit(message="no GPU that torch can use: nothing measured (--tiny tries the script on a CPU)\n")
    kind = "cpu" if given.tiny else "cuda"
    steps, warm_up = (1, 1) if given.tiny else (given.steps, 10)
    device = device_name() if given.tiny else torch.cuda.get_device_name()
    rows = []
    with tempfile.TemporaryDirectory(prefix="crossmodal-bench-") as name:
        folder = Path(name)
        if given.tiny:
            dataset, budget = folder / "nnunet", demo_data(folder, True)[1]
        else:
            dataset, budget = full_size_data(folder)
        for number, run in enumerate(every_run(not given.tiny, 1 if given.tiny else given.workers)):
            if run["name"] not in given.only.split(","):
                continue
            settings = {"budget": budget_of(budget, kind, **run["options"]), "dataset": str(dataset), "device": kind}
            found = measure(PARTIES[run["name"]] | settings, run["on_device"], folder / str(number), steps, warm_up)
            rows.append({"name": run["name"], "on_device": run["on_device"]} | run["options"] | found)
            print(json.dumps(rows[-1]), flush=True)
    print(table(rows))
    write_json(given.out, {"device": device, "measured": datetime.date.today().isoformat(), "rows": rows})
    if given.readme:
        write_readme(given.readme, rows, device)


if __name__ == "__main__":
    main()
