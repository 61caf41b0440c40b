"""What it costs to save a training's state: seconds, bytes, and the share of the training's time.

python bench/save_cost.py [--folder WHERE]      a minute; prints one table. WHERE: the disk to measure, . by default

The first rows time one save of nnU-Net's own six-stage network for BraTS (128×128×128, 32 to 320 features), alone
and beside a teacher that learns: pack, serialise, hash, write, fsync, rename. `save_every_minutes` and the guard
(at most 1/120 of the time, `SAVE_AT_MOST` in nnunet/trainer.py) give the share. The last row is a real training of
phantoms with the guard at its limit: `save_every_minutes` is next to nothing, so that it saves as often as it may.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from crossmodal.train import resume
from crossmodal.train.seeds import random_state
from crossmodal.train.trainer import SAVE_AT_MOST
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from kill_stress import BUDGET, WORKFLOW, make_dataset

SAVE_EVERY_MINUTES = 10  # the schema's default
FEATURES = (32, 64, 128, 256, 320, 320)


def state_of(networks: int) -> dict:
    """A state as large as that of so many six-stage networks with momentum."""
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


def full_size(folder: Path, networks: int) -> str:
    """Row of the table for one save of full-size networks; the median of five."""
    state = state_of(networks)
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        resume.save_state(folder / "state", state)
        seconds.append(time.monotonic() - began)
    size = (folder / "state" / resume.NEWEST).stat().st_size / 2**20
    middle = statistics.median(seconds)
    share = middle / max(60 * SAVE_EVERY_MINUTES, middle / SAVE_AT_MOST)
    name = "one six-stage network" if networks == 1 else f"{networks} six-stage networks (a joint training)"
    return f"| {name} | {size:.0f} MB | {1000 * middle:.0f} ms | {100 * share:.2f}% |"


def real_training(folder: Path) -> str:
    """Row of the table for a training that saves as often as it may."""
    import yaml
    from crossmodal.experiment import recipe as recipes
    from crossmodal.train import job as training
    from crossmodal.train.distillation import DistillationTrainer

    spent: list[float] = []
    save = DistillationTrainer.save_state

    def timed(self: DistillationTrainer) -> None:
        began = time.monotonic()
        save(self)
        spent.append(time.monotonic() - began)

    DistillationTrainer.save_state = timed
    dataset, _ = make_dataset(folder)
    schema = yaml.safe_load((WORKFLOW / "schemas" / "recipe.schema.yaml").read_text(encoding="utf-8"))
    recipe = recipes.load("choi2023", [WORKFLOW / "methods"], schema)
    budget = BUDGET | {"save_every_minutes": 1e-9, "epochs": 60}
    out = folder / "m"
    began = time.monotonic()
    training.train(training.Training("choi2023", recipe, "t2", 0, 0, budget, dataset, out), torch.device("cpu"))
    seconds = time.monotonic() - began
    name = f"tiny choi2023 on phantoms, {len(spent)} saves in {seconds:.0f} s"
    middle = 1000 * statistics.median(spent)
    return f"| {name} | | {middle:.1f} ms | {100 * sum(spent) / seconds:.2f}% |"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        rows = [full_size(Path(scratch), networks) for networks in (1, 2)]
        rows.append(real_training(Path(scratch)))
    print("| state of | size | one save | share of the time |\n|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
