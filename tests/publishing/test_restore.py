"""Restoring on a fresh clone: every byte checked, and nothing left for Snakemake to do."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossmodal.errors import UserError
from crossmodal.experiment import config as configs
from crossmodal.publishing import artefacts, dvc
from crossmodal.publishing.restore import fetch, prove
from tests.publishing.conftest import Published, copy_of
from tests.publishing.experiments import NAME, content_of, crossmodal, due, flip_a_byte, fresh_clone, git, objects_of
from tests.publishing.experiments import graph as graph_of

RESTORED = ("models", "predictions", "scores", "cohort", "figures", "tables", "figure_data")


@pytest.fixture(scope="module")
def restored(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone with shuffled times and neither .snakemake nor preprocessed data, restored."""
    clone = fresh_clone(published.repository, tmp_path_factory.mktemp("elsewhere") / "clone")
    assert not (clone / ".snakemake").exists()
    assert due(clone)
    done = crossmodal(clone, "restore", f"results/{NAME}")
    assert done.returncode == 0, done.stderr
    assert "every hash as published" in done.stdout
    return clone


def test_a_restored_experiment_has_nothing_to_do(restored: Path, published: Published) -> None:
    experiment = restored / "results" / NAME
    assert due(restored) == {}
    assert git(restored, "status", "--porcelain") == ""
    assert dvc.run(restored, "status").strip() == "Data and pipelines are up to date."
    for part in RESTORED:
        assert content_of(experiment / part) == content_of(published.experiment / part, (".lock", "training_log.txt"))
    assert (experiment / "report.html").read_bytes() == (published.experiment / "report.html").read_bytes()
    assert sorted(path.name for path in (experiment / "nnunet").iterdir()) == ["manifest.json"]
    assert not (restored / ".cache").exists() and not (restored / "data").exists()


def test_a_changed_recipe_or_seed_still_trains_again(restored: Path) -> None:
    assert "train_network" in due(restored, overrides={"student": {"seg_weight": 2}})
    assert "train_network" in due(restored, seeds=[0, 1])


def test_restoring_again_is_harmless_and_local_changes_are_kept(restored: Path, tmp_path: Path) -> None:
    clone = copy_of(restored, tmp_path / "clone")
    scores = clone / "results" / NAME / "scores" / "phantom-a" / "student" / "t1ce+flair" / "seed0" / "fold_0.csv"
    scores.unlink()
    scores.write_text("case,region,dice\nmine,WT,1\n")
    done = crossmodal(clone, "restore", f"results/{NAME}")
    assert done.returncode == 1 and "--force" in done.stderr and "Traceback" not in done.stderr
    assert "mine" in scores.read_text()


def test_an_object_with_one_flipped_byte_is_named_and_nothing_is_restored(published: Published, tmp_path: Path) -> None:
    clone = fresh_clone(published.repository, tmp_path / "clone")
    store = copy_of(published.remote, tmp_path / "store")
    stored = objects_of(published.experiment / "models.dvc", store)
    checkpoint = next(path for path in stored if path.stat().st_size > 1e6)
    flip_a_byte(checkpoint)
    gone = objects_of(published.experiment / "predictions.dvc", store)[1]
    gone.unlink()
    dvc.run(clone, "remote", "modify", "--local", "store", "url", store)
    done = crossmodal(clone, "restore", f"results/{NAME}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "1 objects in the remote 'store' are damaged" in done.stderr
    assert "checkpoint_final.pth: files/md5/" + "/".join(checkpoint.parts[-2:]) in done.stderr
    assert "case_2.nii.gz: files/md5/" + "/".join(gone.parts[-2:]) in done.stderr
    assert "publish again" in done.stderr
    assert not (clone / "results" / NAME / "models").exists()

    # What the message says to do: delete the damaged object, publish again where the files are. `dvc push` alone
    # would send neither, since the lists of both folders are there.
    checkpoint.unlink()
    owner = copy_of(published.repository, tmp_path / "owner")
    dvc.run(owner, "remote", "modify", "store", "url", store)
    cache = dvc.Cache(owner)
    outputs = artefacts.published(owner / "results" / NAME)
    hashes = [entry.md5 for output in outputs for entry in cache.entries(output)]
    lacking = {checkpoint.parent.name + checkpoint.name, gone.parent.name + gone.name}
    assert set(dvc.send_missing(owner, "store", cache, hashes)) == lacking
    fetch(clone, dvc.Cache(clone), artefacts.published(clone / "results" / NAME))


def test_a_damaged_cache_is_mended_from_the_remote(restored: Path, tmp_path: Path) -> None:
    clone = copy_of(restored, tmp_path / "clone")
    cache = dvc.Cache(clone)
    (output,) = dvc.read_pointer(clone / "results" / NAME / "predictions.dvc")
    shutil.rmtree(output.path)
    dvc.run(clone, "checkout", "--quiet", output.pointer)
    entry = cache.entries(output)[-1]
    assert entry.path.stat().st_nlink > 2, "two files of equal content share an object"
    flip_a_byte(cache.object(entry.md5), keep_time=True)
    assert dvc.md5_of(entry.path) != entry.md5
    fetch(clone, cache, [output])
    assert not entry.path.exists() and cache.is_whole(entry.md5)
    dvc.run(clone, "checkout", output.pointer)
    assert dvc.md5_of(entry.path) == entry.md5


def test_tables_that_were_not_committed_are_missed(
    restored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy_of(restored, tmp_path / "clone"))
    experiment = Path("results", NAME)
    (experiment / "tables" / "per_case.csv").unlink()
    with pytest.raises(UserError, match=r"(?s)per_case.csv is not there.*were they committed"):
        prove(experiment, graph_of(Path()))


def test_a_checkout_with_another_recipe_is_refused(published: Published, tmp_path: Path) -> None:
    clone = fresh_clone(published.repository, tmp_path / "clone")
    change_record(clone, seg_weight=3)
    done = crossmodal(clone, "restore", f"results/{NAME}")
    assert done.returncode == 1 and "recipes.student.seg_weight: 3 there, 1 now" in done.stderr
    assert "Check out the commit that published it" in done.stderr


def test_an_experiment_that_an_earlier_version_recorded_is_restored(restored: Path, tmp_path: Path) -> None:
    clone = copy_of(restored, tmp_path / "clone")
    change_record(clone, title="As it was called then", skip_connections=None)  # a field that came later
    done = crossmodal(clone, "restore", f"results/{NAME}")
    assert done.returncode == 0, done.stderr
    assert "snakemake has nothing to do" in done.stdout


def change_record(repository: Path, **changes: Any) -> None:
    """Change the recorded recipe of the student; None leaves a field out."""
    path = repository / "results" / NAME / "config.yaml"
    config = yaml.safe_load(path.read_text())
    recipe = config["recipes"]["student"] | changes
    config["recipes"]["student"] = {key: value for key, value in recipe.items() if value is not None}
    path.write_text(yaml.safe_dump(config))


def test_images_need_not_be_there_once_the_cohort_was_read(published: Published, tmp_path: Path) -> None:
    given = graph_of(published.repository).config | {"brats": str(tmp_path / "gone"), "experiment": NAME}
    results = published.repository / "results"
    for changes, folder in (({}, None), ({"experiment": "other"}, results)):
        with pytest.raises(UserError, match=r"'brats': there is no .*gone"):
            configs.resolve(given | changes, results=folder)
    assert configs.resolve(given, results=results).brats == str(tmp_path / "gone")
