"""An experiment in several runs: the merged shards are the tables of one run, and shards of others are refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from crossmodal.errors import UserError
from crossmodal.evaluate.shards import CONTROLS, merge, save
from crossmodal.experiment.recipe import load
from tests.conftest import TINY_BUDGET, copy_workflow

CONFIG = {
    "experiment": "t",
    "phantom": {"cases": 6, "spacing": 6, "seed": 1},
    "split": {"folds": 2, "test_fraction": 0.34},
    "methods": ["student"],
    "subsets": ["t1"],
    "budget": "tiny.yaml",
}


def snakemake(folder: Path, seeds: str, *targets: str) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "t.yaml", "--quiet", "all"]
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, "--config", f"seeds={seeds}", "--", *targets], cwd=folder, env=os.environ | path, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of seed 1, kept as a shard; then one of seed 0; then the tables of both, without another training."""
    folder = tmp_path_factory.mktemp("runs")
    copy_workflow(folder)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY_BUDGET))
    (folder / "t.yaml").write_text(yaml.safe_dump(CONFIG))
    targets = ["results/t/tables/per_case.csv", "results/t/figure_data/curves.csv"]
    for seed in ("1", "0"):
        snakemake(folder, seed, *targets)
        save(folder / "results/t", folder / "results/whole", f"seed{seed}")
    trained = {path: path.stat().st_mtime_ns for path in folder.glob("results/t/models/**/checkpoint_final.pth")}
    assert len(trained) == 2
    snakemake(folder, "0,1", *targets)
    assert trained == {path: path.stat().st_mtime_ns for path in trained}, "trained again"
    return folder / "results"


def test_merged_shards_are_the_tables_of_one_run(runs: Path) -> None:
    assert merge(runs / "whole") == []
    for name in ("tables/per_case.csv", "figure_data/curves.csv", "versions.json", "tables/cost.csv"):
        assert (runs / "whole" / name).read_text() == (runs / "t" / name).read_text(), name
    for folder in ("figure_data", "tables"):
        kept = {path.name for path in (runs / "whole" / folder).iterdir()}
        assert kept >= {path.name for path in (runs / "t" / folder).iterdir() if path.suffix == ".npz"}
    configs = [yaml.safe_load((runs / name / "config.yaml").read_text()) for name in ("whole", "t")]
    assert configs[0] == configs[1] | {"experiment": "whole"} and configs[0]["seeds"] == [0, 1]


def test_networks_of_no_recipe_are_methods_of_the_table(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "whole" / "shards", tmp_path / "shards")
    merge(tmp_path)
    table = pd.read_csv(tmp_path / "tables/per_case.csv", dtype=str, keep_default_na=False)
    control = table.assign(method="more_steps")
    (tmp_path / CONTROLS).mkdir()
    control.to_csv(tmp_path / CONTROLS / "seed0.csv.gz", index=False)
    for _ in range(2):  # a second time adds nothing
        assert merge(tmp_path) == []
        again = pd.read_csv(tmp_path / "tables/per_case.csv", dtype=str, keep_default_na=False)
        assert again.equals(pd.concat([table, control], ignore_index=True))
    table.to_csv(tmp_path / CONTROLS / "seed1.csv.gz", index=False)
    with pytest.raises(UserError, match=r"seed1\.csv\.gz: has scores of student"):
        merge(tmp_path)


def test_a_shard_is_the_same_bytes_again(runs: Path, tmp_path: Path) -> None:
    folder = save(runs / "t", tmp_path, "both")
    first = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {
        path.name: path.read_bytes() for path in save(runs / "t", tmp_path, "both").iterdir() if path.is_file()
    } == first
    assert len(first["shard.json"]) + len(first["per_case.csv.gz"]) < 40_000


