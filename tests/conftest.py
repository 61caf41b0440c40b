"""What several areas need: the repository, recipes, and a tiny dataset of real phantoms, preprocessed once."""

import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings

from crossmodal.domain import MODALITIES
from crossmodal.experiment.budget import Budget

# The same examples in every run, however busy the machine: a find does not stop another change's landing.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

REPOSITORY = Path(__file__).resolve().parents[1]
PAPERS = sorted((REPOSITORY / "workflow" / "papers").glob("*.yaml"))

# The smallest network with which nnU-Net's deep supervision still has weights, and 128 bottleneck positions.
TINY_BUDGET = {
    "title": "tests",
    "epochs": 2,
    "steps_per_epoch": 2,
    "val_steps_per_epoch": 1,
    "spacing": [6, 6, 6],
    "patch_size": [16, 16, 16],
    "batch_size": 2,
    "features": [4, 8, 8],
    "mirroring": False,
    "threads": 1,
    "loader_workers": 0,
    "memory_gb": 1,
    "runtime_hours": 0.1,
}


def tiny_budget(**changes: Any) -> Budget:
    """TINY_BUDGET with other values."""
    return Budget.parse(TINY_BUDGET | changes, "tests")


def copy_workflow(folder: Path) -> None:
    """Copy what Snakemake needs of this repository."""
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "Snakefile", folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests start first, so that no core waits for the last of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def tiny_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cases.csv of five phantoms at 6 mm: four train in two folds, one is the test case."""
    from crossmodal.phantom import write_cohort

    folder = tmp_path_factory.mktemp("tiny")
    write_cohort(folder / "phantoms", 5, 6.0, 7, "A", 1)
    folders = sorted((folder / "phantoms").iterdir())
    names = [path.name for path in folders]
    table = {"cohort": "tiny", "case": names, "patient": names, "release": "brats2020"}
    table |= {"split": ["train"] * 4 + ["test"], "fold": ["0", "1", "0", "1", ""]}
    table |= {image: [path / f"{path.name}_{image}.nii" for path in folders] for image in (*MODALITIES, "seg")}
    pd.DataFrame(table | {"sha256": "0"}).to_csv(folder / "cases.csv", index=False)
    return folder / "cases.csv"


@pytest.fixture(scope="session")
def tiny_dataset(tiny_cases: Path) -> Path:
    """The preprocessed nnU-Net dataset of `tiny_cases`, for TINY_BUDGET. Never write into it."""
    from crossmodal.cohort.cases_csv import read_cases
    from crossmodal.nnunet.dataset import build

    out = tiny_cases.parent / "nnunet"
    build(read_cases(tiny_cases), out, tiny_budget())
    return out


@pytest.fixture(scope="session")
def brats_sample() -> Path:
    """Three real BraTS 2021 cases, which cannot be part of the repository."""
    folder = Path(os.environ.get("CROSSMODAL_BRATS_SAMPLE", REPOSITORY.parent / "shared" / "brats2021-sample"))
    if not folder.is_dir():
        pytest.skip(f"no real BraTS cases in {folder}: set CROSSMODAL_BRATS_SAMPLE to a folder of BraTS 2021 cases")
    return folder
