"""Augmentation where the network is: nnU-Net's voxels and distributions; batches that do not depend on who loads."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from scipy import stats

from crossmodal.domain import INTERNAL_REGIONS
from crossmodal.errors import UserError
from crossmodal.experiment.config import resolve
from crossmodal.experiment.recorded import refuse_mixture
from crossmodal.files import write_yaml
from crossmodal.nnunet.dataset import read_dataset
from crossmodal.nnunet.plans import CONFIGURATION
from crossmodal.train import batches as of_batches
from crossmodal.train.batches import PatchLoader
from crossmodal.train.distillation import DistillationTrainer
from crossmodal.train.job import TrainingJob, train_together
from crossmodal.train.reproducibility import seed_everything
from crossmodal.train.trainer import ReproducibleTrainer
from crossmodal.train.transforms import augmented, switch_off_benchmark
from tests.conftest import tiny_budget
from tests.train.other_device import fetched, other_device
from tests.train.trainings import SHORT, cut_off_run, outcome, recipe_of, resumed_from, run, trained

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
ANGLE = np.pi / 6  # nnU-Net's, about each axis, of a patch that is as long as it is wide
RARE = 1e-4  # a test of a distribution fails by chance once in this many times, and draws the same in every run


def transforms_of(trainer: type[nnUNetTrainer], always: bool) -> ComposeTransforms:
    """A trainer's default augmentation of 14 × 12 × 13 voxels; always: every transform is applied to every channel."""
    made = trainer.get_training_transforms(
        (14, 12, 13),
        (-ANGLE, ANGLE),
        [[1, 1, 1], [0.5, 0.5, 0.5]],
        (0, 1, 2),
        False,
        use_mask_for_norm=[True] * 4,
        regions=[list(labels) for labels in INTERNAL_REGIONS.values()],
    )
    switch_off_benchmark(made)
    for transform in made.transforms if always else []:
        for part in (transform, getattr(transform, "transform", None)):
            for name in ("apply_probability", "p_rotation", "p_scaling", "p_per_channel"):
                if hasattr(part, name):
                    setattr(part, name, 1)
    return made


def sample_of(seed: int) -> dict[str, torch.Tensor]:
    """A patch of noise with the labels −1 to 3, larger than what is kept of it."""
    noise = torch.Generator().manual_seed(seed)
    image = torch.randn(4, 24, 21, 22, generator=noise)
    return {"image": image, "segmentation": torch.randint(-1, 4, (1, 24, 21, 22), generator=noise, dtype=torch.int16)}


@pytest.mark.parametrize("always", [True, False], ids=["every transform", "nnU-Net's probabilities"])
def test_with_the_same_parameters_each_voxel_is_nnunet_s_on_any_device(always: bool) -> None:
    for seed in range(5 if always else 20):
        seed_everything(seed)
        expected = transforms_of(nnUNetTrainer, always)(**sample_of(seed))
        with other_device() as device:
            seed_everything(seed)
            placed = {name: tensor.to(device) for name, tensor in sample_of(seed).items()}
            found = augmented(placed, transforms_of(ReproducibleTrainer, always).transforms)
        assert torch.equal(fetched(found["image"]), expected["image"])
        for ours, theirs in zip(found["segmentation"], expected["segmentation"], strict=True):
            assert ours.dtype == theirs.dtype and torch.equal(fetched(ours), theirs)


@pytest.fixture
def trainer_of(tiny_dataset: Path, tmp_path: Path):
    """A function that makes a trainer with a budget's changes before its first step."""

    def make(**changes: Any) -> DistillationTrainer:
        plans, dataset_json, _ = read_dataset(tiny_dataset)
        settings = {"method": "student", "recipe": recipe_of("student").plain(), "modalities": "t2", "seed": 0}
        settings |= {"budget": tiny_budget(**changes).plain(), "dataset": str(tiny_dataset)}
        plans |= {"distillation": settings}
        made = DistillationTrainer(plans, CONFIGURATION, 0, dataset_json, torch.device("cpu"))
        made.open_output(tmp_path / "m", {})
        made.initialize()
        return made

    return make


