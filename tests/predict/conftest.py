"""A patient of real size in few voxels, and networks that can segment it."""

from pathlib import Path

import pytest

from crossmodal.domain import ALL, MODALITIES
from tests.train.trainings import trained


@pytest.fixture(scope="session")
def patient(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Modality to file of a phantom at 3 mm, whose contrasts can be told apart. Never write beside them."""
    from crossmodal.phantom import write_cohort

    (folder,) = write_cohort(tmp_path_factory.mktemp("patient"), 1, 3.0, 77, "A", 1)
    return {name: folder / f"{folder.name}_{name}.nii" for name in MODALITIES}


@pytest.fixture(scope="session")
def any_subset(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A modality_dropout network's model folder: the stand-in for the network that is shipped."""
    out = tmp_path_factory.mktemp("shipped") / "network"
    trained("modality_dropout", ALL, tiny_dataset, out)
    return out


@pytest.fixture(scope="session")
def two_sequences(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student's model folder, of T1ce and FLAIR."""
    out = tmp_path_factory.mktemp("student") / "network"
    trained("student", "t1ce+flair", tiny_dataset, out)
    return out
