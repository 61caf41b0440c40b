"""Batches a second of this project's loader and of nnU-Net's, at patch 128³, batch 2, four modalities.

    python bench/loader.py [--workers 1,2,12] [--rounds 3] [--out bench/loader.json] [--readme bench/README.md]
    python bench/loader.py --tiny      a minute, to see that it runs; the times mean nothing

On four phantoms of 1 mm with nnU-Net's own plan, which are read anew for each batch, as a release's cases are. First
the processor time of a batch in one process, divided into reading and augmentation; both loaders draw the same, and
if a voxel differs, nothing is measured. Then batches a second of worker processes, in turn: with nnU-Net's default
augmentation, and without (validation batches). nnU-Net's are those of its own multi-process augmenter, with the
settings of its trainer; as in ours, the blur does not choose its method by timing.
"""

import datetime
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import typer
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from measure import TINY, Data, device_name, markdown_table, quartiles
from nnunetv2.training.dataloading import data_loader as theirs
from processes import Setup, budget_of, running

from crossmodal.experiment.budget import Budget
from crossmodal.files import replace_between, write_json
from crossmodal.train import batches
from crossmodal.train.reproducibility import seed_everything

PLAN = Budget(title="nnU-Net's own plan, its patch at 128³", patch_size=[128] * 3, batch_size=2, features=[4] * 6)
FULL_SIZE = Data(PLAN, "--cases 4 --spacing 1", "--test-fraction 0 --folds 2")
OUT = Path(__file__).with_suffix(".json")
PER_BATCH = ("processor time of a batch, ms", "nnU-Net", "ours", "ratio")
PER_SECOND = ("batches", "workers", "nnU-Net, batches/s", "ours, batches/s", "ours / nnU-Net", "spread")


class Timer:
    """Processor time that a function takes, added up."""

    def __init__(self, owner: object, name: str) -> None:
        self.spent, self.function = 0.0, getattr(owner, name)
        setattr(owner, name, self)

    def __call__(self, *args: object, **kwargs: object) -> object:
        start = time.process_time()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.spent += time.process_time() - start


def per_batch(ours: object, nnunet: object, count: int) -> dict[str, dict[str, float]]:
    """Mean milliseconds of a batch: of reading, of the rest, and of both."""
    timers = {"ours": [Timer(ours, "_cut_out")]}
    timers["nnunet"] = [Timer(nnunet._data, "load_case"), Timer(theirs, "crop_and_pad_nd")]
    found: dict[str, dict[str, list]] = {name: {"read and crop": [], "augment": [], "both": []} for name in timers}
    for number in range(count + 1):  # the first warms up
        made = {}
        for name, loader in sorted({"ours": ours, "nnunet": nnunet}.items(), reverse=bool(number % 2)):
            seed_everything(number)
            for timer in timers[name]:
                timer.spent = 0.0
            start = time.process_time()
            made[name] = loader.generate_train_batch()
            both, read = time.process_time() - start, sum(timer.spent for timer in timers[name])
            for part, spent in zip(found[name], (read, both - read, both), strict=True):
                found[name][part] += [1000 * spent] if number else []
        one, other = made["ours"], made["nnunet"]
        if not (torch.equal(one["data"], other["data"]) and all(map(torch.equal, one["target"], other["target"]))):
            raise SystemExit(f"batch {number} is not nnU-Net's, voxel for voxel: nothing was measured")
    del ours._cut_out, nnunet._data.load_case
    theirs.crop_and_pad_nd = timers["nnunet"][1].function
    # Means: a rotation, which takes long, is drawn for some samples alone.
    return {name: {part: statistics.mean(spent) for part, spent in parts.items()} for name, parts in found.items()}


@contextmanager
def of_ours(loader: object, workers: int, count: int) -> Iterator[Iterator[dict]]:
    """Batches of this project's worker processes, and how many are under way."""
    yield batches.batches_in_order(loader, 0, 0, count, workers, pin=False), 3 * workers


