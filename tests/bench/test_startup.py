"""Start-up counts: the command line answers at once, and no step waits for a torch that it does not use."""

import os
import subprocess
import sys

import pytest

# What each step imports when it runs, as cli.py does.
WITHOUT_TORCH = {
    "help": "import crossmodal.cli",
    "cohort check": "from crossmodal.cohort.check import Options, check_cohort",
    "cohort phantom": "from crossmodal.phantom import write_cohort",
    "config": "from crossmodal.experiment.config import resolve",
    "score": "from crossmodal.evaluate.score import score_folder",
    "collect": "from crossmodal.evaluate.collect import collect",
    "tables": "from crossmodal.evaluate.pages import write_tables",
    "figure-data": "from crossmodal.figures.collect import collect_figure_data",
    "figures": "from crossmodal.figures import draw_figures",
    "report": "from crossmodal.report import write_report",
    "publish": "from crossmodal.publishing.publish import publish",
    "restore": "from crossmodal.publishing.restore import restore",
    "cost": "from crossmodal.cost.step_times import from_bench, from_run; import crossmodal.cost.estimate",
}
LIGHT = {"help": ("torch", "numpy", "pandas", "nnunetv2", "snakemake", "matplotlib", "yaml")}


@pytest.mark.parametrize("step", WITHOUT_TORCH)
def test_a_step_that_trains_nothing_imports_no_torch(step: str) -> None:
    heavy = LIGHT.get(step, ("torch", "nnunetv2"))
    code = f"{WITHOUT_TORCH[step]}\nimport sys\nprint(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_help_answers_in_half_a_second() -> None:
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "crossmodal.cli", "--help"], capture_output=True, check=True)
        after = os.times()  # of the processor: another job's load does not count
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 0.5