def test_what_is_read_and_completed_is_nnunet_s_batch(trainer_of) -> None:
    """Draw for draw, with cases that are smaller than a patch and reach beyond it."""
    loader = trainer_of(patch_size=[24, 16, 40], features=[4, 8, 8]).get_dataloaders()[0].data_loader
    for seed in range(25):
        found = []
        for kind in (PatchLoader, nnUNetDataLoader):
            loader.__class__ = kind
            seed_everything(seed)
            found.append(loader.generate_train_batch() | {"after": np.random.random()})
        assert torch.equal(found[0]["data"], found[1]["data"]) and found[0]["after"] == found[1]["after"]
        assert all(map(torch.equal, found[0]["target"], found[1]["target"]))
        assert list(found[0]["keys"]) == list(found[1]["keys"])


def equal(batches: list[dict], others: list[dict]) -> bool:
    return all(
        torch.equal(one["data"], other["data"]) and all(map(torch.equal, one["target"], other["target"]))
        for one, other in zip(batches, others, strict=True)
    )


def test_batches_are_completed_on_the_device_whoever_loads_them_and_wherever_they_begin(trainer_of) -> None:
    def batches(workers: int, done: int = 0) -> list[dict]:
        trainer = trainer_of(augment_on="device", loader_workers=workers, steps_per_epoch=3)
        trainer.current_epoch, trainer.step_in_epoch = divmod(done, 3)
        seed_everything(7 + workers)  # what else is drawn in this process does not matter
        train, val = trainer.get_dataloaders()
        return [*train, *val]

    expected = batches(0)
    assert len(expected) == 6 + 2 and not equal(expected[:1], expected[1:2])
    assert equal(batches(0), expected) and equal(batches(2), expected)
    assert equal(batches(2, done=2)[:4], expected[2:6])


def test_on_another_device_the_same_numbers(trainer_of) -> None:
    trainer = trainer_of(augment_on="device", loader_workers=2, epochs=6)
    expected = list(trainer.get_dataloaders()[0])
    raw = trainer_of(augment_on="device", loader_workers=2, epochs=6)
    with other_device() as device:
        raw.device = device
        for batch, wanted in zip(raw.get_dataloaders()[0], expected, strict=True):
            assert torch.equal(fetched(batch["data"]), wanted["data"])
            assert all(
                torch.equal(fetched(one), two) for one, two in zip(batch["target"], wanted["target"], strict=True)
            )


# --- distributions ------------------------------------------------------------------------------------------------


