"""`init_from`: a training starts from a trained network's weights, which identify it, and refuses what does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from crossmodal.domain import ALL, all_subsets, channels_of, parse_subset
from crossmodal.errors import UserError
from crossmodal.experiment import initial
from crossmodal.experiment.config import resolve
from crossmodal.experiment.initial import hash_of_initial
from crossmodal.nnunet.export import hash_of_weights, read_checkpoint
from crossmodal.report.facts import describe
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.train.initial import InitialWeights, names_of_first_convolution
from tests.train.trainings import Killed, cut_off_run, progress, recipe_of, run, trained


@pytest.fixture(scope="module")
def any_subset(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network of every subset. Never write into it."""
    out = tmp_path_factory.mktemp("source") / "model"
    trained("modality_dropout", ALL, tiny_dataset, out)
    return out


def weights_of(model: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(model, 0)["network_weights"]


def before_the_first_step(monkeypatch: pytest.MonkeyPatch, *training: Any, **options: Any) -> DistillationTrainer:
    """The trainer of a real training that is stopped when its first batch is there."""
    reached = []

    def stop(trainer: DistillationTrainer, _batch: dict) -> None:
        reached.append(trainer)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(DistillationTrainer, "one_step", stop)
        run(*training, **options)
    return reached[0]


def test_the_weights_before_the_first_step_are_the_source_s(
    any_subset: Path, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of("modality_dropout", init_from=str(any_subset))
    trainer = before_the_first_step(monkeypatch, "modality_dropout", ALL, tiny_dataset, tmp_path / "new", recipe=recipe)
    assert hash_of_weights(trainer.network.state_dict()) == hash_of_weights(weights_of(any_subset))
    student = recipe_of("student", init_from=str(any_subset))
    trainer = before_the_first_step(monkeypatch, "student", "t1ce+flair", tiny_dataset, tmp_path / "s", recipe=student)
    first = names_of_first_convolution(trainer.network)
    for name, weight in trainer.network.state_dict().items():
        theirs = weights_of(any_subset)[name]
        assert torch.equal(weight, theirs[:, [1, 3]] if name in first else theirs), name


def test_a_joint_teacher_starts_as_it_would_without(
    any_subset: Path, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers = {}
    for name, changes in {"plain": {}, "started": {"init_from": str(any_subset)}}.items():
        recipe = recipe_of("choi2023", **changes)
        trainers[name] = before_the_first_step(
            monkeypatch, "choi2023", "t2", tiny_dataset, tmp_path / name, recipe=recipe
        )
    teachers = {hash_of_weights(trainer.teacher.module.state_dict()) for trainer in trainers.values()}
    students = {hash_of_weights(trainer.network.state_dict()) for trainer in trainers.values()}
    assert len(teachers) == 1 and len(students) == 2


def plain_network(channels: int) -> nn.Module:
    return PlainConvUNet(channels, 3, (4, 8, 8), nn.Conv3d, 3, (1, 2, 2), (2, 2, 2), 3, (2, 2), **LAYERS)


def residual_network(channels: int) -> nn.Module:
    return ResidualEncoderUNet(channels, 3, (4, 8, 8), nn.Conv3d, 3, (1, 2, 2), (1, 1, 1), 3, (1, 1), **LAYERS)


LAYERS = {
    "conv_bias": True,
    "norm_op": nn.InstanceNorm3d,
    "norm_op_kwargs": {"affine": True},
    "nonlin": nn.LeakyReLU,
    "deep_supervision": True,
}


@pytest.mark.parametrize("make", [plain_network, residual_network])
def test_a_student_of_fewer_sequences_is_the_source_with_zeros_for_the_others(make: Callable[[int], nn.Module]) -> None:
    torch.manual_seed(0)
    source, images = make(4), torch.randn(2, 4, 16, 16, 16)
    for subset in all_subsets():
        channels = channels_of(parse_subset(subset))
        student = make(len(channels))
        InitialWeights("a test", source.state_dict(), channels, "").copy_into(student)
        missing = [channel for channel in range(4) if channel not in channels]
        shown = images.clone()
        shown[:, missing] = 0
        for theirs, ours in zip(source(shown), student(images[:, channels]), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_channels_are_taken_by_name_and_not_by_place() -> None:
    source, student = plain_network(2), plain_network(2)
    InitialWeights("a test", source.state_dict(), [1, 0], "").copy_into(student)
    for name in names_of_first_convolution(student):
        assert torch.equal(student.state_dict()[name], source.state_dict()[name].flip(1))


def test_an_interrupted_training_goes_on_to_the_same_weights(
    any_subset: Path, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of("student", init_from=str(any_subset))
    whole = run("student", "t1ce", tiny_dataset, tmp_path / "whole", recipe=recipe)
    training = ("student", "t1ce", tiny_dataset, tmp_path / "cut")
    cut_off_run(monkeypatch, DistillationTrainer, "train_step", 5, *training, recipe=recipe)
    other = recipe_of("student")
    with pytest.raises(UserError, match=r"(?s)state: was made with other settings:.*init_sha256: \"\w+\" there, null"):
        run(*training, recipe=other)
    assert run(*training, recipe=recipe) == whole
    assert whole["manifest"]["weights_sha256"] != run(*training[:-1], tmp_path / "drawn")["manifest"]["weights_sha256"]


def test_the_weights_identify_a_training_and_their_place_does_not(
    any_subset: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    def train_from(source: Path | None, **changes: Any) -> dict:
        recipe = recipe_of("student", **({"init_from": str(source)} if source else {}), **changes)
        return trained("student", "t1", tiny_dataset, tmp_path / "model", recipe)

    manifest = train_from(any_subset)
    assert manifest["init_sha256"] == hash_of_weights(weights_of(any_subset)) == hash_of_initial(str(any_subset), 0)
    written = (tmp_path / "model" / "fold_0" / "progress.csv").stat().st_mtime_ns
    shutil.copytree(any_subset, tmp_path / "moved")
    assert train_from(tmp_path / "moved") == manifest
    assert (tmp_path / "model" / "fold_0" / "progress.csv").stat().st_mtime_ns == written
    trained("modality_dropout", ALL, tiny_dataset, tmp_path / "other", seed=1)
    assert hash_of_initial(str(tmp_path / "other"), 0) != manifest["init_sha256"]
    for source in (tmp_path / "other", None):
        with pytest.raises(UserError, match="init_sha256"):
            train_from(source)


def test_a_recipe_without_the_field_is_the_one_that_it_was(tiny_dataset: Path, tmp_path: Path) -> None:
    recipe = recipe_of("student")
    assert "init_from" not in recipe.training_fields()
    manifest = trained("student", "t1", tiny_dataset, tmp_path / "model")
    assert "init_sha256" not in manifest and "init_from" not in manifest["recipe"]


def test_the_learning_rate_is_the_budget_s_and_identifies_a_training(tiny_dataset: Path, tmp_path: Path) -> None:
    found = {}
    for rate in (0.01, 0.001):
        manifest = trained("student", "t1", tiny_dataset, tmp_path / str(rate), learning_rate=rate)
        found[rate] = manifest["weights_sha256"], [float(row["lr"]) for row in progress(tmp_path / str(rate))]
        assert manifest["budget"].get("learning_rate") == (None if rate == 0.01 else rate), "0.01 is as it was before"
    assert found[0.01][1] == pytest.approx([0.01, 0.01 * 0.5**0.9])
    assert found[0.001][1] == pytest.approx([rate / 10 for rate in found[0.01][1]])
    assert found[0.01][0] != found[0.001][0]


def test_the_same_fold_is_taken_and_else_the_only_one(any_subset: Path, tmp_path: Path) -> None:
    model = shutil.copytree(any_subset, tmp_path / "model")
    assert [initial.model_and_fold(str(model), fold) for fold in (0, 3)] == [(model, 0), (model, 0)]
    shutil.copytree(model / "fold_0", model / "fold_1")
    assert [initial.model_and_fold(str(model), fold)[1] for fold in (0, 1)] == [0, 1]
    with pytest.raises(UserError, match="has the folds 0, 1, and fold 3 is trained"):
        initial.model_and_fold(str(model), 3)


def test_without_a_manifest_the_checkpoint_s_bytes_are_hashed(any_subset: Path, tmp_path: Path) -> None:
    models = [shutil.copytree(any_subset, tmp_path / name) for name in ("one", "two")]
    for model in models:
        (model / "fold_0" / "manifest.json").unlink()
    assert hash_of_initial(str(models[0]), 0) == hash_of_initial(str(models[1]), 0)
    (models[1] / "fold_0" / "checkpoint_final.pth").write_bytes(b"others")
    assert hash_of_initial(str(models[0]), 0) != hash_of_initial(str(models[1]), 0)


def edit_json(path: Path, change: Callable[[dict], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def network_of(plans: dict) -> dict:
    return plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]


def without_t2(model: Path) -> None:
    edit_json(model / "dataset.json", lambda dataset: dataset["channel_names"].update({"2": "DWI"}))


def with_more_features(model: Path) -> None:
    edit_json(model / "plans.json", lambda plans: network_of(plans)["features_per_stage"].__setitem__(2, 16))


def with_other_labels(model: Path) -> None:
    edit_json(model / "dataset.json", lambda dataset: dataset["labels"].update({"TC": [1, 3]}))


def without_skip_connections(model: Path) -> None:
    edit_json(model / "plans.json", lambda plans: plans["distillation"]["recipe"].update(skip_connections=False))


def with_a_layer_less(model: Path) -> None:
    path = model / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["network_weights"].popitem()
    torch.save(checkpoint, path)
    (model / "fold_0" / "manifest.json").unlink()


def with_other_weights(model: Path) -> None:
    edit_json(model / "fold_0" / "manifest.json", lambda manifest: manifest.update(weights_sha256="0"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_t2, r"was trained on t1\+t1ce\+dwi\+flair, and the training on t2\+flair needs weights for t2 too"),
        (with_more_features, r"(?s)made for another network:.*features_per_stage.2: 16 there, 8 now.*budget"),
        (with_other_labels, r"(?s)made for another network:\n  labels.2.0: 1 there, 2 now"),
        (without_skip_connections, r"(?s)made by another recipe:\n  skip_connections: false there, true now"),
        (with_a_layer_less, "its weights are not of its plans.json: .*Missing key"),
        (with_other_weights, "its weights are not those that manifest.json beside it records"),
        (lambda model: (model / "dataset.json").unlink(), "dataset.json: is not there or cannot be read"),
        (lambda model: shutil.rmtree(model / "fold_0"), "there is no trained network in it"),
        (shutil.rmtree, "there is no trained network in it .*a relative path starts at /"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_source_that_does_not_fit_is_refused_with_both_named(
    spoil: Callable[[Path], Any], message: str, any_subset: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(any_subset, tmp_path / "source")
    spoil(model)
    with pytest.raises(UserError, match=message) as refused:
        trained("student", "t2+flair", tiny_dataset, tmp_path / "new", recipe_of("student", init_from=str(model)))
    assert str(model) in str(refused.value)
    assert not list((tmp_path / "new").rglob("checkpoint_final.pth"))


def test_a_source_of_other_sequences_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    trained("student", "t1ce", tiny_dataset, tmp_path / "source")
    recipe = recipe_of("modality_dropout", init_from=str(tmp_path / "source"))
    with pytest.raises(UserError, match=r"was trained on t1ce, and the training on t1\+t1ce\+t2\+flair needs"):
        trained("modality_dropout", ALL, tiny_dataset, tmp_path / "new", recipe)


def test_shipped_is_the_library_s_own_network(
    any_subset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initial, "NETWORK", tmp_path / "network")
    given = {"methods": ["student"], "budget": "smoke", "overrides": {"student": {"init_from": "shipped"}}}
    with pytest.raises(UserError, match="method 'student': init_from: shipped: no network comes with this version"):
        resolve(given)
    shutil.copytree(any_subset, tmp_path / "network")
    assert hash_of_initial("shipped", 0) == hash_of_initial(str(any_subset), 0)
    recipe = resolve(given).recipes["student"]
    assert describe(recipe).endswith("Training starts from the weights of the network that comes with Crossmodal.")


def test_a_config_is_refused_before_anything_runs(tmp_path: Path) -> None:
    given = {"methods": ["student"], "budget": "smoke", "overrides": {"student": {"init_from": str(tmp_path)}}}
    with pytest.raises(UserError, match=r"method 'student': init_from: .*: there is no trained network in it"):
        resolve(given)
    with pytest.raises(UserError, match="'init_from' should be of type string, not 3"):
        resolve(given | {"overrides": {"student": {"init_from": 3}}})
