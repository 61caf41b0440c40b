"""Snakemake's own view of an experiment: which files are its outputs, and which of them it would make again."""

import csv
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crossmodal.errors import UserError
from crossmodal.files import write_yaml


@dataclass(frozen=True)
class Output:
    """An output of a rule: its path from `root`, whether it is there, and whether Snakemake would make it again."""

    path: str
    rule: str
    there: bool
    due: bool


class Graph:
    """The job graph of one experiment.

    Args:
        root: the folder of the Snakefile.
        config: the config that was given for the experiment (not the resolved one).
    """

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self.root, self.config = root, config

    def outputs(self) -> list[Output]:
        """Every output of the graph, whether or not it is there."""
        rows = csv.DictReader(self._snakemake("--summary").splitlines(), delimiter="\t")
        return [Output(row["output_file"], row["rule"], row["date"] != "-", row["plan"] != "no update") for row in rows]

    def mark_fresh(self, files: list[str]) -> None:
        """Make these outputs newer than their inputs and record what made them, without running anything."""
        # Hooks would write this machine's versions over those of the run.
        self._snakemake("--touch", "--force", "--no-hooks", "--cores", "1", *files)

    def _snakemake(self, *arguments: str) -> str:
        if find_spec("snakemake") is None:
            raise UserError("Snakemake is not installed: pip install 'crossmodal[workflow]'")
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "config.yaml")
            write_yaml(config, self.config)
            command = [sys.executable, "-m", "snakemake", "--nocolor", "--configfile", str(config), *arguments]
            done = subprocess.run(command, cwd=self.root, capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise UserError("snakemake cannot read this experiment:\n" + "\n".join(f"  {line}" for line in lines[-12:]))
        return done.stdout
