"""The GitHub workflows, hooks and forms: they parse, and what they call exists."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY

GITHUB = REPOSITORY / ".github"
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def load(path: Path) -> dict:
    # Plain YAML reads the key `on` as true.
    return yaml.safe_load(path.read_text().replace("\non:", "\n'on':"))


def commands(workflow: dict) -> list[str]:
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def combinations(matrix: dict) -> set[tuple[str, str]]:
    """(target, Python) of each job; the includes here name both, so that each of them is a job of its own."""
    product = {(target, python) for target in matrix["target"] for python in matrix["python"]}
    return product | {(entry["target"], entry["python"]) for entry in matrix["include"]}


def test_ci_makes_the_targets_that_exist_on_each_supported_python() -> None:
    workflow = load(GITHUB / "workflows" / "ci.yml")
    assert commands(workflow) == ["make ${{ matrix.target }}"]
    jobs = combinations(workflow["jobs"]["make"]["strategy"]["matrix"])
    assert {target for target, _ in jobs} == {"lint", "test", "docs", "wheel"}
    assert {target for target, _ in jobs} <= TARGETS
    assert {python for target, python in jobs if target == "test"} == {"3.11", "3.12", "3.13"}
    oldest = min(python for _, python in jobs)
    assert PROJECT["requires-python"] == f">={oldest}"


@pytest.mark.parametrize("name", ["ci", "release"])
def test_every_command_is_a_make_target_or_publishes(name: str) -> None:
    workflow = load(GITHUB / "workflows" / f"{name}.yml")
    assert workflow["on"] and workflow["permissions"]
    for command in commands(workflow):
        words = [word for word in command.split() if not word.startswith("-")]
        assert words[:3] == ["gh", "release", "create"] or words[0] == "make"
        if words[0] == "make" and "matrix" not in command:
            assert words[1] in TARGETS


def test_release_notes_are_the_changelog_s_section() -> None:
    make = ["make", "--no-print-directory", "-C", str(REPOSITORY), "notes"]
    run = subprocess.run([*make, "VERSION=0.1.0"], capture_output=True, text=True, check=True)
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    assert run.stdout.strip() and run.stdout in changelog and "## " not in run.stdout
    missing = subprocess.run([*make, "VERSION=9.9.9"], capture_output=True, text=True, check=False)
    assert missing.returncode != 0 and "no section '9.9.9'" in missing.stderr


def test_hooks_are_those_of_the_environment_and_of_make_lint() -> None:
    hooks = [hook for repo in load(REPOSITORY / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    lock = (REPOSITORY / "envs" / "requirements.lock").read_text()
    lint = (REPOSITORY / "Makefile").read_text().partition("\nlint:")[2]
    assert {hook["entry"].split()[0] for hook in hooks} == {".venv/bin/ruff", ".venv/bin/snakefmt"}
    for hook in hooks:
        tool = Path(hook["entry"].split()[0]).name
        assert hook["language"] == "system"
        assert re.search(rf"^{tool}==", lock, re.MULTILINE)
        assert f"$(BIN)/{tool}" in lint
    snakefiles = next(hook["files"] for hook in hooks if hook["id"] == "snakefmt")
    for path in (REPOSITORY / "Snakefile", *(REPOSITORY / "workflow").rglob("*.smk")):
        assert re.search(snakefiles, str(path.relative_to(REPOSITORY)))
    assert not re.search(snakefiles, "workflow/released.yaml")


@pytest.mark.parametrize("path", sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_issue_forms_have_what_github_asks_for(path: Path) -> None:
    form = load(path)
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert all(field["attributes"]["label"] for field in fields)
    names = [field["id"] for field in fields]
    assert len(names) == len(set(names))
    assert any(field.get("validations", {}).get("required") for field in fields)
