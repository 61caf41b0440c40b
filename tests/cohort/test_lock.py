"""Locks of cohorts: DVC's own hash, the cases that differ, and a run that stops."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crossmodal.cohort import lock as locks
from crossmodal.errors import UserError
from crossmodal.experiment import config as configs
from crossmodal.phantom import write_cohort
from crossmodal.publishing import dvc
from crossmodal.report.facts import data as data_text
from tests.publishing.experiments import crossmodal, fresh_clone, git, make_repository, save

CASES = ("BraTS20_Training_001", "BraTS20_Training_002", "BraTS20_Training_003")


def write_files(folder: Path) -> Path:
    for case in CASES:
        for name in ("t1", "seg"):
            path = folder / case / f"{case}_{name}.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{case} {name}".encode())
    (folder / "grün.txt").write_text("a name that is not ASCII")
    (folder / ".snakemake_timestamp").touch()
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository")


def test_a_lock_is_the_one_that_dvc_would_write(repository: Path) -> None:
    data = write_files(repository / "cohorts" / "brats2020")
    ours = locks.write_lock(repository / "cohorts" / "ours.dvc", data)
    dvc.run(repository, "add", data)
    theirs = locks.read_lock(repository / "cohorts" / "brats2020.dvc")
    assert (ours.md5, ours.files, ours.size) == (theirs.md5, theirs.files, theirs.size) and ours.files == 7
    done = crossmodal(repository, "cohort", "lock", "cohorts/brats2020.dvc")
    assert done.returncode == 0, done.stderr
    assert theirs.list_file.read_text() == ours.list_file.read_text()
    checked = subprocess.run(["md5sum", "--check", "--quiet", theirs.list_file], cwd=data, capture_output=True)
    assert checked.returncode == 0


def test_cases_that_are_missing_new_or_changed_are_named(tmp_path: Path) -> None:
    data = write_files(tmp_path / "data")
    lock = locks.write_lock(tmp_path / "brats2020.dvc", data)
    locks.require_match(data, lock)
    (data / CASES[0] / f"{CASES[0]}_t1.nii").write_bytes(b"another image")
    shutil.rmtree(data / CASES[1])
    shutil.copytree(data / CASES[2], data / "BraTS20_Training_009")
    with pytest.raises(UserError) as caught:
        locks.require_match(data, lock)
    text = str(caught.value)
    assert f"  {CASES[0]}: {CASES[0]}_t1.nii changed\n" in text
    assert f"  {CASES[1]}: {CASES[1]}_seg.nii missing, {CASES[1]}_t1.nii missing\n" in text
    assert f"  BraTS20_Training_009: {CASES[2]}_seg.nii not pinned, {CASES[2]}_t1.nii not pinned\n" in text
    assert f"{CASES[2]}:" not in text
    lock.list_file.unlink()
    with pytest.raises(UserError, match="which cases differ cannot be told without"):
        locks.require_match(data, lock)


def test_a_list_of_another_state_is_not_believed(tmp_path: Path) -> None:
    data = write_files(tmp_path / "data")
    lock = locks.write_lock(tmp_path / "brats2020.dvc", data)
    lines = lock.list_file.read_text().splitlines(keepends=True)
    lock.list_file.write_text("".join(lines[1:]))
    assert locks.read_list(lock) is None


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("HGG/Brats18_2013_2_1/Brats18_2013_2_1_t1.nii.gz", "Brats18_2013_2_1"),
        ("BraTS20_Training_355/W39_1998.09.19_Segm.nii", "BraTS20_Training_355"),
        ("imagesTr/BRATS_001.nii.gz", "BRATS_001"),
        ("cases.csv", "cases"),
    ],
)
def test_a_file_belongs_to_its_case(name: str, case: str) -> None:
    assert locks.case_of(name) == case


def test_hashes_are_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, notes = write_files(tmp_path / "data"), tmp_path / "notes.json"
    first = locks.hash_files(data, notes)
    read: list[Path] = []
    monkeypatch.setattr(locks, "md5_of", lambda path: read.append(path) or "0" * 32)
    assert locks.hash_files(data, notes) == first and read == []
    image = data / CASES[0] / f"{CASES[0]}_t1.nii"
    before = image.stat()
    image.write_bytes(bytes(before.st_size))  # the same size, and its time put back
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    locks.hash_files(data, notes)
    assert read == [image]


@pytest.mark.parametrize(
    "content",
    ["", "outs: []", "outs: [{md5: 1}]", "outs: [{md5: a.dir, path: x, nfiles: many, size: 1}]", "[", "\x00", "3"],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.dvc"
    path.write_text(content)
    with pytest.raises(UserError, match=r"x\.dvc: is not the \.dvc file of one folder"):
        locks.read_lock(path)


def test_a_run_stops_when_its_cohort_is_not_as_locked(repository: Path, tmp_path: Path) -> None:
    data = tmp_path / "elsewhere"
    write_cohort(data, 3, 6.0, 7, "A", 1)
    done = crossmodal(repository, "cohort", "lock", "cohorts/mine.dvc", "--data", data)
    assert done.returncode == 0, done.stderr
    config = {"experiment": "locked", "brats": str(data), "brats_lock": "cohorts/mine.dvc", "budget": "smoke"}
    (repository / "given.yaml").write_text(yaml.safe_dump(config))
    image = sorted(data.glob("*/*_t1.nii"))[0]
    content = image.read_bytes()
    image.write_bytes(content[:-1] + b"x")
    cases = repository / "results" / "locked" / "cohort" / "cases.csv"
    said = snakemake(repository)
    assert said.returncode == 1 and f"{image.parent.name}: {image.name} changed" in said.stdout
    assert "Traceback" not in said.stdout and not cases.exists()
    image.write_bytes(content)
    assert snakemake(repository).returncode == 0 and cases.exists()
    recorded = yaml.safe_load((repository / "results" / "locked" / "config.yaml").read_text())
    lock = locks.read_lock(repository / "cohorts" / "mine.dvc")
    assert recorded["cohort_lock"]["md5"] == lock.md5
    # Even with nothing left to do, a cohort that changed since is not passed over.
    image.write_bytes(content[:-1] + b"x")
    said = snakemake(repository, "--dry-run")
    assert said.returncode == 1 and f"{image.parent.name}: {image.name} changed" in said.stdout
    # A lock that was renewed makes another experiment.
    locks.write_lock(lock.file, data)
    said = snakemake(repository, "--dry-run")
    assert said.returncode == 1 and "cohort_lock.md5" in said.stdout


def snakemake(repository: Path, *options: str) -> subprocess.CompletedProcess:
    """Make cases.csv of the experiment; what it says is in stdout."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *options, "--configfile", "given.yaml", "--"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    places = {"cwd": repository, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run([*command, "results/locked/cohort/cases.csv"], text=True, **places)


