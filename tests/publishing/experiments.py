"""A small clone of the project with a finished experiment: every output of the real graph, few bytes each."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import yaml

from crossmodal.experiment import config as configs
from crossmodal.experiment.config import Resolved
from crossmodal.experiment.recorded import given_part
from crossmodal.files import sha256_of, write_json, write_yaml
from crossmodal.publishing.graph import Graph
from tests.conftest import REPOSITORY, copy_workflow

NAME = "small"
GIVEN = {
    "experiment": NAME,
    "phantom": {"cases": 4, "spacing": 6, "seed": 7},
    "split": {"folds": 2, "test_fraction": 0.5},
    "methods": ["teacher", "student"],
    "subsets": ["t1ce+flair"],
    "budget": "smoke",
}
RUNS = (("teacher", "t1+t1ce+t2+flair"), ("student", "t1ce+flair"))
MEGABYTE = 2**20  # a checkpoint's size: what a second copy would cost shows


def make_repository(folder: Path) -> Path:
    """A git repository with the project's workflow and no result."""
    copy_workflow(folder)
    for name in ("config.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "results/.gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "config", "user.name", "A Person")
    git(folder, "config", "user.email", "a@example.org")
    save(folder, "The project")
    return folder


def add_experiment(repository: Path) -> None:
    """Write a finished experiment into a repository; Snakemake has nothing to do for it."""
    experiment = repository / "results" / NAME
    config = configs.resolve(GIVEN)
    write_yaml(experiment / "config.yaml", config.plain())
    write_json(experiment / "versions.json", {"crossmodal": "0.1.0", "torch": "2.13.0"})
    for part in ("raw", "preprocessed"):
        write_json(experiment / "nnunet" / part / "Dataset001_Crossmodal" / "dataset.json", {"part": part})
    for method, modalities in RUNS:
        write_model(experiment / "models" / method / modalities / "seed0", method, modalities, config)
        predictions = experiment / "predictions" / "phantom-a" / method / modalities / "seed0" / "fold_0"
        predictions.mkdir(parents=True)
        for case in ("case_2", "case_3"):
            nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), predictions / f"{case}.nii.gz")
    write_tables(experiment)
    found = Graph(repository, GIVEN)
    outputs = [output.path for output in found.outputs() if output.path.startswith("results/")]
    for path in (repository / output for output in outputs):
        if not path.exists():  # scores, pictures and the like
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{path.name}\n")
    found.mark_fresh(outputs)
    assert due(repository) == {}


def write_tables(experiment: Path) -> None:
    """cases.csv and summary.csv, which the model cards read."""
    cases = [
        {"cohort": "phantom-a", "case": f"case_{k}", "patient": f"case_{k}", "release": "brats2020"}
        | {"split": "train" if k < 2 else "test", "fold": str(k) if k < 2 else ""}
        | {name: f"images/case_{k}_{name}.nii" for name in ("t1", "t1ce", "t2", "flair", "seg")}
        | {"sha256": str(k)}
        for k in range(4)
    ]
    rows = [
        {"cohort": "phantom-a", "method": method, "modalities": modalities, "region": region, "n": 2}
        | {"dice_mean": 0.5, "dice_ci_low": 0.25, "dice_ci_high": 0.75, "hd95_mean_mm": 12.0, "hd95_median_mm": 11.0}
        for method, modalities in RUNS
        for region in ("WT", "TC", "ET")
    ]
    for path, table in ((experiment / "cohort" / "cases.csv", cases), (experiment / "tables" / "summary.csv", rows)):
        path.parent.mkdir()
        pd.DataFrame(table).to_csv(path, index=False)


def write_model(folder: Path, method: str, modalities: str, config: Resolved) -> None:
    recipe = config.recipes[method].plain()
    identity = {
        "weights_sha256": "e" * 64,
        "method": method,
        "recipe": recipe,
        "recipe_sha256": sha256_of(recipe),
        "modalities": modalities,
        "seed": 0,
        "fold": 0,
        "dataset_sha256": "d" * 64,
    }
    cost = {"method": method, "modalities": modalities, "train_s": 5, "step_ms": 4, "peak_mem_mb": 6, "device": "cpu"}
    fold = folder / "fold_0"
    write_json(folder / "plans.json", {"channels": modalities})
    write_json(fold / "manifest.json", identity)
    write_json(fold / "cost.json", cost)
    (fold / "checkpoint_final.pth").write_bytes(random.Random(method).randbytes(MEGABYTE))
    (fold / "progress.csv").write_text("epoch,step,resumed_from,time,loss\n1,4,0,1.0,0.5\n")
    (fold / "training_log.txt").write_text("a log that nnU-Net opens in place\n")
    (fold / ".lock").touch()


def save(repository: Path, message: str) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", message)


def git(folder: Path, *arguments: str | Path) -> str:
    """Run git; no settings of this machine's user take part."""
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def crossmodal(folder: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a command of the project in a repository."""
    command = [sys.executable, "-m", "crossmodal.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)


def fresh_clone(repository: Path, folder: Path) -> Path:
    """A clone as on another machine: no cache, no .snakemake, and files in any order of time."""
    git(folder.parent, "clone", "--quiet", repository, folder)
    now, chance = time.time(), random.Random(1)
    for path in sorted((folder / "results").rglob("*")):
        os.utime(path, (now, now - chance.uniform(0, 1e6)))
    return folder


def graph(repository: Path, **changes: Any) -> Graph:
    """The graph of the config that was given for the experiment, with changes."""
    resolved = configs.read_resolved(repository / "results" / NAME / "config.yaml")
    return Graph(repository, given_part(resolved) | changes)


def due(repository: Path, **changes: Any) -> Counter[str]:
    """How many files of each rule Snakemake would make again."""
    return Counter(output.rule for output in graph(repository, **changes).outputs() if output.due)


def bytes_on_disk(*folders: Path) -> int:
    """Bytes of all files, those with several names counted once."""
    statuses = [path.lstat() for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sum({(one.st_dev, one.st_ino): one.st_size for one in statuses}.values())


def content_of(folder: Path, leave_out: Container[str] = ()) -> dict[str, bytes]:
    """Every file below a folder, without the names in `leave_out` and Snakemake's time stamps."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in leave_out and path.name != ".snakemake_timestamp"
    }


def objects_of(pointer: Path, store: Path) -> list[Path]:
    """The objects that a pointer names, in a cache or a remote that is a folder."""
    found = []
    for out in yaml.safe_load(pointer.read_text())["outs"]:
        hashes = [out["md5"]]
        if out["md5"].endswith(".dir"):
            hashes += [entry["md5"] for entry in json.loads(object_in(store, out["md5"]).read_text())]
        found += [object_in(store, md5) for md5 in hashes]
    return found


def object_in(store: Path, md5: str) -> Path:
    return store / "files" / "md5" / md5[:2] / md5[2:]


def flip_a_byte(path: Path, keep_time: bool = False) -> None:
    """Change one byte in place, through every name that the file has."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
