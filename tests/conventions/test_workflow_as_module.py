"""The workflow as others use it: as a module of their own Snakefile, and as Snakemake's catalog wants it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import REPOSITORY

OTHER = """
module crossmodal:
    snakefile: {snakefile!r}
    config: config["crossmodal"]

use rule * from crossmodal as crossmodal_*

rule all:
    default_target: True
    input: rules.crossmodal_all.input, "own.txt"

rule own:
    output: "own.txt"
    shell: "touch {{output}}"
"""
CONFIG = {"crossmodal": {"experiment": "mine", "phantom": {"cases": 8, "spacing": 6, "folder": "data"}}}


def snakemake(folder: Path, *arguments: str) -> str:
    """What Snakemake prints when it is run on another workflow that uses this one as a module."""
    (folder / "Snakefile").write_text(OTHER.format(snakefile=str(REPOSITORY / "workflow" / "Snakefile")))
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "1", "--configfile", "config.yaml"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_a_dry_run_of_another_workflow_has_all_our_steps(tmp_path: Path) -> None:
    printed = snakemake(tmp_path, "-n", "--quiet", "rules")
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", printed, re.MULTILINE))
    assert counts["crossmodal_train_network"] == counts["crossmodal_predict_cases"] == "3"
    assert counts["crossmodal_write_report"] == counts["own"] == "1"
    assert "localrules" not in printed
    assert not (tmp_path / "results").exists()


def test_a_run_of_another_workflow_writes_our_config_for_the_tables(tmp_path: Path) -> None:
    snakemake(tmp_path, "own.txt")
    written = yaml.safe_load((tmp_path / "results" / "mine" / "config.yaml").read_text())
    assert written["phantom"]["cases"] == 8 and "budget" in written
    assert (tmp_path / "results" / "mine" / "versions.json").exists()


def test_the_catalog_finds_what_it_asks_for() -> None:
    usage = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage["software-stack-deployment"]) == {"conda", "apptainer", "apptainer+conda"}
    for name in ("workflow/Snakefile", "config/README.md"):
        assert (REPOSITORY / name).is_file()
    # Its generated Snakefile reads this path; a copy of the folder holds the file itself.
    assert (REPOSITORY / "config" / "config.yaml").resolve() == REPOSITORY / "config.yaml"
    readme = (REPOSITORY / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
