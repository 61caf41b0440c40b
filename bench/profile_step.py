"""Where the time of a training step goes, in this project and in stock nnU-Net.

    python bench/profile_step.py [--steps 40] [--tiny] [--device cpu]

Each column is a trainer in a process that keeps freed memory, as this project's do; they take steps in turn. Medians in
ms. Wrappers around the functions of nnU-Net and of this project time the parts; each waits for the device at its start
and end.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import typer
from measure import DEMO, TINY, Worker, device_name, markdown_table, take_turns
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from processes import STOCK_OPTIONS, Setup, budget_of, running, take_step
from run import SUBSET

from crossmodal.device import keep_freed_memory
from crossmodal.distill import features as taps
from crossmodal.train.reproducibility import seed_everything

PARTS = ("load", "augment", "forward", "loss", "backward", "optimiser", "rest")


class Clock:
    """Milliseconds of each part of the current step."""

    def __init__(self, device: str) -> None:
        self.device, self.ms, self.inside = device, dict.fromkeys(PARTS, 0.0), []

    def now(self) -> float:
        """The time in ms, once the device has finished its work."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return 1000 * time.perf_counter()

    def around(self, part: str, function: Callable) -> Callable:
        """The function, which adds its time to the part; time of parts inside it is counted for those alone."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self.now()
            self.inside.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = self.now() - start
                self.ms[part] += took - self.inside.pop()
                if self.inside:
                    self.inside[-1] += took

        return timed


def watch(trainer: nnUNetTrainer, clock: Clock) -> Callable[[nnUNetTrainer], float]:
    """`take_step`, with the parts of the trainer timed."""
    loader = getattr(trainer.dataloader_train, "data_loader", None)
    if loader is not None:  # of worker processes only the waiting time is known
        loader.transforms = clock.around("augment", loader.transforms)
    trainer.dataloader_train = iter(clock.around("load", trainer.dataloader_train.__next__), None)
    torch.Tensor.backward = clock.around("backward", torch.Tensor.backward)
    torch.nn.utils.clip_grad_norm_ = clock.around("optimiser", torch.nn.utils.clip_grad_norm_)
    taps.forward = clock.around("forward", taps.forward)
    trainer.loss.forward = clock.around("loss", trainer.loss.forward)
    trainer.network.forward = clock.around("forward", trainer.network.forward)
    trainer.optimizer.step = clock.around("optimiser", trainer.optimizer.step)
    trainer.optimizer.zero_grad = clock.around("optimiser", trainer.optimizer.zero_grad)
    return clock.around("rest", take_step)


def profiled_steps(setup: Setup, scratch: Path) -> Iterator[dict[str, float] | None]:
    """As work of a `Worker`: one step of a trainer each time; yields ms of each part."""
    keep_freed_memory()
    with running(setup, scratch) as trainer:
        clock = Clock(setup.device)
        step = watch(trainer, clock)
        yield None
        for number in itertools.count():
            clock.ms = dict.fromkeys(PARTS, 0.0)
            seed_everything(number)  # every trainer's step draws the same augmentation
            step(trainer)
            yield clock.ms | {"whole step": sum(clock.ms.values())}


def main(steps: int = 40, device: str = "cpu", tiny: bool = False) -> None:
    """Where the time of a training step goes. --device: cpu or cuda. --tiny: to see that it runs."""
    warm_up, steps = (1, 2) if tiny else (5, steps)
    with (TINY if tiny else DEMO).built() as (folder, _, budget):
        dataset, plain, fast = folder / "nnunet", budget_of(budget, device, **STOCK_OPTIONS), budget_of(budget, device)
        setups = {
            "stock nnU-Net": Setup(dataset, plain, device=device),
            "teacher": Setup(dataset, plain, "teacher", device=device),
            "teacher, demo": Setup(dataset, fast, "teacher", device=device),
            "choi2023, demo": Setup(dataset, fast, "choi2023", SUBSET, device),
        }
        workers = {label: Worker(profiled_steps, setup, folder / label) for label, setup in setups.items()}
        found = take_turns(workers, warm_up + steps)
    rows = []
    for part in (*PARTS, "whole step"):
        medians = [statistics.median(run.value[part] for run in runs[warm_up:]) for runs in found.values()]
        rows.append([part, *(f"{median:.1f}" for median in medians)])
    print(f"{device_name(device)}; budget {budget}\n")
    print(markdown_table(["ms", *setups], rows))


if __name__ == "__main__":
    typer.run(main)