def change(path: Path, **values) -> None:
    about = json.loads(path.read_text())
    for key, value in values.items():
        *way, last = key.split("__")
        place = about
        for name in way:
            place = place[name]
        place[last] = value
    path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"versions__torch": "1.0"}, 'versions.torch: "1.0" there'),
        ({"dataset_sha256": "0"}, "dataset_sha256"),
        ({"scored_cases_sha256": "0"}, "scored_cases_sha256"),
        ({"config__any_subsets": ["t1"]}, "config.any_subsets"),
        ({"config__budget_settings__epochs": 9}, "config.budget_settings.epochs: 9 there"),
        ({"config__recipes__student__seg_weight": 2}, "recipes.student.seg_weight: 2 there"),
    ],
)
def test_shards_of_another_experiment_are_refused(runs: Path, tmp_path: Path, values: dict, message: str) -> None:
    shutil.copytree(runs / "whole/shards", tmp_path / "shards")
    change(tmp_path / "shards/seed0/shard.json", **values)
    with pytest.raises(UserError, match=message.split(":")[0]) as error:
        merge(tmp_path)
    assert message in str(error.value) and "seed0" in str(error.value) and "seed1" in str(error.value)
    assert not (tmp_path / "tables").exists()


def test_what_is_missing_or_there_twice_is_named(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no shard"):
        merge(tmp_path)
    shutil.copytree(runs / "whole/shards/seed0", tmp_path / "shards/seed0")
    with pytest.raises(UserError, match=r"student/t1/seed0/fold_0 is in .*seed0 too"):
        save(runs / "t", tmp_path, "again")
    assert not (tmp_path / "shards/again").exists()
    change(tmp_path / "shards/seed0/shard.json", config__seeds=[0, 7])
    assert merge(tmp_path)[0] == "phantom-a/student/t1/7/0 is missing: not scored"
    assert "missing: not scored" in (tmp_path / "tables/notes.csv").read_text()
    (tmp_path / "shards/seed0/per_case.csv.gz").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"per_case\.csv\.gz: cannot be read"):
        merge(tmp_path)


def test_a_teacher_may_be_trained_in_several_shards(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "whole/shards", tmp_path / "shards")
    name = "teacher/t1+t1ce+t2+flair/seed1/fold_0"
    for number, seed in enumerate(("seed0", "seed1")):
        folder = tmp_path / "shards" / seed
        about = json.loads((folder / "shard.json").read_text())
        (of_student,) = about["trainings"].values()
        cost = of_student["cost"] | {"method": "teacher", "train_s": 100.0 + number}
        about["trainings"][name] = of_student | {"cost": cost, "weights_sha256": str(number)}
        (folder / "shard.json").write_text(json.dumps(about))
        curves = pd.read_csv(folder / "curves.csv.gz", dtype=str)
        of_teacher = curves.assign(method="teacher", modalities="t1+t1ce+t2+flair", seed="1", loss=str(number))
        pd.concat([curves, of_teacher]).to_csv(folder / "curves.csv.gz", index=False)

    def merged() -> tuple[set[float], int, float]:
        assert merge(tmp_path) == []
        curves = pd.read_csv(tmp_path / "figure_data/curves.csv")
        costs = pd.read_csv(tmp_path / "tables/cost.csv").set_index("method")
        teacher = curves[curves["method"] == "teacher"]
        return set(teacher["loss"]), len(teacher), costs.loc["teacher", "train_s"]

    loss, rows, seconds = merged()
    assert (loss, seconds) == ({0.0}, 100.0) and rows > 0
    # The shard that scores it is asked, wherever it stands; one that scores it too is refused.
    scored = {"config__methods": ["teacher", "student"], "config__recipes__teacher": load("teacher").plain()}
    change(tmp_path / "shards/seed1/shard.json", **scored)
    assert merge(tmp_path)[0].startswith("phantom-a/teacher")
    assert set(pd.read_csv(tmp_path / "figure_data/curves.csv").query("method == 'teacher'")["loss"]) == {1.0}
    change(tmp_path / "shards/seed0/shard.json", **scored)
    with pytest.raises(UserError, match=r"teacher/.*/seed1/fold_0 is in .*seed0 too"):
        merge(tmp_path)


def test_a_run_that_is_not_finished_is_no_shard(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "t", tmp_path / "t")
    shutil.rmtree(tmp_path / "t/models/student/t1/seed0")
    with pytest.raises(UserError, match="holds 1 of 2 trainings: finish the run first"):
        save(tmp_path / "t", tmp_path / "whole", "both")
    table = pd.read_csv(tmp_path / "t/tables/per_case.csv")
    table[table["seed"] != 1].to_csv(tmp_path / "t/tables/per_case.csv", index=False)
    with pytest.raises(UserError, match=r"phantom-a/student/t1/1/0 is missing: not scored \(1 in all\)"):
        save(tmp_path / "t", tmp_path / "whole", "both")
