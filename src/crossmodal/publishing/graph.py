"""Snakemake's own view of an experiment: which files are its outputs, and which of them it would make again.

Snakemake is asked through its Python API, in a process of its own: the API changes the working directory, the
logging and the loaded modules of the process that calls it. That process is this module, run as a program.
"""

import contextlib
import json
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
        every, due = self._ask("outputs")
        return [Output(path, rule, (self.root / path).exists(), path in due) for path, rule in every.items()]

    def mark_fresh(self, files: list[str]) -> None:
        """Make these outputs newer than their inputs and record what made them, without running anything."""
        self._ask("touch", files)

    def _ask(self, question: str, files: list[str] | None = None) -> Any:
        if find_spec("snakemake") is None:
            raise UserError("Snakemake is not installed: pip install 'crossmodal[workflow]'")
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "config.yaml")
            write_yaml(config, self.config)
            command = [sys.executable, "-m", __name__, question, str(config)]
            files = json.dumps(files or [])
            done = subprocess.run(command, cwd=self.root, input=files, capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise UserError("snakemake cannot read this experiment:\n" + "\n".join(f"  {line}" for line in lines[-12:]))
        return json.loads(done.stdout)


def _plan(config: str, executor: str, **dag: Any) -> dict[str, str]:
    """Path and rule of each output that is due, planned in the current folder with its default profile.

    Args:
        config: path of a config file.
        executor: "dryrun", or "touch" to touch the files of the jobs that are due.
        dag: settings of the graph beside the profile's.
    """
    from snakemake import cli
    from snakemake.api import SnakemakeApi
    from snakemake.settings import types as settings

    _, profile = cli.parse_args(["--configfile", config])
    # With these two, a dry run ends once it has counted the jobs.
    quiet = {settings.Quietness.RULES, settings.Quietness.PROGRESS}
    with SnakemakeApi(settings.OutputSettings(dryrun=executor == "dryrun", quiet=quiet, nocolor=True)) as api:
        due = []
        try:
            workflow = api.workflow(
                resource_settings=settings.ResourceSettings(cores=1),
                config_settings=settings.ConfigSettings(configfiles=profile.configfile),
            )
            graph = workflow.dag(
                settings.DAGSettings(
                    force_incomplete=profile.rerun_incomplete,
                    rerun_triggers=profile.rerun_triggers,
                    max_checksum_file_size=profile.max_checksum_file_size,
                    **dag,
                )
            )
            # Hooks would write this machine's versions over those of the run.
            graph.execute_workflow(executor, None, settings.ExecutionSettings(no_hooks=True), updated_files=due)
        except Exception as error:
            api.print_exception(error)
            sys.exit(1)
    return {str(file): file.rule.name for file in due}


def main(question: str, config: str) -> None:
    """Print the answer to a question of `Graph` as JSON."""
    with contextlib.redirect_stdout(sys.stderr):  # a Snakefile may print
        if question == "touch":
            answer: Any = _plan(config, "touch", targets=json.load(sys.stdin), forcetargets=True)
        else:
            answer = _plan(config, "dryrun", forceall=True), _plan(config, "dryrun")
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
