"""Where the time of a training step goes, in this project and in stock nnU-Net.

    python bench/profile_step.py [--steps 40] [--tiny] [--device cpu]

Each column is a trainer in this process, so that all of them keep freed memory as this project's do; they take steps in
turn. Medians in ms. Wrappers around the functions of nnU-Net and of this project time the parts; each waits for the
device at its start and end.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from dataset import demo_data
from measure import device_name, markdown_table
from nnunetv2.training.dataloading import data_loader
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from processes import STOCK_OPTIONS, Setup, budget_of, build, stepper
from run import SUBSET

from crossmodal.distill import features as taps
from crossmodal.train.batches import cached_thread_limits
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.train.reproducibility import seed_everything

PARTS = ("load", "augment", "forward", "loss", "backward", "optimiser", "rest")


class Clock:
    """Seconds of each part of the current step."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds, self.inside = device, dict.fromkeys(PARTS, 0.0), []

    def now(self) -> float:
        """The time, once the device has finished its work."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def around(self, part: str, function: Callable) -> Callable:
        """The function, which adds its time to the part; time of parts inside it is counted for those alone."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self.now()
            self.inside.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = self.now() - start
                self.seconds[part] += took - self.inside.pop()
                if self.inside:
                    self.inside[-1] += took

        return timed


def watch(trainer: nnUNetTrainer, clock: Clock) -> Callable[[], float]:
    """A step of the trainer, its parts timed."""
    loader = getattr(trainer.dataloader_train, "data_loader", None)
    if loader is not None:  # of worker processes only the waiting time is known
        loader.transforms = _Called(clock.around("augment", loader.transforms))
    trainer.dataloader_train = _Timed(trainer.dataloader_train, clock, thread_limits(trainer))
    trainer.loss.forward = clock.around("loss", trainer.loss.forward)
    trainer.network.forward = clock.around("forward", trainer.network.forward)
    trainer.optimizer.step = clock.around("optimiser", trainer.optimizer.step)
    trainer.optimizer.zero_grad = clock.around("optimiser", trainer.optimizer.zero_grad)
    return clock.around("rest", stepper(trainer))


def thread_limits(trainer: nnUNetTrainer) -> Callable:
    """What limits the threads of a trainer's loader when its own loop runs."""
    with cached_thread_limits() if isinstance(trainer, DistillationTrainer) else nullcontext():
        return data_loader.threadpool_limits


class _Called:
    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, **data: Any) -> Any:
        return self.function(**data)


class _Timed:
    def __init__(self, batches: Any, clock: Clock, limits: Callable) -> None:
        self.next, self.limits = clock.around("load", batches.__next__), limits

    def __next__(self) -> dict:
        data_loader.threadpool_limits = self.limits  # of the whole process: each has its own
        return self.next()


def profile(trainers: dict[str, nnUNetTrainer], steps: int, device: str, warm_up: int) -> dict[str, dict[str, float]]:
    """Median ms of each part, by trainer."""
    clock = Clock(device)
    # These are of the whole process, so they time whichever trainer takes a step.
    torch.Tensor.backward = clock.around("backward", torch.Tensor.backward)
    torch.nn.utils.clip_grad_norm_ = clock.around("optimiser", torch.nn.utils.clip_grad_norm_)
    taps.forward = clock.around("forward", taps.forward)
    stepping = {name: watch(trainer, clock) for name, trainer in trainers.items()}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in trainers}
    for number in range(warm_up + steps):
        for name in list(stepping) if number % 2 else list(stepping)[::-1]:
            clock.seconds = dict.fromkeys(PARTS, 0.0)
            seed_everything(number)  # every trainer's step draws the same augmentation
            stepping[name]()
            if number >= warm_up:
                found[name].append({part: 1000 * seconds for part, seconds in clock.seconds.items()})
    medians = {}
    for name, rows in found.items():
        medians[name] = {part: statistics.median(row[part] for row in rows) for part in PARTS}
        medians[name]["whole step"] = statistics.median(sum(row.values()) for row in rows)
    return medians


def setups(dataset: Path, budget: str, device: str) -> dict[str, Setup]:
    """What is profiled."""
    plain, fast = budget_of(budget, device, **STOCK_OPTIONS), budget_of(budget, device)
    common = {"dataset": str(dataset), "device": device}
    return {
        "stock nnU-Net": Setup(budget=plain, **common),
        "teacher": Setup(method="teacher", budget=plain, **common),
        "teacher, demo": Setup(method="teacher", budget=fast, **common),
        "choi2023, demo": Setup(method="choi2023", subset=SUBSET, budget=fast, **common),
    }


def table(medians: dict[str, dict[str, float]]) -> str:
    """The medians as a Markdown table."""
    rows = [[part, *(f"{column[part]:.1f}" for column in medians.values())] for part in (*PARTS, "whole step")]
    return markdown_table(["ms", *medians], rows)


def main() -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--tiny", action="store_true", help="seconds, to see that it runs; the times mean nothing")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crossmodal-bench-") as name:
        folder = Path(name)
        _, budget = demo_data(folder, given.tiny)
        trainers = {}
        for number, (label, setup) in enumerate(setups(folder / "nnunet", budget, given.device).items()):
            (folder / str(number)).mkdir()
            trainers[label] = build(setup, folder / str(number))
        medians = profile(trainers, 2 if given.tiny else given.steps, given.device, 1 if given.tiny else 5)
    print(f"{device_name() if given.device == 'cpu' else torch.cuda.get_device_name()}; budget {budget}\n")
    print(table(medians))


if __name__ == "__main__":
    main()