@contextmanager
def of_nnunet(loader: object, workers: int, _count: int) -> Iterator[Iterator[dict]]:
    """Batches of nnU-Net's worker processes, and how many are under way."""
    cached = max(6, workers // 2)
    options = {"num_processes": workers, "num_cached": cached, "seeds": None, "pin_memory": False, "wait_time": 0.002}
    augmenter = NonDetMultiThreadedAugmenter(loader, None, **options)
    try:
        yield augmenter, cached + workers
    finally:
        augmenter._finish()


def batches_per_second(source: Callable, loader: object, workers: int, count: int) -> float:
    """Of worker processes whose batches nobody waits to use, while as many are under way as ever.

    Ours come in order, so many may be finished behind one that is late: many more are counted than are under way.
    """
    counted = max(count, 12 * workers)
    with source(loader, workers, counted + 6 * workers) as (made, under_way):
        for _ in range(under_way):
            next(made)
        start = time.perf_counter()
        for _ in range(counted):
            next(made)
        return counted / (time.perf_counter() - start)


def measure(folder: Path, budget: str, workers: list[int], count: int, rounds: int) -> dict:
    """Both tables' numbers."""
    batches.KEPT_AT_MOST = 0  # four cases would be kept in memory
    settings = budget_of(budget, "cpu", loader_workers=0, threads=1)
    setups = Setup(folder / "nnunet", settings, "teacher"), Setup(folder / "nnunet", settings)
    with running(setups[0], folder / "ours") as ours, running(setups[1], folder / "stock") as stock:
        loaders = {
            "augmented": (ours.dataloader_train.data_loader, stock.dataloader_train.data_loader),
            "not augmented": (ours.dataloader_val.data_loader, stock.dataloader_val.data_loader),
        }
        found = {"per_batch": per_batch(*loaders["augmented"], count), "per_second": []}
        for kind, (our_loader, their_loader) in loaders.items():
            for number in workers:
                turns = []
                for turn in range(rounds):
                    sides = {of_nnunet: their_loader, of_ours: our_loader}
                    speeds = {
                        source: batches_per_second(source, sides[source], number, count)
                        for source in (list(sides)[::-1] if turn % 2 else sides)
                    }
                    turns.append((speeds[of_nnunet], speeds[of_ours]))
                nnunet, own = (statistics.median(side) for side in zip(*turns, strict=True))
                low, _, high = quartiles([one / other for other, one in turns])
                row = {"batches": kind, "workers": number, "nnunet": nnunet, "ours": own, "ratio": own / nnunet}
                found["per_second"].append(row | {"spread": (high - low) / 2 / row["ratio"]})
                print(json.dumps(found["per_second"][-1]), flush=True)
    return found


def tables(found: dict) -> str:
    """The numbers as two Markdown tables."""
    ours, nnunet = found["per_batch"]["ours"], found["per_batch"]["nnunet"]
    parts = [(part, f"{nnunet[part]:.0f}", f"{ours[part]:.0f}", f"{ours[part] / nnunet[part]:.2f}") for part in ours]
    rows = [
        (
            *(row["batches"], row["workers"]),
            *(f"{row[key]:.2f}" for key in ("nnunet", "ours", "ratio")),
            f"±{100 * row['spread']:.0f}%" if row["spread"] else "one round",
        )
        for row in found["per_second"]
    ]
    per_second = markdown_table(PER_SECOND, rows) if rows else "Batches a second of worker processes: not measured."
    return f"{markdown_table(PER_BATCH, parts)}\n\n{per_second}"


def main(
    workers: str = "1,2,12",
    count: int = 16,
    rounds: int = 3,
    out: Path = OUT,
    readme: Path | None = None,
    tiny: bool = False,
) -> None:
    """Batches a second of this project's loader and of nnU-Net's.

    --workers: numbers of processes, or "" for the first table alone. --count: batches of each measurement, at least.
    --rounds: how often each is measured. --out: JSON that is written. --readme: also put the tables between this file's
    markers. --tiny: tiny patches.
    """
    numbers = [int(number) for number in workers.split(",") if number]
    if tiny:
        numbers, count, rounds = numbers[:1], 2, 1
    with (TINY if tiny else FULL_SIZE).built() as (folder, _, budget):
        found = measure(folder, budget, numbers, count, rounds)
    found |= {"device": device_name(), "measured": datetime.date.today().isoformat()}
    print(tables(found))
    write_json(out, found)
    if readme:
        heading = f"Measured {found['measured']} by `python bench/loader.py` on: {found['device']}."
        replace_between(readme, "loader", f"{heading}\n\n{tables(found)}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        typer.run(main)
