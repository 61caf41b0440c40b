"""`students` in the config: fewer jobs, the same networks, and nothing is trained twice when it changes."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crossmodal.cost.estimate import hours_by_method, wall_hours
from crossmodal.cost.step_times import StepTime, together
from crossmodal.errors import UserError
from crossmodal.experiment.config import Resolved, resolve
from crossmodal.experiment.runs import students_of_jobs, training_jobs, trainings
from tests.conftest import TINY_BUDGET, copy_workflow

METHODS = ["teacher", "student", "hinton2015", "dong2025"]
MODELS = "results/t/models"


def config(**changes) -> Resolved:
    given = {"methods": METHODS, "subsets": ["t1", "t2", "t1+t2"], "budget": "smoke", "seeds": [0, 1]}
    return resolve(given | changes)


@pytest.mark.parametrize(("students", "sizes"), [("separate", [1, 1, 1]), ("together", [3]), (2, [2, 1]), (1, [1] * 3)])
def test_students_of_a_method_are_divided_into_jobs(students, sizes: list[int]) -> None:
    found = students_of_jobs(config(students=students))
    for method in ("student", "hinton2015", "dong2025", "dong2025_teacher"):
        assert [len(job) for job in found[method]] == sizes
        assert sorted(itertools.chain(*found[method])) == ["t1", "t1+t2", "t2"]
    assert found["teacher"] == [["t1+t1ce+t2+flair"]]


def test_each_training_is_in_one_job_and_teachers_come_first() -> None:
    experiment = config(students="together")
    jobs = training_jobs(experiment)
    assert sorted(training for job in jobs for training in job) == sorted(trainings(experiment))
    before: set = set()
    for job, teachers in jobs.items():
        assert teachers <= before
        before |= set(job)
        assert len({(training.method, training.seed, training.fold) for training in job}) == 1


@pytest.mark.parametrize("value", ["all", 0, -1, "2.5"])
def test_another_value_is_refused(value) -> None:
    with pytest.raises(UserError, match="students"):
        config(students=value)


def test_the_estimate_counts_what_is_shared() -> None:
    known = [StepTime(None, kind, "a GPU", (1.0, 1.0, 1.0), "a test") for kind in ("alone", "frozen")]
    hours = {}
    for students in ("separate", "together"):
        experiment = config(students=students, methods=["teacher", "student", "hinton2015"], seeds=[0])
        estimates = hours_by_method(experiment, known)
        hours[students] = {one.method: one.hours[1] for one in estimates}
        # On one GPU the wall time is the sum; on many, the teacher's and then its students' job, which is one.
        assert wall_hours(experiment, estimates, 1)[1] == pytest.approx(sum(hours[students].values()))
        longest = hours[students]["hinton2015"] / (3 if students == "separate" else 1)
        assert wall_hours(experiment, estimates, 9)[1] == pytest.approx(hours[students]["teacher"] + longest)
    assert hours["together"]["student"] == pytest.approx(hours["separate"]["student"])
    ratio = hours["together"]["hinton2015"] / hours["separate"]["hinton2015"]
    assert ratio == pytest.approx((3 + 1 / 3) / 4) == pytest.approx(together("frozen", 3))


def test_teachers_of_each_subset_are_found_by_the_subset(tmp_path: Path) -> None:
    copy_workflow(tmp_path)
    given = {"experiment": "t", "methods": ["dong2025", "hinton2015"], "subsets": ["t1", "t2"], "students": "together"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(given | {"budget": "smoke"}))
    command = [sys.executable, "-m", "snakemake", "-n", "-p"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    commands = [line for line in printed.splitlines() if "crossmodal train" in line and "--modalities t1,t2" in line]
    assert len(commands) == 3  # both methods, and dong2025's teacher
    for method, teacher in (("dong2025", "dong2025_teacher/{modalities}"), ("hinton2015", "teacher/t1+t1ce+t2+flair")):
        of_method = next(line for line in commands if f"--method {method} " in line)
        assert (
            f"--teacher '{MODELS}/{teacher}/seed0'" in of_method or f"--teacher {MODELS}/{teacher}/seed0" in of_method
        )
        assert f"--out '{MODELS}/{method}/{{modalities}}/seed0'" in of_method


@pytest.mark.slow
def test_the_same_networks_from_fewer_jobs_and_none_is_trained_twice(tiny_cases: Path, tmp_path: Path) -> None:
    copy_workflow(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY_BUDGET))

    def run(students, subsets: str) -> dict[str, str]:
        """Train by the workflow; the hash of each network's weights."""
        experiment = {
            "experiment": "t",
            "brats": str(tiny_cases.parent / "phantoms"),
            "split": {"folds": 2, "test_fraction": 0.2},
            "methods": ["student"],
            "subsets": subsets.split(","),
            "students": students,
            "budget": "tiny.yaml",
            "device": "cpu",
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(experiment))
        targets = [f"{MODELS}/student/{subset}/seed0/fold_0/manifest.json" for subset in subsets.split(",")]
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *targets]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        manifests = sorted((tmp_path / MODELS).glob("*/*/seed0/fold_0/manifest.json"))
        return {
            str(path.relative_to(tmp_path / MODELS)): json.loads(path.read_text())["weights_sha256"]
            for path in manifests
        }

    def written() -> dict[str, int]:
        checkpoints = (tmp_path / MODELS).rglob("progress.csv")  # written by a training, and not touched by Snakemake
        return {str(path): path.stat().st_mtime_ns for path in checkpoints}

    together_first = run("together", "t1,t2")
    times = written()
    assert len(together_first) == 2
    more = run("together", "t1,t2,t1ce")
    assert {name: more[name] for name in together_first} == together_first and len(more) == 3
    assert {name: time for name, time in written().items() if name in times} == times
    times = written()
    assert run("separate", "t1,t2,t1ce") == more
    assert written() == times
    for file in ("manifest.json", "checkpoint_final.pth"):
        (tmp_path / MODELS / "student" / "t2" / "seed0" / "fold_0" / file).unlink()
    assert run("separate", "t1,t2,t1ce") == more  # trained by itself: the same bits
    assert sum(time != times[name] for name, time in written().items()) == 1