class Draws:
    """What was drawn for each sample, by name of the transform, seen from outside: through what it was applied with."""

    def __init__(self, transforms: list[BasicTransform], monkeypatch: pytest.MonkeyPatch) -> None:
        self.applied: Counter = Counter()
        self.drawn: dict[str, list] = {}
        for number, transform in enumerate(transforms):
            inner = transform.transform if isinstance(transform, RandomTransform) else transform
            self._watch(inner, f"{number} {type(inner).__name__}", monkeypatch)

    def _watch(self, transform: BasicTransform, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        apply, of_one = transform.apply, self.drawn.setdefault(name, [])

        def watched(sample: dict, **params: Any) -> dict:
            self.applied[name] += 1
            of_one.append(params)
            return apply(sample, **params)

        monkeypatch.setattr(transform, "apply", watched)

    def of(self, name: str, number: int = 0) -> list:
        return [params for key, params in self.drawn.items() if name in key][number]


def angles_and_scale(affine: np.ndarray) -> tuple[list[float], float]:
    """Angles about x, y and z, and the scale, of a matrix Rz Ry Rx S with the same scale on all axes."""
    scales = np.linalg.norm(affine, axis=0)
    assert np.allclose(scales, scales[0])
    r = affine / scales
    return [np.arctan2(r[2, 1], r[2, 2]), -np.arcsin(r[2, 0]), np.arctan2(r[1, 0], r[0, 0])], float(scales[0])


def is_uniform(values: list[float], low: float, high: float) -> bool:
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > RARE


def is_contrast(values: list[float], low: float, high: float) -> bool:
    """Below and above 1 equally often, and uniform in each half."""
    below = [value for value in values if value < 1]
    above = [value for value in values if value >= 1]
    half = stats.binomtest(len(below), len(values), 0.5).pvalue > RARE
    return half and is_uniform(below, low, 1) and is_uniform(above, 1, high)


def test_draws_have_nnunet_s_distributions(trainer_of, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 400
    samples = 2 * steps
    cut_out, rotations = PatchLoader._cut_out, []

    def watched_cut_out(self: PatchLoader, *args: Any) -> dict:
        part = cut_out(self, *args)
        rotations.append(part["drawn"]["affine"])
        return part

    trainer = trainer_of(augment_on="device", steps_per_epoch=steps, epochs=1)
    made, draws = of_batches.augmented_on, []

    def watched(device: Any, batches: Any, transforms: list, *more: Any) -> Any:
        draws.append(Draws(transforms[1:], monkeypatch))
        return made(device, batches, transforms, *more)

    monkeypatch.setattr(PatchLoader, "_cut_out", watched_cut_out)
    monkeypatch.setattr("crossmodal.train.trainer.augmented_on", watched)
    data = [batch["data"] for batch in trainer.get_dataloaders()[0]]
    (seen,) = draws
    assert len(rotations) == samples == sum(map(len, data))

    # nnU-Net's paper and default trainer: rotation and scaling with 0.2 each, one scale for all axes.
    drawn = [angles_and_scale(affine) for affine in rotations if affine is not None]
    turned = [angles for angles, _ in drawn if np.abs(angles).max() > 1e-9]
    scaled = [scale for _, scale in drawn if abs(scale - 1) > 1e-9]
    often = {"turned": (len(turned), 0.2), "scaled": (len(scaled), 0.2)}
    often["neither"] = samples - len(drawn), 0.64
    for axis in range(3):
        assert is_uniform([angles[axis] for angles in turned], -ANGLE, ANGLE)
    assert is_uniform(scaled, 0.7, 1.4)

    probabilities = {"Noise": 0.1, "Blur": 0.2, "Brightness": 0.15, "Contrast": 0.15, "LowRes": 0.25}
    often |= {name: (len(seen.of(name)), probability) for name, probability in probabilities.items()}
    often |= {"inverted": (len(seen.of("Gamma", 0)), 0.1), "gamma": (len(seen.of("Gamma", 1)), 0.3)}
    axes = Counter(axis for params in seen.of("Mirror") for axis in params["axes"])
    often |= {f"mirrored {axis}": (axes[axis], 0.5) for axis in range(3)}
    for name, (count, probability) in often.items():
        assert stats.binomtest(count, samples, probability).pvalue > RARE, f"{name}: {count} of {samples}"

    for name in ("Blur", "LowRes"):  # half of the channels
        channels = [params["apply_to_channel"] for params in seen.of(name)]
        count = sum(int(one.sum()) if one.dtype == torch.bool else len(one) for one in channels)
        assert stats.binomtest(count, 4 * len(channels), 0.5).pvalue > RARE
    sigmas = [sigma for params in seen.of("Blur") for channel in params["sigmas"] for sigma in channel]
    assert is_uniform(sigmas, 0.5, 1)
    assert is_uniform([params["sigmas"] for params in seen.of("Noise")], 0, 0.1)
    assert is_uniform([float(scale[0]) for params in seen.of("LowRes") for scale in params["scales"]], 0.5, 1)
    for name in ("Brightness", "Contrast"):
        assert is_contrast([float(one) for params in seen.of(name) for one in params["multipliers"]], 0.75, 1.25)
    for number, inverted in ((0, True), (1, False)):
        gammas = seen.of("Gamma", number)
        assert is_contrast([float(one) for params in gammas for one in params["gamma"]], 0.7, 1.5)
        assert all(bool((params["invert_image"] == inverted).all()) for params in gammas)

    # The intensities that come out are those of nnU-Net's own loader.
    stock = trainer_of(steps_per_epoch=steps).get_dataloaders()[0].data_loader
    stock.__class__ = nnUNetDataLoader
    seed_everything(99)
    theirs = [stock.generate_train_batch()["data"] for _ in range(steps)]
    for summary in (lambda x: x.mean(), lambda x: x.std(), lambda x: x.amin(), lambda x: x.amax()):
        found, expected = ([float(summary(image[0])) for batch in every for image in batch] for every in (data, theirs))
        assert stats.ks_2samp(found, expected).pvalue > RARE


# --- trainings ----------------------------------------------------------------------------------------------------


def test_a_training_does_not_depend_on_who_loads_nor_on_where_it_was_cut_off(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"augment_on": "device", "loader_workers": 0}
    expected = run("choi2023", "t2", tiny_dataset, tmp_path / "none", **settings)
    for name, others in (("loader", {"loader_workers": 0}), ("workers", {"loader_workers": 2})):
        other = run("choi2023", "t2", tiny_dataset, tmp_path / name, **others)
        assert other["manifest"]["weights_sha256"] != expected["manifest"]["weights_sha256"]
    again = ("choi2023", "t2", tiny_dataset, tmp_path / "again")
    for number, (function, call) in enumerate((("train_step", 5), ("validation_step", 2))):
        workers = {"loader_workers": 2 - 2 * number}
        cut_off_run(monkeypatch, DistillationTrainer, function, call, *again, **(settings | workers))
    assert run(*again, **(settings | {"loader_workers": 3})) == expected
    assert resumed_from(tmp_path / "again") == [0, 4, 9]


def test_students_side_by_side_are_those_trained_by_themselves(tiny_dataset: Path, tmp_path: Path) -> None:
    budget = SHORT | {"augment_on": "device", "loader_workers": 1}
    jobs = [
        TrainingJob(
            "student", recipe_of("student"), subset, 0, 0, tiny_budget(**budget), tiny_dataset, tmp_path / subset
        )
        for subset in ("t2", "t1ce+flair")
    ]
    train_together(jobs, torch.device("cpu"))
    for job in jobs:
        alone = run("student", job.modalities, tiny_dataset, tmp_path / "alone" / job.modalities, **budget)
        assert outcome(job.out) == alone


def test_trainings_from_before_there_was_a_choice_are_the_loader_s(tiny_dataset: Path, tmp_path: Path) -> None:
    manifest = trained("student", "t2", tiny_dataset, tmp_path / "m")
    assert "augment_on" not in json.dumps(manifest)  # as such trainings recorded it
    assert trained("student", "t2", tiny_dataset, tmp_path / "m", augment_on="loader") == manifest
    with pytest.raises(UserError, match=r'budget\.augment_on: null there, "device" now'):
        trained("student", "t2", tiny_dataset, tmp_path / "m", augment_on="device")


def test_an_experiment_from_before_there_was_a_choice_goes_on(tmp_path: Path) -> None:
    resolved = resolve({"budget": "smoke", "phantom": {"cases": 4}}, "tests", check_paths=False)
    recorded = resolved.plain()
    assert "augment_on" not in recorded["budget_settings"]
    write_yaml(tmp_path / "config.yaml", recorded)
    refuse_mixture(resolved, tmp_path)
    recorded["budget_settings"]["augment_on"] = "device"
    write_yaml(tmp_path / "config.yaml", recorded)
    with pytest.raises(UserError, match=r'augment_on: "device" there, null now'):
        refuse_mixture(resolved, tmp_path)
