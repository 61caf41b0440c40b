"""The network that comes with the library: whole, small, and as good as its card says."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from crossmodal.data import DATA
from crossmodal.domain import ALL, REGIONS, parse_subset, regions_of
from crossmodal.evaluate.metrics import dice
from crossmodal.evaluate.score import read_labels
from crossmodal.nnunet.export import read_checkpoint
from crossmodal.nnunet.predict import Predictor
from crossmodal.phantom import write_cohort
from tests.conftest import REPOSITORY

NETWORK = DATA / "network"
CARD = (NETWORK / "README.md").read_text()


def test_the_file_is_the_one_of_the_card_and_small() -> None:
    checkpoint = NETWORK / "fold_0" / "checkpoint_final.pth"
    content = checkpoint.read_bytes()
    assert hashlib.sha256(content).hexdigest() in CARD
    assert len(content) < 10e6
    read_checkpoint(NETWORK, 0)  # raises if the weights are not those of the manifest
    manifest = json.loads((NETWORK / "fold_0" / "manifest.json").read_text())
    assert manifest["weights_sha256"] in CARD and manifest["dataset_sha256"] in CARD


def test_it_is_what_the_workflow_s_config_trains() -> None:
    from crossmodal.experiment.config import resolve
    from crossmodal.experiment.validation import read_yaml

    config = resolve(read_yaml(REPOSITORY / "workflow" / "released.yaml"))
    manifest = json.loads((NETWORK / "fold_0" / "manifest.json").read_text())
    budget = config.budget_settings.plain()
    chosen = ("precision", "loads_in_process")  # of the processor, and another name of loader_workers
    assert {key: value for key, value in manifest["budget"].items() if key not in chosen}.items() <= budget.items()
    assert config.methods == [manifest["method"]] and config.seeds == [manifest["seed"]]
    assert f"{config.phantom.cases} phantoms of site R" in CARD and config.phantom.site == "R"


@pytest.mark.slow
def test_it_segments_a_phantom_of_another_site_from_any_sequence(tmp_path: Path) -> None:
    write_cohort(tmp_path, 1, 3.0, 7, "A", 1)
    predictor = Predictor(NETWORK, [0], torch.device("cpu"))
    rows = []
    for folder in sorted(tmp_path.iterdir()):
        reference, _, _ = read_labels(folder / f"{folder.name}_seg.nii", "brats2020")
        for subset in ("t1", "t1ce", "t2", "flair", ALL):
            images = {m: folder / f"{folder.name}_{m}.nii" for m in parse_subset(subset)}
            predictor.write(images, tmp_path.parent / "seg.nii.gz", "brats2020")
            found, _, _ = read_labels(tmp_path.parent / "seg.nii.gz", "brats2020")
            for region, values in regions_of("brats2020").items():
                rows.append((subset, region, dice(np.isin(reference, values), np.isin(found, values))))
    mean = pd.DataFrame(rows, columns=["subset", "region", "dice"]).groupby(["subset", "region"])["dice"].mean()
    assert mean[ALL][["WT", "TC"]].min() > 0.7
    assert mean.xs("WT", level="region").min() > 0.4


@pytest.mark.slow
def test_it_segments_the_patients_of_the_sample_as_the_card_says(brats_sample: Path, tmp_path: Path) -> None:
    predictor, rows = Predictor(NETWORK, [0], torch.device("cpu")), []
    for folder in sorted(brats_sample.glob("BraTS2021_*")):
        reference, _, _ = read_labels(folder / f"{folder.name}_seg.nii.gz", "brats2021")
        for subset in ("flair", "t1ce+flair", ALL):
            images = {m: folder / f"{folder.name}_{m}.nii.gz" for m in parse_subset(subset)}
            predictor.write(images, tmp_path / "seg.nii.gz", "brats2021")
            found, _, _ = read_labels(tmp_path / "seg.nii.gz", "brats2021")
            for region, values in regions_of("brats2021").items():
                rows.append((subset, region, dice(np.isin(reference, values), np.isin(found, values))))
    mean = pd.DataFrame(rows, columns=["subset", "region", "dice"]).groupby(["subset", "region"])["dice"].mean()
    for subset in ("t1ce+flair", ALL):
        for region, goal in zip(REGIONS, (0.85, 0.80, 0.78), strict=True):
            assert mean[subset, region] > goal
    assert mean["flair", "WT"] > 0.80
