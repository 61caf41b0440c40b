import pytest
from small_cohort import Cohort


@pytest.fixture(scope="session")
def real_cases(brats_sample):
    """Folders of the three real BraTS 2021 cases, which the repository does not hold."""
    return sorted(path for path in brats_sample.glob("BraTS2021_*") if path.is_dir())


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path / "cohort")
