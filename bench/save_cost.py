"""What it costs to save a training's state: seconds, bytes, and the share of the training's time.

python bench/save_cost.py [--folder WHERE]      a minute; prints one table. WHERE: the disk to measure, . by default

The first rows time one save of nnU-Net's own six-stage network for BraTS (128×128×128, 32 to 320 features), alone and
with a teacher that learns: pack, serialise, hash, write, fsync, rename. The share follows from `save_every_minutes`
and `SAVE_AT_MOST`, which limits it to 1/120 of the time. The last row is a real training of phantoms at this limit:
`save_every_minutes` is nearly 0, so that it saves as often as it may.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import typer
from kill_stress import BUDGET, DATA
from measure import markdown_table

from crossmodal.cost.network import network
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.budget import Budget
from crossmodal.train import state as states
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.train.job import TrainingJob, train
from crossmodal.train.loop import SAVE_AT_MOST
from crossmodal.train.reproducibility import random_state


def state_of(networks: int) -> dict:
    """A state as large as that of this number of six-stage networks with momentum; the values are arbitrary."""
    made = [network(Budget(title="nnU-Net's own"), "plain").to_empty(device="cpu") for _ in range(networks)]
    momentum = {
        number: {"momentum_buffer": torch.randn_like(parameter)}
        for number, parameter in enumerate(p for one in made for p in one.parameters())
    }
    return {
        "networks": {str(number): one.state_dict() for number, one in enumerate(made)},
        "optimizer": {"state": momentum, "param_groups": [{"params": list(momentum)}]},
        "random": random_state(),
    }


def timed(function: Callable, spent: list[float]) -> Callable:
    """The function, which adds its seconds to `spent`."""

    def run(*args: object) -> None:
        began = time.monotonic()
        function(*args)
        spent.append(time.monotonic() - began)

    return run


def full_size(folder: Path, networks: int) -> tuple[str, ...]:
    """Row of the table for one save of full-size networks; the median of five."""
    state, seconds = state_of(networks), []
    for _ in range(5):
        timed(states.save_state, seconds)(folder / "state", state)
    size = (folder / "state" / states.NEWEST).stat().st_size / 2**20
    middle = statistics.median(seconds)
    share = middle / max(60 * Budget.model_fields["save_every_minutes"].default, middle / SAVE_AT_MOST)
    name = "one six-stage network" if networks == 1 else f"{networks} six-stage networks (a joint training)"
    return name, f"{size:.0f} MB", f"{1000 * middle:.0f} ms", f"{100 * share:.2f}%"


def real_training(folder: Path) -> tuple[str, ...]:
    """Row of the table for a training that saves as often as it may; the dataset is in folder/nnunet."""
    saves, seconds = [], []
    DistillationTrainer.save_state = timed(DistillationTrainer.save_state, saves)
    budget = BUDGET.replaced(save_every_minutes=1e-9)
    job = TrainingJob("choi2023", recipes.load("choi2023"), "t2", 0, 0, budget, folder / "nnunet", folder / "m")
    timed(train, seconds)(job, torch.device("cpu"))
    name = f"tiny choi2023 on phantoms, {len(saves)} saves in {seconds[0]:.0f} s"
    return name, "", f"{1000 * statistics.median(saves):.1f} ms", f"{100 * sum(saves) / seconds[0]:.2f}%"


def main(folder: Path = Path()) -> None:
    """What it costs to save a training's state, on the disk of --folder."""
    with DATA.built(folder) as (scratch, *_):
        rows = [full_size(scratch, 1), full_size(scratch, 2), real_training(scratch)]
    print(markdown_table(("state of", "size", "one save", "share of the time"), rows))


if __name__ == "__main__":
    typer.run(main)