def test_the_report_and_the_config_hold_the_hash(tmp_path: Path) -> None:
    files = write_files(tmp_path / "files")
    lock = locks.write_lock(tmp_path / "mine.dvc", files)
    config = configs.resolve({"brats": str(files), "brats_lock": str(lock.file), "budget": "smoke"})
    assert lock.md5 in data_text(config)
    with pytest.raises(UserError, match="the lock is of its files"):
        configs.resolve({"brats_lock": str(lock.file)})


def test_a_cohort_is_held_to_its_lock_once_it_was_read(tmp_path: Path) -> None:
    data, notes = write_files(tmp_path / "data"), tmp_path / "notes"
    lock = locks.write_lock(tmp_path / "mine.dvc", data)
    (data / "grün.txt").write_text("other text")
    with pytest.raises(UserError, match="is not the cohort that"):
        locks.require_locked(str(data), str(lock.file), notes)
    with pytest.raises(UserError, match="is not the cohort that"):  # it has been read by now
        locks.require_locked(str(data / "grün.txt"), str(lock.file), notes, only_known=True)
    locks.require_locked(str(data), str(lock.file), tmp_path / "other notes", only_known=True)
    locks.require_locked(str(tmp_path / "not here"), str(lock.file), notes)
    locks.require_locked(str(data), None, notes)


def test_a_generated_cohort_must_be_the_pinned_one(repository: Path, tmp_path: Path) -> None:
    write_files(repository / "data")
    dvc.run(repository, "add", "data")
    assert crossmodal(repository, "cohort", "lock", "data.dvc").returncode == 0
    save(repository, "Pin the cohort")
    clone = fresh_clone(repository, tmp_path / "clone")
    image = write_files(clone / "data") / CASES[0] / f"{CASES[0]}_t1.nii"
    done = crossmodal(clone, "cohort", "pin", "data.dvc")
    assert done.returncode == 0, done.stderr
    assert dvc.run(clone, "status", "data.dvc").strip() == "Data and pipelines are up to date."
    assert git(clone, "status", "--porcelain") == ""
    image.unlink()
    image.write_bytes(b"other bytes")
    done = crossmodal(clone, "cohort", "pin", "data.dvc")
    assert done.returncode == 1 and f"{CASES[0]}: {image.name} changed" in done.stderr
    assert "Delete that folder" in done.stderr and "Traceback" not in done.stderr
    shutil.rmtree(clone / "data")
    done = crossmodal(clone, "cohort", "pin", "data.dvc")
    assert done.returncode == 1 and "no file is there" in done.stderr
