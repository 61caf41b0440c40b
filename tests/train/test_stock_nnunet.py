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
    plans = json.loads((model / "plans.json").read_text())
    schemes = plans["configurations"]["3d_fullres"]["normalization_schemes"]
    assert schemes == ["ZScoreNormalization"] * len(subset.split("+")), "stock nnU-Net reads the first of them"
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
