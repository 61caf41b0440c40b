"""The lock, the bounds of pyproject.toml, and the containers that are built from them."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.conftest import REPOSITORY

LOCK = REPOSITORY / "envs" / "requirements.lock"
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LIBRARY = [Requirement(line) for line in PYPROJECT["project"]["dependencies"]]
EXTRAS = [Requirement(line) for lines in PYPROJECT["project"]["optional-dependencies"].values() for line in lines]
DEVELOPERS = [Requirement(line) for line in PYPROJECT["dependency-groups"]["dev"]]
# `make lock` leaves these out: torch's own CUDA packages, and a copy of a module of Python.
NOT_PINNED = re.compile(r"argparse|cuda-.*|nvidia-.*|triton")


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, Version]:
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    return {normalised(name): Version(version) for name, version in (line.split("==") for line in lines)}


def needed_by(requirement: Requirement) -> Iterator[Requirement]:
    """What an installed package requires here, with the extras that are asked of it."""
    for one in map(Requirement, requires(requirement.name) or []):
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            yield one


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the lock is resolved for Python 3.11")
def test_the_lock_holds_what_pyproject_leads_to_and_no_more() -> None:
    reached: set[tuple[str, frozenset[str]]] = set()
    waiting = [*LIBRARY, *EXTRAS, *DEVELOPERS]
    while waiting:
        one = waiting.pop()
        key = normalised(one.name), frozenset(one.extras)
        if key not in reached and not NOT_PINNED.fullmatch(key[0]):
            reached.add(key)
            waiting += needed_by(one)
    assert {name for name, _ in reached} == set(pinned())


def test_the_lock_keeps_its_comments_and_names_no_index() -> None:
    text = LOCK.read_text()
    assert "# On Linux torch" in text and "--" not in text and "://" not in text


def test_lower_bounds_are_the_pinned_version_s() -> None:
    versions = pinned()
    for one in (*LIBRARY, *EXTRAS, *DEVELOPERS):
        version = versions[normalised(one.name)]
        assert one.specifier.contains(version), f"{one} leaves out the pinned {version}"
        for bound in one.specifier:
            if bound.operator == ">=":
                assert bound.version in (f"{version.major}", f"{version.major}.{version.minor}"), one
            else:
                assert (bound.operator, bound.version) == ("<", f"{version.major + 1}"), one


def test_the_workflow_asks_for_the_snakemake_of_pyproject() -> None:
    asked = re.search(r'min_version\("(.+)"\)', (REPOSITORY / "workflow" / "Snakefile").read_text())[1]
    assert f">={asked}" in str(next(one.specifier for one in EXTRAS if one.name == "snakemake"))


def sections_of(definition: str) -> dict[str, list[str]]:
    """The lines of each section of an Apptainer definition, its header under ''."""
    sections: dict[str, list[str]] = {"": []}
    for line in definition.splitlines():
        if line.startswith("%"):
            sections[line[1:]] = lines = []
        elif line.strip() and not line.startswith("#"):
            sections[""].append(line) if len(sections) == 1 else lines.append(line.strip())
    return sections


def apptainer() -> tuple[str, list[list[str]], list[str]]:
    """Base image, [from, to] of each file, commands."""
    sections = sections_of((REPOSITORY / "envs" / "apptainer.def").read_text())
    image = next(line.split()[1] for line in sections[""] if line.startswith("From:"))
    return image, [line.split() for line in sections["files"]], sections["post"] + sections["test"]


def docker() -> tuple[str, list[list[str]], list[str]]:
    lines = (REPOSITORY / "envs" / "Dockerfile").read_text().splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    of = {word: [rest for first, rest in steps if first == word] for word in ("FROM", "COPY", "RUN")}
    assert sum(map(len, of.values())) == len(steps)
    return of["FROM"][0], [rest.split() for rest in of["COPY"]], of["RUN"]


def test_both_containers_take_the_same_files_and_steps() -> None:
    assert apptainer() == docker()
    lock = pinned()
    assert Version(re.search(r"python:([\d.]+)", docker()[0])[1]) == Version("3.11")
    assert {"crossmodal --help", "snakemake --version"} < set(docker()[2]) and "snakemake" in lock
    ignored = (REPOSITORY / "envs" / "Dockerfile.dockerignore").read_text().split()
    assert ignored == ["*", *(f"!{source}" for source, _ in docker()[1])]


def test_the_install_steps_work_on_the_files_that_the_containers_take(tmp_path: Path) -> None:
    """Without network: the lock's pins are what is installed here, and the copied sources are what a build needs."""
    _, files, steps = docker()
    copied = tmp_path / "opt" / "crossmodal"
    for source, target in files:
        place = tmp_path / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / source).is_dir():
            copytree(REPOSITORY / source, place, ignore=ignore_patterns("*.egg-info", "__pycache__"))
        else:
            place.write_bytes((REPOSITORY / source).read_bytes())
    installs = [step.split()[2:] for step in steps if step.startswith("pip install ")]
    assert installs == [
        ["--no-cache-dir", "-r", "/opt/crossmodal/envs/requirements.lock"],
        ["--no-cache-dir", "--no-deps", "--no-build-isolation", "-e", "/opt/crossmodal"],
    ]
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "--quiet"]
    run([*pip, "-r", str(copied / "envs" / "requirements.lock")], tmp_path)
    build = "from setuptools.build_meta import build_editable; build_editable('.')"
    run([sys.executable, "-c", build], copied)
    assert list(copied.glob(f"crossmodal-{PYPROJECT['project']['version']}-*editable*.whl"))


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
