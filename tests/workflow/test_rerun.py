"""What Snakemake runs again: after a kill the rest, after a touch nothing, after a change exactly what follows from it.

One real run on four phantoms serves all tests here: killed while it trains, run to its end, then asked by dry runs.
The rules are copied, since files of them are changed; the recipes and the budget are files of the user's own.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from crossmodal.data import METHODS
from crossmodal.train import state as states
from tests.conftest import TINY_BUDGET, copy_workflow

pytestmark = pytest.mark.slow

TARGET = "results/r/tables/per_case.csv"
HOSTILE = "a;touch x"  # a strange name for a case, and no more than that
STUDENT = "models/mine/t1ce+flair/seed0/fold_0"
EPOCHS = 40  # of 3 steps: some seconds, enough to be killed in
NOTHING: dict[str, int] = {}
WHOLE = {"check_cohort": 1, "preprocess_dataset": 1, "train_network": 2, "predict_cases": 1, "score_predictions": 1}


@dataclass
class Experiment:
    """A copy of the rules, with data, recipes and results."""

    folder: Path
    killed_at: int = 0  # step of the state that the kill left

    @property
    def results(self) -> Path:
        return self.folder / "results" / "r"

    def start(self, *arguments: str) -> subprocess.Popen:
        """Snakemake; what it prints goes to a file."""
        command = [sys.executable, "-m", "snakemake", TARGET, "--cores", "2", *arguments]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self.folder / "printed.log").open("w") as log:
            return subprocess.Popen(command, cwd=self.folder, env=os.environ | {"PATH": path}, stdout=log, stderr=log)

    @property
    def printed(self) -> str:
        return (self.folder / "printed.log").read_text()

    def would_run(self, *config: str) -> dict[str, int]:
        """Jobs of a dry run by rule, the target's own and the sum left out."""
        dry = self.start("-n", "--quiet", "rules", *(("--config", *config) if config else ()))
        assert dry.wait() == 0, self.printed
        counts = re.findall(r"^(\w+)\s+(\d+)$", self.printed, re.MULTILINE)
        return {rule: int(count) for rule, count in counts if rule not in ("total", "collect_scores")}


