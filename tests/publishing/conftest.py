"""One published experiment for all tests here; each works on clones or copies of it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.publishing.experiments import NAME, add_experiment, bytes_on_disk, crossmodal, make_repository, save


@dataclass(frozen=True)
class Published:
    """The machine that trained: its repository, its remote, and what was there before publishing."""

    repository: Path
    remote: Path
    bytes_before: int
    times_before: dict[Path, int]

    @property
    def experiment(self) -> Path:
        return self.repository / "results" / NAME


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a finished experiment that was never published. Never write into it."""
    repository = make_repository(tmp_path_factory.mktemp("finished"))
    add_experiment(repository)
    return repository


@pytest.fixture(scope="session")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """The experiment, published to a folder and committed. Never write into it: take a clone or a copy."""
    folder = tmp_path_factory.mktemp("published")
    repository = copy_of(finished, folder / "repository")
    experiment = repository / "results" / NAME
    before = bytes_on_disk(repository / "results")
    times = {path: path.stat().st_mtime_ns for path in experiment.rglob("*") if path.is_file()}
    done = crossmodal(repository, "publish", f"results/{NAME}", "--remote", folder / "store")
    assert done.returncode == 0, done.stderr
    save(repository, "Publish")
    return Published(repository, folder / "store", before, times)


def copy_of(repository: Path, folder: Path) -> Path:
    """A copy that shares no bytes and keeps all times."""
    return Path(shutil.copytree(repository, folder, symlinks=True))
