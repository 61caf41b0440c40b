"""Snakemake's own view of an experiment: which files are its outputs, which jobs are due, which files are fresh."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crossmodal.errors import UserError
from crossmodal.files import write_yaml

# As Snakemake words it in its release 9.
NOTHING_TO_DO = "Nothing to be done"


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

    def __init__(self, root: Path, config: dict):
        self.root, self.config = root, config

    def jobs_due(self) -> str:
        """Snakemake's table of the jobs that it would run; empty when there is nothing to do."""
        said = self._run("--dry-run")
        if NOTHING_TO_DO in said:
            return ""
        table = re.search(r"^job +count\n-.*\n((?:\S.*\n)+)", said, re.MULTILINE)
        return table.group(1).rstrip() if table else said.strip()

    def outputs(self) -> list[Output]:
        """Every output of the graph, whether or not it is there."""
        rows = [line.split("\t") for line in self._run("--summary").splitlines()]
        header = next(number for number, row in enumerate(rows) if row[0] == "output_file")
        found = [
            dict(zip(rows[header], row, strict=True)) for row in rows[header + 1 :] if len(row) == len(rows[header])
        ]
        return [
            Output(
                row["output_file"], row["rule"], (self.root / row["output_file"]).exists(), row["plan"] != "no update"
            )
            for row in found
        ]

    def mark_fresh(self, files: list[str]) -> None:
        """Make these outputs newer than their inputs and record what made them, without running anything."""
        # Hooks would write this machine's versions over those of the run.
        self._run("--touch", "--force", "--no-hooks", "--cores", "1", "--", *files)

    def _run(self, *arguments: str) -> str:
        with self._config_file() as config:
            done = subprocess.run(
                [sys.executable, "-m", "snakemake", "--configfile", str(config), *arguments],
                cwd=self.root,
                env=os.environ | {"NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        if done.returncode:
            lines = [line for line in done.stdout.splitlines() if line.strip()]
            raise UserError("snakemake cannot read this experiment:\n" + "\n".join(f"  {line}" for line in lines[-12:]))
        return done.stdout

    @contextmanager
    def _config_file(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "config.yaml")
            write_yaml(path, self.config)
            yield path
