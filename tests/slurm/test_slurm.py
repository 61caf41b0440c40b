"""The workflow on a real Slurm: what jobs request, and how trainings go on after being cancelled or timed out."""

import json
import signal

import pytest
from one_node import OneNode
from workspace import Story, Workspace

from tests.publishing.experiments import content_of

pytestmark = pytest.mark.slurm

# Times and memory differ between any two runs, and when a training was interrupted.
MEASURED = ("cost.csv", "cost.json", "resources.csv", "training_log.txt", "progress.csv", "checkpoint_final.pth")


def test_the_run_succeeds_despite_the_disturbances(story: Story):
    assert story.status == 0, story.run.output[-4000:]


def test_gpu_steps_request_a_gpu_and_others_do_not(story: Story):
    for job in story.jobs.values():
        wants_gpu = "train_network" in job["Comment"] or "predict_cases" in job["Comment"]
        assert job["Partition"] == ("gpu" if wants_gpu else "cpu"), job
        assert job.get("TresPerJob") == ("gres:gpu:1" if wants_gpu else None), job
    submitted = {job["Comment"].split("_wildcards")[0] for job in story.jobs.values()}
    names = "check_cohort preprocess_dataset train_network predict_cases score_predictions collect_figure_data"
    assert submitted == {f"rule_{name}" for name in names.split()}, "light steps run where Snakemake runs"


def test_a_joint_training_requests_more_memory_than_a_student(story: Story):
    assert megabytes(story.trainings("choi2023")[0]) > megabytes(story.trainings("student")[0])


def test_a_cancelled_training_is_submitted_again_and_resumed(story: Story, local: Workspace):
    first, second = story.trainings("student")
    assert (first["JobId"], first["JobState"], second["JobState"]) == (story.cancelled, "CANCELLED", "COMPLETED")
    rows = story.workspace.training("student").rows()
    assert int(rows[-1]["resumed_from"]) > 0, "it started from the beginning"
    assert weights(story.workspace, "student") == weights(local, "student")


def test_the_warning_before_a_time_limit_saves_the_state(story: Story):
    assert story.warned


def test_a_training_past_its_time_limit_is_retried_with_more(story: Story, local: Workspace):
    first, second = story.trainings("choi2023")
    assert (first["JobState"], second["JobState"]) == ("TIMEOUT", "COMPLETED")
    assert minutes(second) == 2 * minutes(first) > 0
    assert megabytes(second) == 2 * megabytes(first)
    assert int(story.workspace.training("choi2023").rows()[-1]["resumed_from"]) > 0
    assert weights(story.workspace, "choi2023") == weights(local, "choi2023")


@pytest.mark.parametrize("folder", ["cohort", "models", "predictions", "scores", "tables"])
def test_results_are_those_of_a_local_run_to_the_byte(story: Story, local: Workspace, folder):
    there, here = (content_of(one.results / folder, MEASURED) for one in (story.workspace, local))
    assert there.keys() == here.keys()
    assert len(here) > 0
    assert [name for name in here if here[name] != there[name]] == []


def test_the_dataset_is_that_of_a_local_run(story: Story, local: Workspace):
    # Its manifest hashes the content of the arrays; their compression depends on the number of processes.
    there, here = ((one.results / "nnunet" / "manifest.json").read_text() for one in (story.workspace, local))
    assert json.loads(there)["dataset_sha256"] == json.loads(here)["dataset_sha256"]
    assert there == here


def test_the_log_of_a_failed_job_is_shown(story: Story, another_run):
    arrays = next(story.workspace.results.glob("nnunet/preprocessed/*/*/*.pkl"))
    target = "results/test/models/student/t1ce+flair/seed7/fold_0/manifest.json"
    content = arrays.read_bytes()
    arrays.unlink()
    try:
        run = another_run("--retries", "0", target)
        assert run.wait(400) == 1
    finally:
        arrays.write_bytes(content)
    assert "preprocessed cases are there: build the dataset again" in run.output, run.output[-4000:]


def test_interrupting_snakemake_cancels_its_jobs(slurm: OneNode, story: Story, another_run):
    training = story.workspace.training("student", seed=8)
    run = another_run(f"{training.folder.relative_to(story.workspace.folder)}/manifest.json")
    run.until(training.in_its_middle, "it trains")
    training.freeze()
    job = slurm.job_of("train_network_wildcards_student")
    run.process.send_signal(signal.SIGINT)
    assert run.wait(300) != 0
    slurm.until_idle(150)
    assert slurm.jobs()[job]["JobState"] == "CANCELLED"
    assert training.state.exists(), "the cancelled training did not save its state"


def weights(workspace: Workspace, method: str) -> str:
    """Hash of a trained network's tensors."""
    return json.loads((workspace.training(method).folder / "manifest.json").read_text())["weights_sha256"]


def megabytes(job: dict[str, str]) -> int:
    """Memory that a job requested."""
    return int(job["MinMemoryNode"].removesuffix("M"))


def minutes(job: dict[str, str]) -> int:
    """Time that a job requested."""
    hours, full, _ = job["TimeLimit"].split(":")
    return 60 * int(hours) + int(full)
