"""Dry runs of the real workflow: every method and budget, job counts, messages, wrong configs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from crossmodal.data import BUDGETS
from crossmodal.experiment import recipe as recipes
from tests.conftest import PAPERS, REPOSITORY

METHODS = [name for name in recipes.known_methods() if not recipes.load(name).uses_ground_truth]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on this repository's workflow, with `folder` as the place for results."""
    (folder / "config.yaml").write_text((REPOSITORY / "config.yaml").read_text())
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "2", "--nolock", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)


def jobs(folder: Path, *config: str, paper: Path | None = None) -> dict[str, int]:
    """Number of jobs of each rule in a dry run."""
    configfile = ["--configfile", str(paper)] if paper else []
    run = snakemake(folder, "-n", "--quiet", "rules", *configfile, "--config", *config)
    assert run.returncode == 0, run.stdout + run.stderr
    return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", run.stdout + run.stderr, re.MULTILINE)}


@pytest.mark.parametrize("budget", sorted(path.stem for path in BUDGETS.glob("*.yaml")))
def test_every_method_on_three_subsets(budget: str, tmp_path: Path) -> None:
    counts = jobs(tmp_path, f"methods={','.join(METHODS)}", "subsets=t1,t1ce+flair,t1+t2+flair", f"budget={budget}")
    given = len(METHODS) - 3  # teacher and the two any-subset methods are trained once
    oracles = 3 + 1  # dong2025's teacher on each subset, dong2025_crossmodal's on all four
    assert counts["train_network"] == 3 * given + 3 + oracles
    assert counts["predict_cases"] == 3 * (len(METHODS) - 1) + 1
    assert counts["preprocess_dataset"] == 1


def test_all_15_subsets_share_one_dataset_and_one_teacher(tmp_path: Path) -> None:
    counts = jobs(tmp_path, "methods=hinton2015,rahimpour2022", "subsets=every", "seeds=0,1", "folds=0,1")
    assert counts["train_network"] == (15 * 2 + 1) * 2 * 2
    assert counts["preprocess_dataset"] == 1
    one = jobs(tmp_path, "methods=dong2025", "subsets=every")
    assert one["train_network"] == 15 + 15


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.stem)
def test_every_paper_is_one_command(paper: Path, tmp_path: Path) -> None:
    counts = jobs(tmp_path, "budget=smoke", paper=paper)
    assert counts["train_network"] >= 15
    assert counts["write_report"] == 1


def test_the_graph_reads_well_and_the_demo_trains_three_networks(tmp_path: Path) -> None:
    run = snakemake(tmp_path, "-n")
    assert "wildcards: method=choi2023, modalities=t1ce+flair, seed=0, fold=0" in run.stdout + run.stderr
    assert re.search(r"train_network\s+3\n", run.stdout + run.stderr)


def test_a_wrong_config_has_no_traceback(tmp_path: Path) -> None:
    run = snakemake(tmp_path, "-n", "--config", "metods=student")
    assert run.returncode != 0
    assert "did you mean 'methods'?" in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
