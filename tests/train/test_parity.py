"""Nothing distilled is nnU-Net, and a weight of zero is the student alone: to the last bit, on a CPU."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from crossmodal.domain import ALL
from crossmodal.nnunet.dataset import read_dataset
from crossmodal.nnunet.export import hash_of_weights
from crossmodal.nnunet.plans import CONFIGURATION
from crossmodal.train.loop import TrainingLoop
from crossmodal.train.reproducibility import derive_seed, seed_everything
from crossmodal.train.transforms import switch_off_benchmark
from tests.train.trainings import prepared, recipe_of, trained


class StockTrainer(nnUNetTrainer):
    """Stock nnU-Net, started from the same random stream, with the blur's choice by timing off, and its losses kept."""

    def get_dataloaders(self) -> tuple[Any, Any]:
        seed_everything(derive_seed(0, "batches"))
        return super().get_dataloaders()

    @staticmethod
    def get_training_transforms(*args: Any, **kwargs: Any) -> Any:
        transforms = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        switch_off_benchmark(transforms)
        return transforms

    def train_step(self, batch: dict) -> dict:
        output = super().train_step(batch)
        self.losses.append(float(output["loss"]))
        return output


def test_four_modalities_without_distillation_are_stock_nnunet(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = prepared("student", ALL, tiny_dataset, tmp_path / "ours")
    start = {name: tensor.clone() for name, tensor in ours.network.state_dict().items()}
    steps = []
    step = ours.train_step
    ours.train_step = lambda batch: steps.append(step(batch)) or steps[-1]
    TrainingLoop([ours]).run()

    plans, dataset_json, _ = read_dataset(tiny_dataset)
    monkeypatch.setenv("nnUNet_preprocessed", str(tiny_dataset / "preprocessed"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "stock"))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    stock = StockTrainer(plans | {"continue_training": False}, CONFIGURATION, 0, dataset_json, torch.device("cpu"))
    stock.losses = []
    stock.num_epochs, stock.num_iterations_per_epoch, stock.num_val_iterations_per_epoch = 2, 2, 1
    stock.initialize()
    stock.network.load_state_dict(start)
    stock.run_training()

    assert [output["loss"] for output in steps] == stock.losses
    assert ours.logger.get_value("val_losses", None) == stock.logger.get_value("val_losses", None)
    hashes = [hash_of_weights(weights) for weights in (ours.network.state_dict(), stock.network.state_dict(), start)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert os.environ["nnUNet_n_proc_DA"] == "0"


@pytest.mark.parametrize("method", ["choi2023", "rahimpour2022", "romero2015"])
def test_weights_of_zero_alone_give_the_student_s_own_weights(method: str, tiny_dataset: Path, tmp_path: Path) -> None:
    zero = recipe_of(method, **{f"distill__{n}__weight": 0 for n in range(len(recipe_of(method).distill))})
    alone = trained("student", "t1ce+flair", tiny_dataset, tmp_path / "alone")
    for recipe, is_student in ((zero, True), (recipe_of(method), False)):
        taught = trained(method, "t1ce+flair", tiny_dataset, tmp_path / f"taught-{is_student}", recipe)
        assert (taught["weights_sha256"] == alone["weights_sha256"]) == is_student


def test_a_joint_teacher_with_weight_zero_is_the_teacher_alone(tiny_dataset: Path, tmp_path: Path) -> None:
    recipe = recipe_of("choi2023", distill__0__weight=0)
    joint = prepared("choi2023", "t1ce+flair", tiny_dataset, tmp_path / "joint", recipe)
    alone = prepared("teacher", ALL, tiny_dataset, tmp_path / "alone")
    for trainer in (joint, alone):
        TrainingLoop([trainer]).run()
    assert hash_of_weights(joint.teacher.module.state_dict()) == hash_of_weights(alone.network.state_dict())
