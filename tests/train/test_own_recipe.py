"""A user's own method is one new file; and every backbone that nnU-Net plans serves the recipes."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.errors import UserError
from crossmodal.experiment import recipe as recipes
from crossmodal.nnunet.dataset import build
from tests.conftest import tiny_budget
from tests.train.trainings import trained

MINE = """
title: Mine
source: ours
teacher: {trained: jointly, sees: all}
distill:
  - {at: decoder.0, loss: barlow_twins, weight: 0.5, projector: 6}
  - {at: logits, loss: soft_targets, weight: 1.0, temperature: 2.0}
"""


def test_a_new_file_is_a_new_method(tiny_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    recipe = recipes.load("mine", [tmp_path], {"distill.1.weight": 0.25})
    manifest = trained("mine", "flair", tiny_dataset, tmp_path / "model", recipe)
    assert manifest["recipe"]["distill"][1]["weight"] == 0.25
    progress = pd.read_csv(tmp_path / "model" / "fold_0" / "progress.csv")
    for column in ("seg_student", "seg_teacher", "barlow_twins@decoder.0", "soft_targets@logits"):
        assert progress[column].notna().all()
    assert (progress["gradient_ratio:soft_targets@logits"] > 0).all()
    matrices = np.load(tmp_path / "model" / "fold_0" / "correlation.npz")
    assert matrices["start"].shape == matrices["end"].shape == (6, 6)
    assert not np.array_equal(matrices["start"], matrices["end"])


def test_an_unknown_backbone_is_refused_before_anything_is_written(tiny_cases: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--backbone resenc_n: no such backbone; did you mean 'resenc_m'\?"):
        build(read_cases(tiny_cases), tmp_path / "nnunet", tiny_budget(), "resenc_n")
    assert not (tmp_path / "nnunet").exists()


@pytest.mark.parametrize("backbone", ["resenc_m", "resenc_l"])
def test_residual_encoders_serve_every_kind_of_recipe(backbone: str, tiny_cases: Path, tmp_path: Path) -> None:
    before = dict(os.environ)
    build(read_cases(tiny_cases), tmp_path / "nnunet", tiny_budget(), backbone)
    assert os.environ == before
    for method in ("choi2023", "zagoruyko2017"):
        manifest = trained(method, "t1ce+flair", tmp_path / "nnunet", tmp_path / method)
        assert manifest["backbone"] == backbone
    plans = json.loads((tmp_path / "choi2023" / "plans.json").read_text())
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    assert architecture["network_class_name"].endswith("ResidualEncoderUNet")
