"""Publishing: what goes where, what it costs on disk, and what it leaves untouched."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from crossmodal.domain import ALL
from crossmodal.errors import UserError
from crossmodal.experiment.recipe import load
from crossmodal.publishing import dvc, graph
from crossmodal.publishing.cards import metrics_of, split_hash
from crossmodal.publishing.graph import Graph
from tests.publishing.conftest import Published, copy_of
from tests.publishing.experiments import MEGABYTE, NAME, RUNS, bytes_on_disk, crossmodal, due, git, objects_of

GROUPS = ("models", "predictions", "record")


def test_one_pointer_a_group_in_git_and_every_object_in_the_remote(published: Published) -> None:
    tracked = git(published.repository, "ls-files", f"results/{NAME}").splitlines()
    assert {f"results/{NAME}/{group}.dvc" for group in GROUPS} <= set(tracked)
    assert not [name for name in tracked if "/models/" in name or "/nnunet/" in name or "/cohort/" in name]
    for group in GROUPS:
        for stored in objects_of(published.experiment / f"{group}.dvc", published.remote):
            assert stored.is_file()


def test_publishing_makes_no_second_copy(published: Published) -> None:
    after = bytes_on_disk(published.repository / "results", published.repository / ".dvc" / "cache")
    assert after < published.bytes_before + MEGABYTE / 4 < published.bytes_before + len(RUNS) * MEGABYTE
    # A remote is a copy by its purpose, and no more than one.
    assert bytes_on_disk(published.remote) <= published.bytes_before + MEGABYTE / 4


def test_times_stay_so_snakemake_has_nothing_to_do_afterwards(published: Published) -> None:
    moved = {path for path, time in published.times_before.items() if path.stat().st_mtime_ns != time}
    # Files of equal content become one file (the cache's name is one more), which has one time: the latest.
    assert all(path.stat().st_nlink > 2 for path in moved) and len(moved) < len(published.times_before) / 4
    assert due(published.repository) == {}


def test_publishing_again_changes_and_sends_nothing(published: Published, tmp_path: Path) -> None:
    repository = copy_of(published.repository, tmp_path / "again")
    objects = sorted(published.remote.rglob("*"))
    done = crossmodal(repository, "publish", f"results/{NAME}")  # the only remote is the default
    assert done.returncode == 0, done.stderr
    assert git(repository, "status", "--porcelain") == ""
    assert sorted(published.remote.rglob("*")) == objects


def test_files_that_trainings_open_in_place_are_not_published(published: Published) -> None:
    listing = objects_of(published.experiment / "models.dvc", published.remote)[0]
    names = {Path(entry["relpath"]).name for entry in json.loads(listing.read_text())}
    expected = ("plans.json", "MODEL_CARD.md", "manifest.json", "cost.json", "progress.csv", "checkpoint_final.pth")
    assert names == {*expected}


def test_a_card_says_what_was_trained_on_what_and_how_well_it_does(published: Published) -> None:
    card = (published.experiment / "model_cards" / "student_t1ce+flair_seed0.md").read_text()
    config = yaml.safe_load((published.experiment / "config.yaml").read_text())
    in_model = published.experiment / "models" / "student" / "t1ce+flair" / "seed0" / "MODEL_CARD.md"
    assert card == in_model.read_text()
    assert "0.500 (0.250 to 0.750)" in card
    assert "`phantom-a`" in card and "2 train, 2 test (4 patients)" in card
    assert "Licence: Apache-2.0" in card and "doi:10.1016/j.neuroimage.2010.07.033" in card
    assert "**Trained on simulated images.**" in card
    assert config["recipes"]["student"]["source"] in card
    assert "budget `smoke`" in card and "seed 0, fold 0" in card
    assert "e" * 64 in card and "d" * 64 in card  # weights and dataset
    assert "torch 2.13.0" in card
    assert len(list((published.experiment / "model_cards").iterdir())) == len(RUNS)
    metrics = json.loads((published.experiment / "metrics.json").read_text())
    assert metrics["phantom-a"]["student"]["t1ce+flair"]["WT"]["dice_mean"] == 0.5


def test_the_hash_of_the_split_follows_the_places_and_not_the_paths(published: Published, tmp_path: Path) -> None:
    cases = pd.read_csv(published.experiment / "cohort" / "cases.csv", dtype=str, keep_default_na=False)
    assert split_hash(cases) in (published.experiment / "model_cards" / "teacher_t1+t1ce+t2+flair_seed0.md").read_text()
    assert split_hash(cases.assign(t1="/elsewhere/t1.nii")) == split_hash(cases)
    assert split_hash(cases.assign(fold=cases["fold"].replace("0", "1"))) != split_hash(cases)


def test_an_unfinished_run_is_refused_with_its_jobs(finished: Path, tmp_path: Path) -> None:
    repository = copy_of(finished, tmp_path / "unfinished")
    for name in ("scores/phantom-a/student/t1ce+flair/seed0/fold_0.csv", "tables/per_case.csv"):
        (repository / "results" / NAME / name).unlink()
    done = crossmodal(repository, "publish", f"results/{NAME}", "--remote", tmp_path / "store")
    assert done.returncode == 1
    assert "collect_scores: results/small/tables/per_case.csv" in done.stderr
    assert "score_predictions: results/small/scores/phantom-a/student/" in done.stderr
    assert not list((repository / "results" / NAME).glob("*.dvc"))


def test_what_is_not_installed_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dvc, graph):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"DVC is not installed: pip install 'crossmodal\[publish\]'"):
        dvc.run(tmp_path, "status")
    with pytest.raises(UserError, match=r"Snakemake is not installed: pip install 'crossmodal\[workflow\]'"):
        Graph(tmp_path, {}).outputs()


def test_publishing_is_imported_without_snakemake_and_dvc() -> None:
    code = "import sys, crossmodal.publishing.publish, crossmodal.publishing.restore; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "crossmodal.publishing.cards" in loaded
    assert not {"snakemake", "dvc", "torch"} & set(loaded)


def test_a_card_of_any_subset_lists_all_that_were_scored(tmp_path: Path) -> None:
    rows = [{"method": "modality_dropout", "modalities": subset} for subset in ("t1", "t2")]
    rows.append({"method": "student", "modalities": "t1"})
    numbers = {"cohort": "a", "region": "WT", "n": 2, "dice_mean": 0.5, "dice_ci_low": 0.25, "dice_ci_high": 0.75}
    numbers |= {"hd95_mean_mm": 12.0, "hd95_median_mm": float("nan")}
    (tmp_path / "tables").mkdir()
    pd.DataFrame([row | numbers for row in rows]).to_csv(tmp_path / "tables" / "summary.csv", index=False)
    found = metrics_of(tmp_path, "modality_dropout", ALL, load("modality_dropout"))
    shown = [(row["modalities"], row["hd95"], row["hd95_median"]) for row in found]
    assert shown == [("t1", "12.0", "–"), ("t2", "12.0", "–")]
    assert metrics_of(tmp_path, "student", "t2", load("student")) == []


def test_wrong_names_are_answered_with_the_nearest_right_one(published: Published) -> None:
    for command, name, meant in (("publish", "smal", NAME), ("restore", "smal", NAME), ("restore", NAME, "record")):
        skip = ["--skip", "reccord"] if name == NAME else []
        done = crossmodal(published.repository, command, f"results/{name}", *skip)
        assert done.returncode == 1 and f"did you mean '{meant}'?" in done.stderr
