"""Predictions: the same bytes from a training done again, none lost to a kill, none cut short by a full disk."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.errors import UserError
from crossmodal.nnunet.predict import Predictor, predict_cases
from tests.train.trainings import Killed, cut_off_at, mounted, run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "m"
    run("student", "t2", tiny_dataset, out)
    return out


@pytest.fixture
def cases(tiny_cases: Path) -> pd.DataFrame:
    return read_cases(tiny_cases).head(3)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_training_done_again_predicts_the_same_bytes(
    model: Path, cases: pd.DataFrame, tiny_dataset: Path, tmp_path: Path
) -> None:
    run("student", "t2", tiny_dataset, tmp_path / "again")
    predict_cases(model, 0, cases, "t2", tmp_path / "a", CPU)
    predict_cases(tmp_path / "again", 0, cases, "t2", tmp_path / "b", CPU)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") and len(contents(tmp_path / "a")) == 3


@pytest.mark.parametrize("axes", [None, (0, 1)])
@pytest.mark.parametrize("longer", [0, 1], ids=["one tile", "three tiles"])
def test_tiles_in_pairs_give_what_nnunets_predictor_gives(model: Path, longer: int, axes: tuple | None) -> None:
    ours = Predictor(model, None, CPU).predictor
    theirs = nnUNetPredictor.__new__(nnUNetPredictor)
    theirs.__dict__ |= ours.__dict__ | {"allowed_mirroring_axes": axes, "use_mirroring": axes is not None}
    ours.__dict__ |= theirs.__dict__
    x, y, z = json.loads((model / "plans.json").read_text())["configurations"]["3d_fullres"]["patch_size"]
    data = torch.randn(1, x + longer * x, y, z, generator=torch.Generator().manual_seed(0))
    expected = theirs.predict_logits_from_preprocessed_data(data)
    found = ours.predict_logits_from_preprocessed_data(data)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=0.002, atol=0.002)  # logits in half precision


def test_a_kill_loses_one_case_and_shows_no_half_a_folder(
    model: Path, cases: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_cases(model, 0, cases, "t2", tmp_path / "expected", CPU)
    put_back = cut_off_at(monkeypatch, Predictor, "segment", 3)
    with pytest.raises(Killed):
        predict_cases(model, 0, cases, "t2", tmp_path / "fold_0", CPU)
    put_back()
    assert not (tmp_path / "fold_0").exists()
    cut_off_at(monkeypatch, Predictor, "segment", 2)  # one case is left, and no more
    predict_cases(model, 0, cases, "t2", tmp_path / "fold_0", CPU)
    assert contents(tmp_path / "fold_0") == contents(tmp_path / "expected")


@pytest.mark.parametrize(
    ("writer", "fault"),
    [
        ("SimpleITKIO", (UserError, "could not be written whole: is the disk full")),
        ("NibabelIO", (OSError, "No space")),
    ],
)
def test_a_full_disk_leaves_no_segmentation_cut_short(
    writer: str, fault: tuple, model: Path, cases: pd.DataFrame, tmp_path: Path
) -> None:
    predictor = Predictor(model, None, CPU)
    predictor.plans.plans["image_reader_writer"] = writer
    images = {"t2": cases["t2"].iloc[0]}
    with mounted(tmp_path / "disk", "size=16k") as disk:
        (disk / "filler").write_bytes(bytes(8192))
        with pytest.raises(fault[0], match=fault[1]):
            predictor.write(images, disk / "seg.nii", None)
        assert [path.name for path in disk.iterdir()] == ["filler"]
    predictor.write(images, tmp_path / "seg.nii", None)
    assert nib.load(tmp_path / "seg.nii").shape == nib.load(images["t2"]).shape


def changed(image: str, change: Callable[[np.ndarray], np.ndarray], out: Path) -> Path:
    """A copy of a file with change(voxels)."""
    original = nib.load(image)
    nib.save(nib.Nifti1Image(change(np.asarray(original.dataobj).astype(np.float32)), original.affine), out)
    return out


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_background_that_is_not_0_changes_no_prediction(
    ending: str, model: Path, cases: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(cases["t2"].iloc[0], lambda v: (v - v.mean()) / v.std(), tmp_path / f"t2{ending}")
    before = path.read_bytes()
    predictor = Predictor(model, None, CPU)
    predictor.write({"t2": cases["t2"].iloc[0]}, tmp_path / "expected.nii.gz", None)
    assert "warning" not in capsys.readouterr().err
    predictor.write({"t2": path}, tmp_path / "found.nii.gz", None)
    assert f"warning: {path}: has a constant background that is not 0; nothing to do" in capsys.readouterr().err
    assert path.read_bytes() == before
    expected, found = (nib.load(tmp_path / f"{name}.nii.gz").get_fdata() for name in ("expected", "found"))
    assert np.mean(found != expected) < 1e-4  # float32 rounds the two images differently
    assert len(np.unique(expected)) > 1


def test_an_image_without_a_background_is_predicted_with_a_warning(
    model: Path, cases: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0)
    path = changed(cases["t2"].iloc[0], lambda v: v + noise.integers(1, 30, v.shape, np.int16), tmp_path / "t2.nii")
    Predictor(model, None, CPU).write({"t2": path}, tmp_path / "seg.nii.gz", None)
    assert f"warning: {path}: has no background: the voxels in its corners differ; strip" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: np.where(v == 0, np.nan, v), "has a background that is NaN or infinite"),
        (lambda v: np.where(v == v.max(), np.inf, v), "has 1 voxels that are NaN or infinite"),
        (lambda v: np.where(v == v.max(), 3e38, v), "has intensities up to 3e.38"),
        (np.zeros_like, "has the same value everywhere"),
        (np.ones_like, "has the same value everywhere"),
    ],
    ids=["background NaN", "infinite", "absurd", "0 everywhere", "1 everywhere"],
)
def test_an_image_that_nothing_can_be_made_of_is_refused(
    change: Callable, message: str, model: Path, cases: pd.DataFrame, tmp_path: Path
) -> None:
    path = changed(cases["t2"].iloc[0], change, tmp_path / "t2.nii")
    with pytest.raises(UserError, match=f"{re.escape(str(path))}: {message}.*; "):
        Predictor(model, None, CPU).write({"t2": path}, tmp_path / "seg.nii.gz", None)
    assert not (tmp_path / "seg.nii.gz").exists()


@pytest.mark.parametrize("program", ["subprocess.Popen", "torch.nn.parallel.distributed.os.system"])
@pytest.mark.parametrize("key", ["network_class_name", "nonlin"])
def test_plans_of_a_stranger_run_no_program(key: str, program: str, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "m")
    plans = json.loads((model / "plans.json").read_text())
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    if key == "nonlin":
        command = f"touch {tmp_path / 'made'}"
        options = {"command": command} if "system" in program else {"args": command.split()}
        architecture["arch_kwargs"] |= {"nonlin": program, "nonlin_kwargs": options}
    else:
        architecture["network_class_name"] = program
    (tmp_path / "m" / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(UserError, match=f"names '{re.escape(program)}' as a part of its network"):
        Predictor(tmp_path / "m", None, CPU)
    assert not (tmp_path / "made").exists()
