"""A trained student is a stock nnU-Net model of its k modalities: no file, class or package of ours is needed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.nnunet.predict import Predictor, cases_to_predict, predict_cases
from tests.train.trainings import trained

# Stock nnU-Net's command, with this project made unimportable.
STOCK = (
    "import sys; sys.modules['crossmodal'] = None;"
    "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as main; main()"
)


@pytest.mark.parametrize(("method", "subset"), [("choi2023", "t1ce+flair"), ("romero2015", "t2")])
def test_stock_nnunet_gives_the_workflow_s_segmentation(
    method: str, subset: str, tiny_cases: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    trained(method, subset, tiny_dataset, model)
    rows = cases_to_predict(read_cases(tiny_cases), "tiny", 0)
    predict_cases(model, 0, rows, subset, tmp_path / "ours", torch.device("cpu"))

    (tmp_path / "in").mkdir()
    row = next(rows.itertuples())
    for channel, modality in enumerate(subset.split("+")):
        shutil.copy(getattr(row, modality), tmp_path / "in" / f"{row.case}_{channel:04d}.nii")
    command = [sys.executable, "-c", STOCK, "-i", str(tmp_path / "in"), "-o", str(tmp_path / "stock")]
    command += ["-m", str(model), "-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_progress_bar"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    stock = nib.load(tmp_path / "stock" / f"{row.case}.nii")
    ours = nib.load(tmp_path / "ours" / f"{row.case}.nii.gz")
    brats = np.array([0, 2, 1, 4])  # 1 ED, 2 NCR, 3 ET -> BraTS 2020
    np.testing.assert_array_equal(brats[np.asarray(stock.dataobj).astype(int)], np.asarray(ours.dataobj))
    np.testing.assert_allclose(ours.affine, nib.load(row.t1).affine)
    assert len(np.unique(np.asarray(ours.dataobj))) > 1, "an empty segmentation would prove nothing"


def test_the_exported_student_holds_no_teacher_and_no_projection(tiny_dataset: Path, tmp_path: Path) -> None:
    trained("romero2015", "t2", tiny_dataset, tmp_path / "taught")
    trained("student", "t2", tiny_dataset, tmp_path / "alone")
    names = [
        set(torch.load(tmp_path / folder / "fold_0" / "checkpoint_final.pth", weights_only=True)["network_weights"])
        for folder in ("taught", "alone")
    ]
    assert names[0] == names[1]
    plans = json.loads((tmp_path / "taught" / "plans.json").read_text())
    assert plans["configurations"]["3d_fullres"]["normalization_schemes"] == ["ZScoreNormalization"]
    assert plans["distillation"]["recipe"]["distill"][0]["loss"] == "mse"
    assert json.loads((tmp_path / "taught" / "dataset.json").read_text())["channel_names"] == {"0": "T2"}


def test_an_any_subset_network_predicts_from_what_is_there(
    tiny_cases: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    trained("modality_dropout", "t1+t1ce+t2+flair", tiny_dataset, tmp_path / "any")
    predictor = Predictor(tmp_path / "any", None, torch.device("cpu"))
    row = next(read_cases(tiny_cases).itertuples())
    whole, _ = predictor.segment({name: getattr(row, name) for name in ("t1", "t1ce", "t2", "flair")})
    part, _ = predictor.segment({"flair": row.flair})
    assert whole.shape == part.shape
    assert not np.array_equal(whole, part)
