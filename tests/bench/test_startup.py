"""The command line answers at once, and no command waits for a torch that it does not use."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import crossmodal.cli

USES_TORCH = {"train", "predict", "predict_cases", "dataset", "schemas"}
HELP = ("torch", "nnunetv2", "numpy", "pandas", "snakemake", "matplotlib", "yaml", "pydantic")


def imports_of_commands() -> dict[str, str]:
    """What each other command imports when it runs, by the name of its function."""
    files = Path(crossmodal.cli.__file__).parent.glob("*.py")
    functions = [node for file in files for node in ast.parse(file.read_text()).body]
    return {
        function.name: "\n".join(ast.unparse(node) for node in ast.walk(function) if isinstance(node, ast.ImportFrom))
        for function in functions
        if isinstance(function, ast.FunctionDef) and function.name not in USES_TORCH
    }


WITHOUT_TORCH = {"help": "import crossmodal.cli", "config": "import crossmodal.experiment.config"}
WITHOUT_TORCH |= {name: code for name, code in imports_of_commands().items() if code}


@pytest.mark.parametrize("command", WITHOUT_TORCH)
def test_a_command_that_trains_nothing_imports_no_torch(command: str) -> None:
    heavy = HELP if command == "help" else ("torch", "nnunetv2")
    code = f"{WITHOUT_TORCH[command]}\nimport sys\nprint(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_every_command_is_looked_at() -> None:
    app = crossmodal.cli.app
    apps = [app, *(group.typer_instance for group in app.registered_groups)]
    commands = {command.callback.__name__ for one in apps for command in one.registered_commands}
    assert commands == {*WITHOUT_TORCH, *USES_TORCH} - {"help", "config"}


def test_help_answers_in_half_a_second() -> None:
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "crossmodal.cli", "--help"], capture_output=True, check=True)
        after = os.times()  # processor time: other jobs do not count
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 0.5
