"""`crossmodal predict` as it is typed: what it prints, and what it refuses before any work."""

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from crossmodal.cli import app
from crossmodal.errors import UserError
from crossmodal.predict import choose
from tests.predict.experiments import network, study, validated


def typed(*words: str | Path) -> str:
    """What the command prints on stdout.

    Raises:
        UserError: as the command line would print it.
    """
    done = CliRunner().invoke(app, ["predict", *map(str, words)])
    if isinstance(done.exception, UserError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def shipped(any_subset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(choose, "SHIPPED", any_subset)
    return any_subset


def test_without_models_the_shipped_network_is_used(shipped: Path, patient: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "seg.nii.gz"
    printed = typed(
        "--t1ce", patient["t1ce"], "--flair", patient["flair"], "--out", out, "--device", "cpu", "--picture"
    )
    assert "network: the network that comes with Crossmodal" in printed
    assert f"{out}: WT " in printed and "Research use only. Not a medical device." in printed
    assert sorted(path.name for path in out.parent.iterdir()) == ["seg.json", "seg.nii.gz", "seg.png"]


def test_an_experiment_gives_its_best_network_and_the_reason(
    two_sequences: Path, patient: dict[str, Path], tmp_path: Path
) -> None:
    for method in ("student", "choi2023"):
        network(tmp_path / "e", method, "t1ce+flair", like=two_sequences)
    validated(tmp_path / "e", {("student", "t1ce+flair"): 0.8, ("choi2023", "t1ce+flair"): 0.85})
    files = ["--t1ce", patient["t1ce"], "--flair", patient["flair"], "--models", tmp_path / "e"]
    printed = typed(*files, "--out", tmp_path / "seg.nii.gz", "--device", "cpu")
    assert "network: choi2023: the best validated of those trained for T1ce + FLAIR; mean Dice" in printed
    assert "n = 6 patients" in printed
    printed = typed(*files, "--out", tmp_path / "seg.nii.gz", "--device", "cpu", "--method", "student")
    assert "network: student, as --method says: mean Dice over WT, TC and ET 0.800 (" in printed


def test_explain_shows_the_networks_and_segments_nothing(patient: dict[str, Path], tmp_path: Path) -> None:
    experiment = study(tmp_path / "e")
    printed = typed("--t2", patient["t2"], "--models", experiment, "--explain")
    assert "Networks for T2" in printed and "Taken: student: the best validated" in printed
    lines = [line.split() for line in printed.splitlines()]
    assert any(words[:1] == ["student"] and "0.700" in words for words in lines)
    assert any(words[:1] == ["modality_dropout"] and "0.750" in words for words in lines)


def test_explain_of_a_folder_lists_each_set_of_sequences_once(patient: dict[str, Path], tmp_path: Path) -> None:
    for name in ("anna", "bert"):
        (tmp_path / "p" / name).mkdir(parents=True)
        shutil.copy(patient["t2"], tmp_path / "p" / name / "t2.nii")
    printed = typed("--patients", tmp_path / "p", "--models", study(tmp_path / "e"), "--explain")
    assert printed.count("Networks for") == 1 and "Networks for T2 (2 in " in printed


def test_a_folder_of_patients(shipped: Path, patient: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "p" / "anna").mkdir(parents=True)
    shutil.copy(patient["t2"], tmp_path / "p" / "anna" / "t2.nii")
    printed = typed("--patients", tmp_path / "p", "--out", tmp_path / "out", "--device", "cpu")
    assert printed.startswith("1 patient segmented in ") and (tmp_path / "out" / "anna.nii.gz").is_file()


@pytest.fixture
def places(shipped: Path, patient: dict[str, Path], tmp_path: Path) -> dict[str, str | Path]:
    """Paths that the refused calls name."""
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "IM1").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.nii").write_text("no image")
    (tmp_path / "file").write_text("")
    image = nib.load(patient["t2"])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[2:], image.affine), tmp_path / "other.nii")
    own = {name: tmp_path / name for name in ("dicom", "folder", "text.nii", "file", "other.nii")}
    return patient | own | {"seg": tmp_path / "seg.nii.gz", "tmp": tmp_path}


# What is typed, {names} of `places` filled in; and the message.
REFUSED = {
    "nothing": ("--out {seg}", "give the images of one patient"),
    "files and a folder": (
        "--t1 {t1} --patients {folder} --out {seg}",
        "give the images of one patient .* or --patients",
    ),
    "no --out": ("--t1 {t1}", "--out: say where"),
    "a name without an ending": ("--t1 {t1} --out {tmp}/seg", "should end in .nii.gz"),
    "a folder for a file": ("--t1 {t1} --out {folder}", "should end in .nii.gz"),
    "a file for a folder": ("--patients {folder} --out {file}", "is a file; with --patients give a folder"),
    "the patients' own folder": ("--patients {folder} --out {folder}", "is the folder of the patients"),
    "the image itself": ("--t1 {t1} --out {t1}", "would overwrite an image that is read"),
    "below a file": ("--t1 {t1} --out {file}/seg.nii.gz", "cannot be written .*; choose another folder"),
    "a missing image": ("--t1 {tmp}/t1.nii --out {seg}", "t1.nii: no such file"),
    "a folder of DICOM": ("--t1 {dicom} --out {seg}", "is a folder of DICOM files; convert .*dcm2niix"),
    "a folder for an image": ("--t1 {folder} --out {seg}", "is a folder; give the image's file"),
    "no image": ("--t1 {text.nii} --out {seg}", "text.nii: is not a NIfTI file"),
    "another grid": ("--t1 {t1} --t2 {other.nii} --out {seg}", "is on another grid than .*--resample"),
    "one file twice": ("--t1 {t1} --t2 {t1} --out {seg}", "is given as T1 and as T2"),
    "an unknown release": (
        "--t1 {t1} --out {seg} --release brats2032-gli",
        "unknown release 'brats2032-gli': did you mean",
    ),
    "no such models": ("--t1 {t1} --out {seg} --models {tmp}/no", "there is no such folder"),
    "models that are none": ("--t1 {t1} --out {seg} --models {folder}", "is neither a model folder"),
    "a method of one network": ("--t1 {t1} --out {seg} --method student", "is for an experiment's folder"),
    "no such patients": ("--patients {tmp}/no --out {folder}", "there is no such file or folder"),
    "no patients": ("--patients {folder} --out {tmp}/new", "holds no case of a known release"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, places: dict[str, Path]) -> None:
    line, message = REFUSED[case]
    for name, path in places.items():
        line = line.replace(f"{{{name}}}", str(path))
    with pytest.raises(UserError, match=message):
        typed(*line.split(), "--device", "cpu")
    assert not places["seg"].exists()


def test_no_shipped_network_is_refused(
    patient: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "SHIPPED", tmp_path / "no")
    with pytest.raises(UserError, match="this version ships no network: give --models"):
        typed("--t1", patient["t1"], "--out", tmp_path / "seg.nii.gz")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_folder_that_cannot_be_written_is_refused(places: dict[str, Path]) -> None:
    places["folder"].chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        typed("--t1", places["t1"], "--out", places["folder"] / "seg.nii.gz")
