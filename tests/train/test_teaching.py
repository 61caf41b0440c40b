"""The teacher is really used: its gradient reaches what it should, and nothing else."""

from pathlib import Path

import pytest
import torch

from crossmodal.distill.inputs import labels_from_regions
from crossmodal.domain import parse_subset
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.recipe import Recipe
from crossmodal.nnunet.export import hash_of_weights, read_checkpoint
from tests.train.trainings import prepared, recipe_of, trained

METHODS = [name for name in recipes.known_methods() if recipe_of(name).distill]


def gradients_of_the_terms(trainer, batch: dict) -> dict[str, bool]:
    """Whether the distillation terms alone send a gradient into each network."""
    images, target = trainer.to_device(batch["data"]), batch["target"]
    labels = labels_from_regions(target[0])
    found = trainer.student.features(trainer._shown(images), labels)
    wanted = trainer._wanted(trainer._teacher_features(images, labels), images, labels)
    sum(term.compare(found, wanted, labels) for term in trainer.terms).backward()

    def reached(module: torch.nn.Module) -> bool:
        return any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())

    return {
        "student": reached(trainer.student.module),
        "teacher": trainer.teacher is not None and reached(trainer.teacher.module),
    }


def ready(method: str, recipe: Recipe, dataset: Path, out: Path):
    trainer = prepared(method, recipe.trained_modalities("t2"), dataset, out, recipe)
    needed = recipe.teacher_before("t2")
    if needed:
        folder = out.parent / "teacher"
        trained(needed[0], needed[1], dataset, folder)
        weights = read_checkpoint(folder, 0)["network_weights"]
        trainer.teacher = trainer.frozen(weights, parse_subset(needed[1]), recipe_of(needed[0]))
    trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    return trainer


@pytest.mark.parametrize("method", METHODS)
def test_distillation_reaches_the_student_and_a_frozen_teacher_stays(
    method: str, tiny_dataset: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(method)
    trainer = ready(method, recipe, tiny_dataset, tmp_path / method)
    batch = next(trainer.dataloader_train)
    joint = recipe.teacher_trained == "jointly"
    assert gradients_of_the_terms(trainer, batch) == {"student": True, "teacher": joint}
    student = hash_of_weights(trainer.network.state_dict())
    teacher = hash_of_weights(trainer.teacher.module.state_dict()) if trainer.teacher else None
    trainer.train_step(batch)
    assert hash_of_weights(trainer.network.state_dict()) != student
    if trainer.teacher:
        assert (hash_of_weights(trainer.teacher.module.state_dict()) != teacher) == joint
        assert trainer.teacher.module.training == joint


@pytest.mark.parametrize("changes", [{"stop_gradient": "teacher"}, {"update": "successive"}])
def test_a_stopped_gradient_leaves_the_joint_teacher_its_own_loss_alone(
    changes: dict, tiny_dataset: Path, tmp_path: Path
) -> None:
    trainer = ready("choi2023", recipe_of("choi2023", **changes), tiny_dataset, tmp_path / "taught")
    alone = ready("teacher", recipe_of("teacher"), tiny_dataset, tmp_path / "alone")
    batch = next(trainer.dataloader_train)
    assert gradients_of_the_terms(trainer, batch) == {"student": True, "teacher": False}
    for trainer_ in (trainer, alone):
        trainer_.train_step({"data": batch["data"].clone(), "target": batch["target"]})
    assert hash_of_weights(trainer.teacher.module.state_dict()) == hash_of_weights(alone.network.state_dict())


def test_successive_compares_with_the_teacher_s_fresh_features(tiny_dataset: Path, tmp_path: Path) -> None:
    reports = {}
    batch = next(ready("student", recipe_of("student"), tiny_dataset, tmp_path / "batch").dataloader_train)
    for update in ("together", "successive"):
        trainer = ready("choi2023", recipe_of("choi2023", update=update), tiny_dataset, tmp_path / update)
        reports[update] = trainer.train_step(batch)
    assert reports["together"]["seg_teacher"] == reports["successive"]["seg_teacher"]
    assert reports["together"]["barlow_twins@bottleneck"] != reports["successive"]["barlow_twins@bottleneck"]


def test_the_class_mean_teacher_sees_class_means_of_the_augmented_batch(tiny_dataset: Path, tmp_path: Path) -> None:
    trainer = ready("dong2025", recipe_of("dong2025"), tiny_dataset, tmp_path / "sikd")
    batch = next(trainer.dataloader_train)
    shown = trainer.teacher.view(batch["data"], labels_from_regions(batch["target"][0]))
    assert shown.shape[1] == 1
    assert len(torch.unique(shown[0])) <= 4
    whole = trainer.student.view(batch["data"], labels_from_regions(batch["target"][0]))
    assert torch.allclose(whole.mean((2, 3, 4)), shown.mean((2, 3, 4)), atol=1e-4)
