"""What Snakemake runs again: after a kill the rest, after a touch nothing, after a change exactly what follows from it.

One real run on four phantoms serves all tests here: killed while it trains, run to its end, then asked by dry runs.
The rules are copied, since files of them are changed; the recipes and the budget are files of the user's own.
"""

import csv
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
import pytest
import yaml

from crossmodal.data import METHODS
from crossmodal.train import state as states
from tests.conftest import REPOSITORY, TINY_BUDGET

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

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", TARGET, "--cores", "2", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"PATH": path}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, cwd=self.folder, env=self.environment, check=False
        )

    def would_run(self, *config: str) -> dict[str, int]:
        """Jobs of a dry run by rule, the target's own and the sum left out."""
        dry = self.run("-n", "--quiet", "rules", *(("--config", *config) if config else ()))
        assert dry.returncode == 0, dry.stdout + dry.stderr
        counts = re.findall(r"^(\w+)\s+(\d+)$", dry.stdout + dry.stderr, re.MULTILINE)
        return {rule: int(count) for rule, count in counts if rule not in ("total", "collect_scores")}

    @property
    def steps(self) -> list[dict[str, str]]:
        return list(csv.DictReader((self.results / STUDENT / "progress.csv").open(newline="")))


def set_up(folder: Path, phantoms: Path) -> Experiment:
    """Copy the rules and four phantoms, listed in a table with a name that a shell would misread."""
    shutil.copytree(REPOSITORY / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "profiles", folder / "profiles")
    shutil.copytree(REPOSITORY / "envs", folder / "envs")
    shutil.copy(REPOSITORY / "Snakefile", folder)
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
        row = {"case": name}
        for kind in ("t1", "t1ce", "t2", "flair", "seg"):
            row[kind] = f"{name}/{kind}.nii"
            shutil.copy(phantoms / case / f"{case}_{kind}.nii", folder / "hospital" / row[kind])
        rows.append(row | {"release": "brats2020"})
    with (folder / "hospital" / "cases.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "split.csv").write_text(
        "case,split,fold\n"
        + "".join(f"{row['case']},{'test,' if n == 0 else f'train,{n % 2}'}\n" for n, row in enumerate(rows))
    )
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
    with (experiment.folder / "first.log").open("w") as log:
        first = subprocess.Popen(
            experiment.command(), cwd=experiment.folder, env=experiment.environment, stdout=log, stderr=log
        )
        deadline = time.monotonic() + 240
        while not state.exists():
            assert first.poll() is None and time.monotonic() < deadline, (experiment.folder / "first.log").read_text()
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
    again = found.run()
    assert again.returncode == 0, again.stdout + again.stderr
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


@pytest.mark.slow
def test_a_killed_training_goes_on_and_a_strange_name_is_only_a_name(experiment: Experiment) -> None:
    assert experiment.killed_at > 0
    resumed = {int(row["resumed_from"]) for row in experiment.steps}
    assert resumed == {0, experiment.killed_at} or resumed == {experiment.killed_at}
    assert [int(row["epoch"]) for row in experiment.steps] == list(range(1, EPOCHS + 1))
    assert not (experiment.results / STUDENT / "state").exists()
    predictions = experiment.results / "predictions" / "brats" / "mine" / "t1ce+flair" / "seed0" / "fold_0"
    assert [path.name for path in predictions.glob("*.nii.gz")] == [f"{HOSTILE}.nii.gz"]
    assert not list(experiment.folder.rglob("x"))


@pytest.mark.slow
def test_what_jobs_asked_for_and_what_made_them_is_written_down(experiment: Experiment) -> None:
    rows = list(csv.DictReader((experiment.results / "tables" / "resources.csv").open(newline="")))
    trained = {row["method"]: row for row in rows if row["step"] == "train_network"}
    assert sorted(trained) == ["mine", "mine_teacher"]
    for row in trained.values():
        assert float(row["used_mem_mb"]) > 0 and 0 < float(row["used_min"]) < float(row["asked_min"])
        assert float(row["asked_mem_mb"]) >= 1000 * TINY_BUDGET["memory_gb"]
    versions = json.loads((experiment.results / "versions.json").read_text())
    assert versions["torch"] == version("torch"), "two runs with the same version name it once"


@pytest.mark.slow
def test_nothing_runs_again_when_times_move_or_comments_change(experiment: Experiment, changed) -> None:
    assert experiment.would_run() == NOTHING
    for top in ("hospital", "results", "workflow", "recipes", "config.yaml", "split.csv", "Snakefile", "logs"):
        for path in (experiment.folder / top, *sorted((experiment.folder / top).rglob("*"))):
            if ".snakemake" not in path.name and not path.is_symlink():
                os.utime(path)
    changed("recipes/mine.yaml", lambda text: b"# A comment.\n" + text.replace(b"title: ", b"title: New "))
    changed("workflow/rules/train.smk", lambda text: b"# A comment.\n" + text.replace(b"priority: 10", b"priority: 11"))
    assert experiment.would_run() == NOTHING


@pytest.mark.slow
def test_a_changed_recipe_trains_what_follows_from_it(experiment: Experiment, changed) -> None:
    changed("recipes/mine.yaml", lambda text: text.replace(b"weight: 0.9", b"weight: 0.8"))
    assert experiment.would_run() == {"train_network": 1, "predict_cases": 1, "score_predictions": 1}
    changed("recipes/mine_teacher.yaml", lambda text: text + b"seg_loss: cross_entropy\n")
    assert experiment.would_run() == {"train_network": 2, "predict_cases": 1, "score_predictions": 1}


@pytest.mark.slow
def test_another_seed_trains_its_own_networks(experiment: Experiment) -> None:
    assert experiment.would_run("seeds=[0,1]") == {"train_network": 2, "predict_cases": 1, "score_predictions": 1}
    # Another subset has a student of its own, and shares the teacher.
    another = experiment.would_run("subsets=[t1ce+flair,t2]")
    assert another == {"train_network": 1, "predict_cases": 1, "score_predictions": 1}


@pytest.mark.slow
def test_changed_data_are_checked_and_all_that_was_made_from_them_is_made_again(
    experiment: Experiment, changed
) -> None:
    def louder(content: bytes) -> bytes:
        image = nib.Nifti1Image.from_bytes(content)
        return nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine, image.header).to_bytes()

    changed("hospital/patient 1/t2.nii", louder)
    assert experiment.would_run() == WHOLE
