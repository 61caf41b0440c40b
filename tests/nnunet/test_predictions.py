"""Predictions: the same bytes from a training done again, none lost to a kill, none cut short by a full disk."""

import json
import re
import shutil
from pathlib import Path

import nibabel as nib
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
