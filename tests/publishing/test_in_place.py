"""Published files share their bytes with DVC's cache: nothing that trains or builds later may write through them.

These tests mean most as root, whom the read-only mode of a linked file does not stop.
"""

from pathlib import Path

import pytest

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.nnunet.dataset import build
from crossmodal.publishing import dvc
from tests.conftest import tiny_budget
from tests.publishing.experiments import flip_a_byte, make_repository
from tests.train.trainings import trained


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository")


def damaged(cache: dvc.Cache, output: dvc.Output) -> list[Path]:
    """Files whose object in the cache is no longer what its name says."""
    entries = cache.entries(output)
    assert len(entries) > 1
    return [entry.path for entry in entries if not cache.is_whole(entry.md5)]


def committed(repository: Path, part: str) -> tuple[dvc.Cache, dvc.Output]:
    """Put results/x/<part> under DVC; its files are links to the cache from then on."""
    pointer = repository / "results" / "x" / f"{Path(part).name}.dvc"
    dvc.commit({pointer: [part]}, None, repository)
    cache, (output,) = dvc.Cache(repository), dvc.read_pointer(pointer)
    for entry in cache.entries(output)[1:]:
        assert entry.path.samefile(cache.object(entry.md5)), "without a link there would be nothing to test"
    return cache, output


def test_a_later_training_leaves_a_published_model_as_it_was(repository: Path, tiny_dataset: Path) -> None:
    model = repository / "results" / "x" / "models" / "student" / "t1ce+flair" / "seed0"
    first = trained("student", "t1ce+flair", tiny_dataset, model)
    cache, output = committed(repository, "models")
    (model / "fold_0" / "manifest.json").unlink()  # what snakemake does before it trains again
    second = trained("student", "t1ce+flair", tiny_dataset, model, seed=1)
    assert second["weights_sha256"] != first["weights_sha256"]
    assert damaged(cache, output) == []
    changed = {entry.path.name for entry in cache.entries(output)[1:] if dvc.md5_of(entry.path) != entry.md5}
    assert {"checkpoint_final.pth", "manifest.json", "progress.csv", "plans.json"} <= changed


def test_a_dataset_built_again_leaves_published_arrays_as_they_were(repository: Path, tiny_cases: Path) -> None:
    cases = read_cases(tiny_cases)
    folder = repository / "results" / "x" / "nnunet"
    build(cases, folder, tiny_budget())
    cache, output = committed(repository, "nnunet/preprocessed")
    build(cases, folder, tiny_budget(spacing=[7, 7, 7]))
    assert damaged(cache, output) == []


def test_a_write_in_place_would_be_noticed(repository: Path) -> None:
    model = repository / "results" / "x" / "models"
    model.mkdir(parents=True)
    (model / "weights").write_bytes(bytes(100))
    cache, output = committed(repository, "models")
    flip_a_byte(model / "weights")
    assert damaged(cache, output) == [model / "weights"]
