"""Restoring on a fresh clone: every byte checked, and nothing left for Snakemake to do."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossmodal.errors import UserError
from crossmodal.experiment import config as configs
from crossmodal.publishing import artefacts, dvc
from crossmodal.publishing.graph import Graph
from crossmodal.publishing.restore import fetch, prove
from tests.publishing.conftest import Published, copy_of
from tests.publishing.experiments import (
    NAME,
    content_of,
    crossmodal,
    flip_a_byte,
    fresh_clone,
    git,
    given_part,
    hash_of,
    objects_of,
)

RESTORED = ("models", "predictions", "scores", "cohort", "figures", "tables", "figure_data")


@pytest.fixture(scope="module")
def restored(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone with shuffled times and neither .snakemake nor preprocessed data, restored."""
    clone = fresh_clone(published.repository, tmp_path_factory.mktemp("elsewhere") / "clone")
    assert not (clone / ".snakemake").exists()
    assert Graph(clone, given_part(published.experiment)).jobs_due()
    done = crossmodal(clone, "restore", f"results/{NAME}")
    assert done.returncode == 0, done.stderr
    assert "every hash as published" in done.stdout
    return clone


def test_a_restored_experiment_has_nothing_to_do(restored: Path, published: Published) -> None:
    experiment = restored / "results" / NAME
    assert Graph(restored, given_part(experiment)).jobs_due() == {}
    assert git(restored, "status", "--porcelain") == ""
    assert dvc.run(restored, "status").strip() == "Data and pipelines are up to date."
    for part in RESTORED:
        expected = content_of(published.experiment / part)
        if part == "models":
            expected = {name: data for name, data in expected.items() if not name.endswith((".lock", "log.txt"))}
        assert content_of(experiment / part) == expected
    assert (experiment / "report.html").read_bytes() == (published.experiment / "report.html").read_bytes()


def test_only_what_was_restored_is_there(restored: Path) -> None:
    experiment = restored / "results" / NAME
    assert sorted(path.name for path in (experiment / "nnunet").iterdir()) == ["manifest.json"]
    assert not (restored / ".cache").exists() and not (restored / "data").exists()


def test_a_changed_recipe_or_seed_still_trains_again(restored: Path) -> None:
    given = given_part(restored / "results" / NAME)
    assert "train_network" in Graph(restored, given | {"overrides": {"student": {"seg_weight": 2}}}).jobs_due()
    assert "train_network" in Graph(restored, given | {"seeds": [0, 1]}).jobs_due()


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
    checkpoint = next(
        path for path in objects_of(published.experiment / "models.dvc", store) if path.stat().st_size > 1e6
    )
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
    hashes = [
        entry.md5
        for output in artefacts.published(owner / "results" / NAME)
        for entry in dvc.Cache(owner).entries(output)
    ]
    assert sorted(dvc.send_missing(owner, "store", dvc.Cache(owner), hashes)) == sorted(
        map(hash_of, (checkpoint, gone))
    )
    fetch(clone, dvc.Cache(clone), artefacts.published(clone / "results" / NAME))


def test_a_damaged_cache_is_mended_from_the_remote(restored: Path, tmp_path: Path) -> None:
    clone = copy_of(restored, tmp_path / "clone")
    cache = dvc.Cache(clone)
    shutil.rmtree(clone / "results" / NAME / "models")
    outputs = artefacts.published(clone / "results" / NAME)
    dvc.run(clone, "checkout", "--quiet", outputs[0].pointer)
    entry = next(entry for entry in cache.entries(outputs[0]) if entry.path.suffix == ".pth")
    assert entry.path.stat().st_nlink > 1
    flip_a_byte(cache.object(entry.md5), keep_time=True)
    assert dvc.md5_of(entry.path) != entry.md5
    fetch(clone, cache, outputs)
    assert not entry.path.exists() and cache.is_whole(entry.md5)
    dvc.run(clone, "checkout", outputs[0].pointer)
    assert dvc.md5_of(entry.path) == entry.md5


def test_tables_that_were_not_committed_are_missed(
    restored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy_of(restored, tmp_path / "clone"))
    experiment = Path("results", NAME)
    (experiment / "tables" / "per_case.csv").unlink()
    with pytest.raises(UserError, match=r"(?s)per_case.csv is not there.*were they committed"):
        prove(experiment, Graph(Path(), given_part(experiment)))


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
    given = given_part(published.experiment) | {"brats": str(tmp_path / "gone"), "experiment": NAME}
    results = published.repository / "results"
    for changes, folder in (({}, None), ({"experiment": "other"}, results)):
        with pytest.raises(UserError, match=r"'brats': there is no .*gone"):
            configs.resolve(given | changes, results=folder)
    assert configs.resolve(given, results=results).brats == str(tmp_path / "gone")
