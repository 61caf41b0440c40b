"""What it costs to save a training's state: seconds, bytes, and the share of the training's time.

python bench/save_cost.py [--folder WHERE]      a minute; prints one table. WHERE: the disk to measure, . by default

The first rows time one save of nnU-Net's own six-stage network for BraTS (128×128×128, 32 to 320 features), alone and
with a teacher that learns: pack, serialise, hash, write, fsync, rename. The share follows from `save_every_minutes`
and `SAVE_AT_MOST`, which limits it to 1/120 of the time. The last row is a real training of phantoms at this limit:
`save_every_minutes` is nearly 0, so that it saves as often as it may.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from dataset import make_dataset
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from kill_stress import BUDGET, PHANTOMS, SPLIT
from measure import markdown_table

from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.budget import Budget
from crossmodal.files import write_yaml
from crossmodal.train import state as states
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.train.job import TrainingJob, train
from crossmodal.train.reproducibility import random_state
from crossmodal.train.saving import SAVE_AT_MOST

FEATURES = (32, 64, 128, 256, 320, 320)


def state_of(networks: int) -> dict:
    """A state as large as that of this number of six-stage networks with momentum."""
    made = [
        PlainConvUNet(
            4, 6, FEATURES, torch.nn.Conv3d, 3, [1, 2, 2, 2, 2, 2], 2, 3, [2] * 5, True,
            torch.nn.InstanceNorm3d, {"affine": True}, nonlin=torch.nn.LeakyReLU, deep_supervision=True,
        )
        for _ in range(networks)
    ]  # fmt: skip
    momentum = {
        number: {"momentum_buffer": torch.randn_like(parameter)}
        for number, parameter in enumerate(p for network in made for p in network.parameters())
    }
    return {
        "networks": {str(number): network.state_dict() for number, network in enumerate(made)},
        "optimizer": {"state": momentum, "param_groups": [{"params": list(momentum)}]},
        "random": random_state(),
    }


def full_size(folder: Path, networks: int) -> tuple[str, ...]:
    """Row of the table for one save of full-size networks; the median of five."""
    state = state_of(networks)
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        states.save_state(folder / "state", state)
        seconds.append(time.monotonic() - began)
    size = (folder / "state" / states.NEWEST).stat().st_size / 2**20
    middle = statistics.median(seconds)
    share = middle / max(60 * Budget.model_fields["save_every_minutes"].default, middle / SAVE_AT_MOST)
    name = "one six-stage network" if networks == 1 else f"{networks} six-stage networks (a joint training)"
    return name, f"{size:.0f} MB", f"{1000 * middle:.0f} ms", f"{100 * share:.2f}%"


def real_training(folder: Path) -> tuple[str, ...]:
    """Row of the table for a training that saves as often as it may."""
    spent: list[float] = []
    save = DistillationTrainer.save_state

    def timed(self: DistillationTrainer) -> None:
        began = time.monotonic()
        save(self)
        spent.append(time.monotonic() - began)

    DistillationTrainer.save_state = timed
    budget = BUDGET.replaced(save_every_minutes=1e-9)
    write_yaml(folder / "budget.yaml", budget.plain())
    make_dataset(folder, str(folder / "budget.yaml"), PHANTOMS, SPLIT)
    began = time.monotonic()
    job = TrainingJob("choi2023", recipes.load("choi2023"), "t2", 0, 0, budget, folder / "nnunet", folder / "m")
    train(job, torch.device("cpu"))
    seconds = time.monotonic() - began
    name = f"tiny choi2023 on phantoms, {len(spent)} saves in {seconds:.0f} s"
    return name, "", f"{1000 * statistics.median(spent):.1f} ms", f"{100 * sum(spent) / seconds:.2f}%"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        rows = [full_size(Path(scratch), networks) for networks in (1, 2)]
        rows.append(real_training(Path(scratch)))
    print(markdown_table(("state of", "size", "one save", "share of the time"), rows))


if __name__ == "__main__":
    main()
