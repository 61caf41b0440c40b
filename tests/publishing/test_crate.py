"""A run as an RO-Crate: what is in it, what its metadata say, and that the same run gives the same bytes."""

import hashlib
import json
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from crossmodal.cli import app
from crossmodal.errors import UserError
from crossmodal.experiment import config as configs
from crossmodal.files import write_json, write_yaml
from crossmodal.publishing import crate
from crossmodal.publishing.crate import write_crate
from crossmodal.publishing.records import jobs, rules
from tests.conftest import REPOSITORY
from tests.publishing.conftest import copy_of
from tests.publishing.experiments import GIVEN, NAME, RUNS, content_of, write_model, write_tables

PROFILE = "https://w3id.org/ro/wfrun/{}/0.5"


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh clone has of the project and its reference run; no git. Never write into it."""
    folder = tmp_path_factory.mktemp("clone") / "crossmodal"
    for name in ("workflow", "results/reference"):
        shutil.copytree(REPOSITORY / name, folder / name)
    for name in ("LICENSE", "CITATION.cff", "data.dvc", "data.md5"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def reference(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crate of the reference run."""
    return write_crate(clone / "results" / "reference", tmp_path_factory.mktemp("out") / "crate", author="A Person")


@pytest.fixture(scope="session")
def finished_run(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run with networks, and the records of its jobs. Never write into it."""
    root = copy_of(clone, tmp_path_factory.mktemp("finished") / "crossmodal")
    experiment = root / "results" / NAME
    config = configs.resolve(GIVEN)
    write_yaml(experiment / "config.yaml", config.plain())
    write_json(experiment / "versions.json", {"crossmodal": "0.1.0", "snakemake": "9.27.1"})
    write_tables(experiment)
    (experiment / "tables" / "per_case.csv").write_text("cohort,case\n")
    (experiment / "report.html").write_text("<p>report</p>")
    for start, (method, modalities) in enumerate(RUNS):
        network = f"{method}/{modalities}/seed0"
        write_model(experiment / "models" / network, method, modalities, config)
        command = f"crossmodal train --method {method} --modalities {modalities}"
        for name in ("checkpoint_final.pth", "manifest.json"):
            record(root, f"results/{NAME}/models/{network}/fold_0/{name}", "train_network", command, 100 + start, 160.5)
        prediction = experiment / "predictions" / "phantom-a" / network / "fold_0" / "case_2.nii.gz"
        prediction.parent.mkdir(parents=True)
        prediction.write_bytes(b"labels")
    record(root, f"results/{NAME}/report.html", "write_report", "crossmodal report results/small", 170, 172)
    return experiment


def record(root: Path, output: str, rule: str, command: str, start: float, end: float, **more: object) -> None:
    """A record as Snakemake writes it: named after the output in base64, cut where names would be too long."""
    (root / output).parent.mkdir(parents=True, exist_ok=True)
    (root / output).touch()
    name = urlsafe_b64encode(output.encode()).decode()
    parts = [f"@{name[i : i + 90]}" for i in range(0, len(name) - 90, 90)]
    path = root.joinpath(".snakemake", "metadata", *parts, name[90 * len(parts) :])
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {"rule": rule, "shellcmd": command, "starttime": start, "endtime": end, "incomplete": False}
    path.write_text(json.dumps(known | more))


def graph_of(folder: Path) -> dict[str, dict]:
    """The entities of a crate by their id."""
    found = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    assert len({entity["@id"] for entity in found}) == len(found)
    return {entity["@id"]: entity for entity in found}


def linked(value: object) -> list[str]:
    """The ids that a property refers to."""
    return [one["@id"] for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def check_what_the_profiles_require(graph: dict[str, dict]) -> None:
    """The rules marked MUST that concern our entities; roc-validator, which needs the network, checks all of them."""
    root, descriptor = graph["./"], graph["ro-crate-metadata.json"]
    assert linked(descriptor["about"]) == ["./"] and "https://w3id.org/ro/crate/1.1" in linked(descriptor["conformsTo"])
    assert {"name", "description", "datePublished", "license"} <= {*root}
    assert {PROFILE.format(name) for name in ("process", "workflow")} <= {*linked(root["conformsTo"])}
    (main,) = linked(root["mainEntity"])
    workflow = graph[main]
    assert {*workflow["@type"]} == {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"}
    assert graph[linked(workflow["programmingLanguage"])[0]]["name"] == "Snakemake"
    assert graph["#run"]["@type"] == "CreateAction" and linked(graph["#run"]["instrument"]) == [main]
    assert "#run" in linked(root["mentions"])
    for step in map(graph.get, linked(workflow["step"])):
        assert step["@type"] == "HowToStep" and graph[linked(step["workExample"])[0]]["@type"] == "SoftwareApplication"
    for entity in graph.values():
        for value in entity.values():
            assert {one for one in linked(value) if not one.startswith("http")} <= {*graph}, entity["@id"]


def test_the_reference_run_of_a_fresh_clone(reference: Path) -> None:
    graph = graph_of(reference)
    check_what_the_profiles_require(graph)
    assert PROFILE.format("provenance") not in linked(graph["./"]["conformsTo"]), "no job was recorded"
    assert "startTime" not in graph["#run"] and "was not recorded" in graph["#run"]["description"]
    inputs, outputs = linked(graph["#run"]["object"]), linked(graph["#run"]["result"])
    assert {"config.yaml", "recipes/choi2023.yaml", "data.md5", "#cohort-phantom-a", "#cohort-phantom-b"} <= {*inputs}
    assert {"tables/summary.csv", "figure_data/curves.csv", "checklist.md"} <= {*outputs}
    assert graph["#device-0"]["value"].startswith("cpu")
    assert graph["#author"]["name"] == "A Person" and linked(graph["#run"]["agent"]) == ["#author"]
    assert graph[linked(graph["./"]["creator"])[0]]["name"] == "The Crossmodal authors"
    assert linked(graph["./"]["license"]) == ["https://spdx.org/licenses/Apache-2.0"]
    assert "Phantom run" in graph["./"]["description"] and "Phantom run" in (reference / "README.md").read_text()
    versions = json.loads((reference / "versions.json").read_text())
    assert graph["https://pypi.org/project/torch/"]["softwareVersion"] == versions["torch"]
    assert "crossmodal train --method" in graph["#step-train_network"]["description"]
    recipe = yaml.safe_load((reference / "recipes" / "choi2023.yaml").read_text())
    assert recipe == yaml.safe_load((reference / "config.yaml").read_text())["recipes"]["choi2023"]


def test_every_file_is_described_with_its_hash(reference: Path) -> None:
    graph = graph_of(reference)
    described = {unquote(name): entity for name, entity in graph.items() if "File" in entity["@type"]}
    files = {path.relative_to(reference).as_posix(): path for path in reference.rglob("*") if path.is_file()}
    assert {*described} == {*map(unquote, linked(graph["./"]["hasPart"]))} == {*files} - {"ro-crate-metadata.json"}
    for name, entity in described.items():
        assert entity["sha256"] == hashlib.sha256(files[name].read_bytes()).hexdigest()
        assert entity["contentSize"] == str(files[name].stat().st_size) and entity["encodingFormat"]
    assert not [name for name in files if name.endswith((".nii", ".nii.gz", ".pth"))]


def test_the_same_run_gives_the_same_bytes_and_replaces_its_crate(reference: Path, clone: Path, tmp_path: Path) -> None:
    out = tmp_path / "crate"
    for _ in range(2):
        command = ["crate", str(clone / "results" / "reference"), "--out", str(out), "--author", "A Person"]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0 and done.stdout.strip() == str(out), done.output
        assert content_of(out) == content_of(reference)
    assert [path.name for path in tmp_path.iterdir()] == ["crate"], "nothing half-written is left"


def test_a_finished_run_with_its_jobs(finished_run: Path, tmp_path: Path) -> None:
    folder = write_crate(finished_run, tmp_path / "crate")
    graph = graph_of(folder)
    check_what_the_profiles_require(graph)
    assert PROFILE.format("provenance") in linked(graph["./"]["conformsTo"])
    job = graph["#job-models/student/t1ce+flair/seed0/fold_0/checkpoint_final.pth"]
    assert job["description"] == "crossmodal train --method student --modalities t1ce+flair"
    assert linked(job["instrument"]) == ["#crossmodal-train"]
    assert (job["startTime"], job["endTime"]) == ("1970-01-01T00:01:41+00:00", "1970-01-01T00:02:40+00:00")
    assert "#output-models/student/t1ce+flair/seed0/fold_0/manifest.json" in linked(job["result"])
    trained = linked(graph["#control-train_network"]["object"])
    assert len(trained) == len(RUNS) and {*trained} <= {*linked(graph["./"]["mentions"])}
    assert linked(graph["#job-report.html"]["result"]) == ["report.html"]
    assert linked(graph["#snakemake-run"]["result"]) == ["#run"]
    assert {*linked(graph["workflow/Snakefile"]["hasPart"])} == {"#crossmodal-train", "#crossmodal-report"}
    assert graph["#run"]["startTime"] == "1970-01-01T00:01:40+00:00"
    assert graph["#run"]["endTime"] == graph["./"]["datePublished"] == "1970-01-01T00:02:52+00:00"
    cases = pd.read_csv(folder / "cohort" / "cases.csv")
    assert "t1" not in cases and len(cases) == 4, "hashes, and no paths"


def test_a_run_of_which_only_a_part_was_recorded_names_no_job(finished_run: Path, tmp_path: Path) -> None:
    root = copy_of(finished_run.parents[1], tmp_path / "crossmodal")
    for path in [path for path in (root / ".snakemake").rglob("*") if path.is_file()]:
        if "student" in path.read_text():
            path.unlink()
    graph = graph_of(write_crate(root / "results" / NAME))
    assert not [name for name in graph if name.startswith("#job-")] and "startTime" not in graph["#run"]


def test_networks_are_named_by_hash_and_copied_when_asked(finished_run: Path, tmp_path: Path) -> None:
    folder = write_crate(finished_run, tmp_path / "crate", include=("models",))
    listed = pd.read_csv(folder / "artefacts.csv").set_index("path")
    for path in [path for path in (finished_run / "models").rglob("*") if path.is_file()]:
        name = path.relative_to(finished_run).as_posix()
        if path.name in ("training_log.txt", ".lock"):
            assert name not in listed.index and not (folder / name).exists()
        else:
            assert listed.md5[name] == hashlib.md5(path.read_bytes()).hexdigest()
            assert (folder / name).read_bytes() == path.read_bytes()
    assert any(name.startswith("predictions/") for name in listed.index) and not (folder / "predictions").exists()
    assert "models/" in linked(graph_of(folder)["#run"]["result"])


def test_jobs_are_those_that_are_done_and_whose_outputs_are_there(tmp_path: Path) -> None:
    record(tmp_path, "results/a/models/x.pth", "train", "crossmodal train", 100.5, 160.0)
    record(tmp_path, "results/a/models/x.json", "train", "crossmodal train", 100.0, 161.0)
    record(tmp_path, "results/a/scores/touched.csv", "score", "crossmodal score", 200.0, 200.1)
    record(tmp_path, "results/a/scores/broken.csv", "score", "crossmodal score 2", 200.0, 300.0, incomplete=True)
    record(tmp_path, "results/a/scores/gone.csv", "score", "crossmodal score 3", 200.0, 300.0)
    (tmp_path / "results/a/scores/gone.csv").unlink()
    record(tmp_path, "results/b/scores/other.csv", "score", "crossmodal score 4", 200.0, 300.0)
    touched, trained = jobs(tmp_path, [tmp_path / "results" / "a"], {"train", "score"})
    assert (trained.start, trained.end) == (100.0, 161.0) and len(trained.outputs) == 2
    assert touched.outputs == ("results/a/scores/touched.csv",)
    assert touched.start is None is touched.end, "it was marked as done, and did not run"


def test_records_of_snakemake_itself_are_read(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text("rule slow:\n    output: 'out/a.txt'\n    shell: 'sleep 1.2; touch {output}'\n")
    run = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet"]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    (job,) = jobs(tmp_path, [tmp_path / "out"], {"slow"})
    assert (job.command, job.outputs) == ("sleep 1.2; touch out/a.txt", ("out/a.txt",))
    assert job.end == pytest.approx((tmp_path / "out" / "a.txt").stat().st_mtime) and job.start < job.end - 1
    subprocess.run([*run, "--touch", "--forceall"], cwd=tmp_path, check=True, capture_output=True)
    (job,) = jobs(tmp_path, [tmp_path / "out"], {"slow"})
    assert job.command and job.start is None


def test_steps_are_the_rules_that_make_files_in_the_order_of_the_data() -> None:
    found = {rule.name: rule.tool for rule in rules(REPOSITORY / "workflow" / "Snakefile")}
    assert [*found][:3] == ["generate_phantom", "check_cohort", "preprocess_dataset"]
    assert found["train_network"] == "crossmodal train" and found["check_cohort"] == "crossmodal cohort check"
    assert [*found][-1] == "write_report" and "publish" not in found and "figures" not in found


def test_wrong_folders_are_named(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = clone / "results" / "reference"
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    alone = copy_of(reference, tmp_path / "results" / "reference")
    empty = tmp_path / "results" / "empty"
    empty.mkdir()
    shutil.copy(reference / "config.yaml", empty)
    for folder, out, include, message in (
        (clone / "results" / "referense", None, (), r"referense: is not an experiment .* did you mean 'reference'"),
        (clone / "workflow", None, (), "workflow: is not an experiment"),
        (empty, None, (), r"empty: has no tables/per_case.csv: finish the run"),
        (alone, None, (), "no folder above it has workflow/Snakefile"),
        (reference, taken, (), r"taken: is there and is no crate .*: choose another --out"),
        (reference, None, ("modles",), "--include modles: did you mean 'models'"),
    ):
        with pytest.raises(UserError, match=message):
            write_crate(folder, out, include)
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]
    monkeypatch.setattr(crate, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"rocrate is not installed: pip install 'crossmodal\[publish\]'"):
        write_crate(reference)
