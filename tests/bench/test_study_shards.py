"""The committed results of the reference study are those of its protocol, and of one experiment."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import study
import study_barlow
from study_controls import INTO

from crossmodal.errors import UserError
from crossmodal.evaluate import shards
from crossmodal.experiment.config import resolve
from crossmodal.experiment.recorded import FIXED, without_words
from tests.conftest import REPOSITORY

COMMITTED = sorted((REPOSITORY / INTO / shards.SHARDS).iterdir())
TEST_PATIENTS, REGIONS = {"phantom-a": 60, "phantom-b": 60}, {"WT", "TC", "ET"}


def about(folder: Path) -> dict:
    return json.loads((folder / shards.ABOUT).read_text())


@pytest.fixture
def study_copy(tmp_path: Path) -> Path:
    """The committed shards, where they can be merged and broken."""
    shutil.copytree(REPOSITORY / INTO / shards.SHARDS, tmp_path / shards.SHARDS)
    return tmp_path


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_a_shard_is_of_the_config_that_the_study_has_today(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    seed, numbers = re.fullmatch(r"seed(\d)-([\d+]+)", folder.name).groups()
    config = study.part_config(int(seed), *map(int, numbers.split("+")))
    wanted = without_words(json.loads(json.dumps(resolve(config, check_paths=False).plain())))
    found = without_words(about(folder)["config"])
    for key in (*FIXED, "methods", "subsets", "seeds", "recipes"):
        assert found[key] == wanted[key], key


def test_the_shards_of_the_ablation_are_of_its_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(study_barlow, "REPOSITORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    for folder in (REPOSITORY / study_barlow.INTO / shards.SHARDS).iterdir():
        found = without_words(about(folder)["config"])
        config = study_barlow.config_of(found["seeds"][0], found["methods"])
        wanted = without_words(json.loads(json.dumps(resolve(config).plain())))
        for key in (*FIXED, "methods", "subsets", "recipes"):
            assert found[key] == wanted[key], (folder.name, key)
    shutil.copytree(REPOSITORY / study_barlow.INTO / shards.SHARDS, tmp_path / shards.SHARDS)
    assert shards.merge(tmp_path) == []


def test_the_shards_are_of_one_experiment_and_complete(study_copy: Path) -> None:
    assert shards.merge(study_copy) == []
    per_case = pd.read_csv(study_copy / "tables" / "per_case.csv")
    assert set(per_case["split"]) == {"test", "external"}
    counts = per_case.groupby(shards.OF_PREDICTION).agg({"case": "nunique", "region": set})
    assert (counts["case"] == counts.index.get_level_values("cohort").map(TEST_PATIENTS)).all()
    assert (counts["region"] == REGIONS).all()


@pytest.mark.parametrize("key", ["versions", "dataset_sha256", "scored_cases_sha256", "budget"])
def test_a_shard_of_other_software_data_or_config_is_refused(study_copy: Path, key: str) -> None:
    other = study_copy / shards.SHARDS / COMMITTED[-1].name
    changed = about(other)
    if key == "budget":
        changed["config"]["budget_settings"]["epochs"] += 1
    else:
        changed[key] = changed[key] | {"torch": "0"} if key == "versions" else "0"
    (other / shards.ABOUT).write_text(json.dumps(changed))
    with pytest.raises(UserError, match="cannot stand beside"):
        shards.merge(study_copy)
