"""`init_from` in the workflow: a source that moves trains nothing again, and one that changes trains anew."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import TINY_BUDGET, copy_workflow
from tests.train.trainings import trained

MANIFEST = "results/f/models/student/t1ce/seed0/fold_0/manifest.json"


@pytest.mark.slow
def test_what_is_trained_again_follows_from_the_source_s_weights(
    tiny_cases: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    copy_workflow(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY_BUDGET))
    source = tmp_path / "earlier" / "student"
    first = trained("student", "t1ce", tiny_dataset, source)

    def snakemake(*arguments: str, init_from: str) -> subprocess.CompletedProcess:
        experiment = {
            "experiment": "f",
            "brats": str(tiny_cases.parent / "phantoms"),
            "split": {"folds": 2, "test_fraction": 0.2},
            "methods": ["student"],
            "subsets": ["t1ce"],
            "overrides": {"student": {"init_from": init_from}},
            "budget": "tiny.yaml",
            "device": "cpu",
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(experiment))
        command = [sys.executable, "-m", "snakemake", MANIFEST, "--cores", "2", *arguments]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    def would_train(init_from: str) -> bool:
        dry = snakemake("-n", "--quiet", "rules", init_from=init_from)
        assert dry.returncode == 0, dry.stdout + dry.stderr
        return re.search(r"^train_network\s+1$", dry.stdout + dry.stderr, re.MULTILINE) is not None

    missing = snakemake("-n", init_from="nowhere")
    assert missing.returncode == 1 and "method 'student': init_from: nowhere: there is no trained" in missing.stdout
    done = snakemake(init_from="earlier/student")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / MANIFEST).read_text())["init_sha256"] == first["weights_sha256"]
    assert not would_train("earlier/student")
    source.rename(tmp_path / "moved")
    assert not would_train("moved")
    assert not would_train("earlier/student"), "a source that is gone was the one that the network knows"
    shutil.rmtree(tmp_path / "moved")
    trained("student", "t1ce", tiny_dataset, tmp_path / "moved", seed=1)
    assert would_train("moved")
    done = snakemake(init_from="moved")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / MANIFEST).read_text())["init_sha256"] != first["weights_sha256"]
