"""One Slurm and two runs of an experiment for all tests: one on this machine, and one on Slurm that is disturbed."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from one_node import OneNode, missing, reasons_to_refuse
from workspace import Run, Story, Workspace, disturb


@pytest.fixture(scope="session")
def slurm() -> Iterator[OneNode]:
    """A separate Slurm, which ends with the tests."""
    reasons = reasons_to_refuse() + [f"{name} is not installed" for name in missing()]
    if reasons:
        pytest.skip("no Slurm for tests here: " + "; ".join(reasons))
    node = OneNode(cpus=8, gpus=4)
    try:
        node.start()
        yield node
    finally:
        node.stop()
    assert not node.left_over()


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The experiment, run on this machine undisturbed."""
    workspace = Workspace(tmp_path_factory.mktemp("local") / "run")
    run = workspace.snakemake("--cores", "2")
    assert run.wait(900) == 0, run.output[-4000:]
    return workspace


@pytest.fixture(scope="session")
def story(slurm: OneNode, local: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The same experiment on Slurm: the student is cancelled, choi2023 exceeds its time limit."""
    # A minute is Slurm's shortest limit. On a busy machine a training takes longer and gets more.
    limit = 1 + int(local.training("choi2023").seconds() // 45)
    workspace = Workspace(tmp_path_factory.mktemp("slurm") / "run", slurm.environment, limit)
    shutil.copytree(local.folder / ".cache", workspace.folder / ".cache")  # the same phantoms
    run = workspace.snakemake("--workflow-profile", "profiles/slurm")
    story = Story(workspace, run)
    try:
        disturb(story, slurm, limit)
        story.status = run.wait(900)
        story.jobs = slurm.jobs()
    finally:
        run.kill()
    return story


@pytest.fixture
def another_run(slurm: OneNode, story: Story) -> Iterator:
    """A function that starts Snakemake on Slurm again, in the finished workspace."""
    started: list[Run] = []

    def start(*options: str) -> Run:
        started.append(story.workspace.snakemake("--workflow-profile", "profiles/slurm", *options))
        return started[-1]

    yield start
    for run in started:
        run.kill()
    unlock = ["snakemake", "--unlock", "--configfile", "test.yaml", "--config", "budget=smoke"]
    subprocess.run(unlock, cwd=story.workspace.folder, env=story.workspace.environment, check=False)
