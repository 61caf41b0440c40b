"""One patient: any of the 15 subsets, the same voxels as elsewhere, and all that is written beside them."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from crossmodal.domain import ALL, REGIONS, all_subsets, parse_subset, regions_of
from crossmodal.nnunet.predict import Predictor
from crossmodal.predict.choose import Networks
from crossmodal.predict.output import draw
from crossmodal.predict.segment import Segmenter, Wanted
from tests.predict.experiments import network, validated

CPU = torch.device("cpu")


def labels_of(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture(scope="module")
def segmenter(any_subset: Path) -> Segmenter:
    return Segmenter(Networks(None, shipped=any_subset), CPU)


@pytest.mark.parametrize("subset", all_subsets())
def test_every_subset_gives_what_the_workflow_predicts(
    subset: str, segmenter: Segmenter, any_subset: Path, patient: dict[str, Path], tmp_path: Path
) -> None:
    files = {name: patient[name] for name in parse_subset(subset)}
    record = segmenter.segment(files, tmp_path / "seg.nii.gz")
    Predictor(any_subset, [0], CPU).write(files, tmp_path / "expected.nii.gz", "brats2020")
    found, expected = labels_of(tmp_path / "seg.nii.gz"), labels_of(tmp_path / "expected.nii.gz")
    assert np.array_equal(found, expected) and len(np.unique(found)) > 1
    assert np.array_equal(nib.load(tmp_path / "seg.nii.gz").affine, nib.load(patient["t1"]).affine)
    assert list(record["sequences"]) == list(files)
    assert not [warning for warning in record["warnings"] if "looks like" in warning or "skull" in warning]


def test_the_record_beside_the_segmentation(any_subset: Path, patient: dict[str, Path], tmp_path: Path) -> None:
    wanted = Wanted(release="brats2023-gli", probabilities=True, picture=True)
    segmenter = Segmenter(Networks(None, shipped=any_subset), CPU, wanted)
    segmenter.segment({"t2": patient["t2"]}, tmp_path / "case.nii.gz")
    record = json.loads((tmp_path / "case.json").read_text())
    labels, affine = labels_of(tmp_path / "case.nii.gz"), nib.load(tmp_path / "case.nii.gz").affine
    assert set(np.unique(labels)) <= {0, 1, 2, 3}
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    for region, values in regions_of("brats2023-gli").items():
        assert record["labels"][region] == list(values)
        assert record["volumes_ml"][region] == pytest.approx(np.isin(labels, values).sum() * voxel_ml, abs=1e-3)
    manifest = json.loads((any_subset / "fold_0" / "manifest.json").read_text())
    assert record["model"]["weights_sha256"] == [manifest["weights_sha256"]]
    assert record["model"]["method"] == "modality_dropout" and record["model"]["trained_on"] == ALL
    assert record["sequences"] == {"t2": str(patient["t2"])} and record["version"]
    assert record["notice"] == "Research use only. Not a medical device."
    probabilities = nib.load(tmp_path / "case_probabilities.nii.gz")
    assert probabilities.shape == (*labels.shape, 3) and np.array_equal(probabilities.affine, affine)
    for place, region in enumerate(REGIONS[:1]):  # inner regions are painted over outer ones
        above = np.asarray(probabilities.dataobj)[..., place] > 0.5
        assert np.all(above <= np.isin(labels, record["labels"][region]))
    with Image.open(tmp_path / "case.png") as picture:
        assert picture.width > 3 * picture.height > 600


def test_the_picture_shows_the_patients_right_at_the_left(tmp_path: Path) -> None:
    affine = np.diag([-3.0, -3, 3, 1])  # LPS: the first voxels are the patient's right
    grey, labels = np.zeros((40, 48, 30), np.int16), np.zeros((40, 48, 30), np.uint8)
    grey[5:35, 5:43, 3:27] = 100
    grey[8:12, 20:28, 10:20] = 400
    labels[8:12, 20:28, 10:20] = 4
    nib.save(nib.Nifti1Image(grey, affine), tmp_path / "flair.nii")
    nib.save(nib.Nifti1Image(labels, affine), tmp_path / "seg.nii")
    draw(tmp_path / "seg.nii", regions_of("brats2021"), {"flair": str(tmp_path / "flair.nii")}, "t", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("L"), float)
    panel = pixels[:, : pixels.shape[1] // 5]
    rows = slice(panel.shape[0] // 3, 2 * panel.shape[0] // 3)
    bright = np.flatnonzero((panel[rows] > 250).sum(0) > 5)
    assert bright.mean() < 0.4 * panel.shape[1]


def test_a_student_gives_what_the_workflow_predicts(
    two_sequences: Path, patient: dict[str, Path], tmp_path: Path
) -> None:
    record = Segmenter(Networks(two_sequences), CPU).segment(patient, tmp_path / "seg.nii.gz")
    Predictor(two_sequences, [0], CPU).write(patient, tmp_path / "expected.nii.gz", None)
    assert np.array_equal(labels_of(tmp_path / "seg.nii.gz"), labels_of(tmp_path / "expected.nii.gz"))
    assert list(record["sequences"]) == ["t1ce", "flair"] and record["sequences_not_used"] == ["t1", "t2"]


def turned(files: dict[str, Path], axes: str, out: Path) -> dict[str, Path]:
    """The images stored along other axes, each voxel where it was in the body."""
    found = {}
    for name, path in files.items():
        image = nib.load(path)
        stored, wanted = nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(axes))
        found[name] = out / f"{name}_{axes}.nii.gz"
        nib.save(image.as_reoriented(nib.orientations.ornt_transform(stored, wanted)), found[name])
    return found


@pytest.mark.parametrize("axes", ["RAS", "PSR", "ILA"])
def test_images_along_other_axes_are_turned_and_the_segmentation_back(
    axes: str, segmenter: Segmenter, patient: dict[str, Path], tmp_path: Path
) -> None:
    files = {name: patient[name] for name in ("t1ce", "flair")}
    segmenter.segment(files, tmp_path / "expected.nii.gz")
    record = segmenter.segment(turned(files, axes, tmp_path), tmp_path / "seg.nii.gz")
    assert any(f"stored as {axes} and was turned to LPS" in warning for warning in record["warnings"])
    found = nib.load(tmp_path / "seg.nii.gz")
    assert "".join(nib.aff2axcodes(found.affine)) == axes
    assert np.array_equal(
        np.asarray(nib.as_closest_canonical(found).dataobj),
        np.asarray(nib.as_closest_canonical(nib.load(tmp_path / "expected.nii.gz")).dataobj),
    )


def test_an_ensemble_averages_the_probabilities_of_its_networks(
    two_sequences: Path, any_subset: Path, patient: dict[str, Path], tmp_path: Path
) -> None:
    del any_subset
    experiment = tmp_path / "experiment"
    for seed in (0, 1):
        network(experiment, "student", "t1ce+flair", seed, like=two_sequences)
    second = experiment / "models/student/t1ce+flair/seed1/fold_0"
    weights = torch.load(second / "checkpoint_final.pth", weights_only=True)
    head = next(name for name in reversed(weights["network_weights"]) if name.endswith("bias"))
    weights["network_weights"][head] += torch.tensor([1.0, -1.0, 0.5])
    torch.save(weights, second / "checkpoint_final.pth")
    (second / "manifest.json").unlink()
    validated(experiment, {("student", "t1ce+flair"): 0.5})
    files = {name: patient[name] for name in ("t1ce", "flair")}
    wanted = Wanted(probabilities=True)
    for name, models, ensemble in (
        ("one", experiment / "models/student/t1ce+flair/seed0", False),
        ("two", experiment / "models/student/t1ce+flair/seed1", False),
        ("both", experiment, True),
    ):
        segmenter = Segmenter(Networks(models, ensemble=ensemble), CPU, wanted)
        record = segmenter.segment(files, tmp_path / f"{name}.nii.gz")
    one, two, both = (
        nib.load(tmp_path / f"{name}_probabilities.nii.gz").get_fdata() for name in ("one", "two", "both")
    )
    assert np.abs(one - two).max() > 0.01
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-6)
    assert len(set(record["model"]["weights_sha256"])) == 2


@pytest.mark.slow
def test_a_patient_is_segmented_without_a_warning(segmenter: Segmenter, brats_sample: Path, tmp_path: Path) -> None:
    case = min(path for path in brats_sample.iterdir() if path.is_dir())
    files = {name: case / f"{case.name}_{name}.nii.gz" for name in ("t1ce", "flair")}
    record = segmenter.segment(files, tmp_path / "seg.nii.gz")
    assert not [warning for warning in record["warnings"] if "tumour" not in warning]  # this network has learnt nothing
    exchanged = dict(zip(files, reversed(files.values()), strict=True))
    record = segmenter.segment(exchanged, tmp_path / "exchanged.nii.gz")
    assert any("looks like" in warning for warning in record["warnings"])
