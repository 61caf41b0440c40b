import os
from pathlib import Path

import pytest
from small_cohort import Cohort


@pytest.fixture(scope="session")
def real_cases():
    """Folders of the three real BraTS 2021 cases, which the repository does not hold."""
    beside = Path(__file__).parents[3] / "shared" / "brats2021-sample"
    folder = Path(os.environ.get("CROSSMODAL_BRATS_SAMPLE", beside))
    cases = sorted(path for path in folder.glob("BraTS2021_*") if path.is_dir())
    if not cases:
        pytest.skip(f"no BraTS 2021 cases in {folder}; set CROSSMODAL_BRATS_SAMPLE to a folder that has some")
    return cases


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path / "cohort")