def set_up(folder: Path, phantoms: Path) -> Experiment:
    """Copy the rules and four phantoms, listed in a table with a name that a shell would misread."""
    copy_workflow(folder)
    budget = TINY_BUDGET | {"title": "tests", "epochs": EPOCHS, "steps_per_epoch": 3, "save_every_minutes": 1e-4}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(budget))
    (folder / "recipes").mkdir()
    for name, library, teacher in (("mine", "hinton2015", "mine_teacher"), ("mine_teacher", "teacher", "teacher")):
        text = (METHODS / f"{library}.yaml").read_text().replace("method: teacher", f"method: {teacher}")
        (folder / "recipes" / f"{name}.yaml").write_text(text)
    rows = []
    for number, case in enumerate(sorted(path.name for path in phantoms.iterdir())[:4]):
        name = HOSTILE if number == 0 else f"patient {number}"
        (folder / "hospital" / name).mkdir(parents=True)
        files = {kind: f"{name}/{kind}.nii" for kind in ("t1", "t1ce", "t2", "flair", "seg")}
        for kind, file in files.items():
            shutil.copy(phantoms / case / f"{case}_{kind}.nii", folder / "hospital" / file)
        split = {"split": "train", "fold": str(number % 2)} if number else {"split": "test"}
        rows.append({"case": name, **files, "release": "brats2020", **split})
    table = pd.DataFrame(rows)
    table.drop(columns=["split", "fold"]).to_csv(folder / "hospital" / "cases.csv", index=False)
    table[["case", "split", "fold"]].to_csv(folder / "split.csv", index=False)
    config = {
        "experiment": "r",
        "brats": "hospital/cases.csv",
        "split": {"file": "split.csv", "folds": 2},
        "methods": ["mine"],  # and the teacher that it needs, which is trained and never scored
        "methods_folder": "recipes",
        "budget": "tiny.yaml",
        "device": "cpu",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return Experiment(folder)


def kill_a_training(experiment: Experiment) -> None:
    """Run the workflow until the student has a second state, kill that training, and wait for Snakemake to fail."""
    state = experiment.results / STUDENT / "state" / states.BEFORE
    holder = experiment.results / STUDENT / ".lock-holder"
    first, deadline = experiment.start(), time.monotonic() + 240
    while not state.exists():
        assert first.poll() is None and time.monotonic() < deadline, experiment.printed
        time.sleep(0.02)
    os.kill(int(holder.read_text().split()[1]), signal.SIGKILL)
    assert first.wait(120) == 1
    found, _ = states.load_state(state.parent)
    experiment.killed_at = 3 * found["epoch"] + found["step_in_epoch"]


@pytest.fixture(scope="module")
def experiment(tiny_cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The run: killed in the student's training, then the same command again."""
    found = set_up(tmp_path_factory.mktemp("rerun"), tiny_cases.parent / "phantoms")
    kill_a_training(found)
    assert found.start().wait() == 0, found.printed
    return found


@pytest.fixture
def changed(experiment: Experiment):
    """A function that changes a file for one test."""
    kept: dict[Path, tuple[bytes, int]] = {}

    def change(name: str, how: Callable[[bytes], bytes]) -> None:
        path = experiment.folder / name
        kept[path] = path.read_bytes(), path.stat().st_mtime_ns
        path.write_bytes(how(kept[path][0]))

    yield change
    for path, (content, time_ns) in kept.items():
        path.write_bytes(content)
        os.utime(path, ns=(time_ns, time_ns))


def test_a_killed_training_goes_on_and_a_strange_name_is_only_a_name(experiment: Experiment) -> None:
    assert experiment.killed_at > 0
    steps = pd.read_csv(experiment.results / STUDENT / "progress.csv")
    assert set(steps["resumed_from"]) - {0} == {experiment.killed_at}
    assert list(steps["epoch"]) == list(range(1, EPOCHS + 1))
    assert not (experiment.results / STUDENT / "state").exists()
    predictions = experiment.results / "predictions" / "brats" / "mine" / "t1ce+flair" / "seed0" / "fold_0"
    assert [path.name for path in predictions.glob("*.nii.gz")] == [f"{HOSTILE}.nii.gz"]
    assert not list(experiment.folder.rglob("x"))


def test_what_jobs_asked_for_and_what_made_them_is_written_down(experiment: Experiment) -> None:
    rows = pd.read_csv(experiment.results / "tables" / "resources.csv")
    trained = rows[rows["step"] == "train_network"]
    assert set(trained["method"]) == {"mine", "mine_teacher"}
    assert (trained[["used_mem_mb", "used_min"]] > 0).all(axis=None)
    assert (trained["used_min"] < trained["asked_min"]).all()
    assert (trained["asked_mem_mb"] >= 1000 * TINY_BUDGET["memory_gb"]).all()
    versions = json.loads((experiment.results / "versions.json").read_text())
    assert versions["torch"] == version("torch"), "two runs with the same version name it once"


def test_nothing_runs_again_when_times_move_or_comments_change(experiment: Experiment, changed) -> None:
    assert experiment.would_run() == NOTHING
    for top in ("hospital", "results", "workflow", "recipes", "config.yaml", "split.csv", "Snakefile", "logs"):
        for path in (experiment.folder / top, *sorted((experiment.folder / top).rglob("*"))):
            if ".snakemake" not in path.name and not path.is_symlink():
                os.utime(path)
    changed("recipes/mine.yaml", lambda text: b"# A comment.\n" + text.replace(b"title: ", b"title: New "))
    changed("workflow/rules/train.smk", lambda text: b"# A comment.\n" + text.replace(b"priority: 10", b"priority: 11"))
    assert experiment.would_run() == NOTHING


def test_a_changed_recipe_trains_what_follows_from_it(experiment: Experiment, changed) -> None:
    changed("recipes/mine.yaml", lambda text: text.replace(b"weight: 0.9", b"weight: 0.8"))
    assert experiment.would_run() == {"train_network": 1, "predict_cases": 1, "score_predictions": 1}
    changed("recipes/mine_teacher.yaml", lambda text: text + b"seg_loss: cross_entropy\n")
    assert experiment.would_run() == {"train_network": 2, "predict_cases": 1, "score_predictions": 1}


def test_another_seed_trains_its_own_networks(experiment: Experiment) -> None:
    assert experiment.would_run("seeds=[0,1]") == {"train_network": 2, "predict_cases": 1, "score_predictions": 1}
    # Another subset has a student of its own, and shares the teacher.
    another = experiment.would_run("subsets=[t1ce+flair,t2]")
    assert another == {"train_network": 1, "predict_cases": 1, "score_predictions": 1}


def test_changed_data_are_checked_and_all_that_was_made_from_them_is_made_again(
    experiment: Experiment, changed
) -> None:
    def louder(content: bytes) -> bytes:
        image = nib.Nifti1Image.from_bytes(content)
        return nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine, image.header).to_bytes()

    changed("hospital/patient 1/t2.nii", louder)
    assert experiment.would_run() == WHOLE
