"""A small clone of the project with a finished experiment: every output of the real graph, few bytes each."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import yaml

from crossmodal.experiment import config as configs
from crossmodal.experiment import recorded
from crossmodal.experiment.config import Resolved
from crossmodal.files import sha256_of, write_json, write_yaml
from crossmodal.publishing.graph import Graph
from tests.conftest import REPOSITORY

NAME = "small"
COPIED = (
    "Snakefile",
    "config.yaml",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
    "results/.gitignore",
)
FOLDERS = ("workflow", "profiles", "envs")
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
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    for name in FOLDERS:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "config", "user.name", "A Person")
    git(folder, "config", "user.email", "a@example.org")
    save(folder, "The project")
    return folder


def add_experiment(repository: Path) -> Path:
    """Write a finished experiment into a repository; Snakemake has nothing to do for it."""
    experiment = repository / "results" / NAME
    config = configs.resolve(GIVEN)
    write_yaml(experiment / "config.yaml", config.plain())
    write_json(experiment / "versions.json", {"crossmodal": "0.1.0", "torch": "2.13.0"})
    write_cases(experiment / "cohort")
    write_json(experiment / "nnunet" / "manifest.json", {"dataset_sha256": "d" * 64})
    for part in ("raw", "preprocessed"):
        write_json(experiment / "nnunet" / part / "Dataset001_Crossmodal" / "dataset.json", {"part": part})
    for method, modalities in RUNS:
        write_model(experiment / "models" / method / modalities / "seed0", method, modalities, config)
        write_predictions(experiment, f"phantom-a/{method}/{modalities}/seed0")
    write_tables(experiment)
    graph = Graph(repository, GIVEN)
    outputs = [repository / output.path for output in graph.outputs() if output.path.startswith("results/")]
    for path in outputs:
        if not path.exists():  # pictures and the like
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{path.name}\n")
    graph.mark_fresh([str(path.relative_to(repository)) for path in outputs])
    assert graph.jobs_due() == {}
    return experiment


def write_cases(folder: Path) -> None:
    rows = [
        {"cohort": "phantom-a", "case": f"case_{k}", "patient": f"case_{k}", "release": "brats2020"}
        | {"split": "train" if k < 2 else "test", "fold": str(k) if k < 2 else ""}
        | {name: f"images/case_{k}_{name}.nii" for name in ("t1", "t1ce", "t2", "flair", "seg")}
        | {"sha256": str(k)}
        for k in range(4)
    ]
    folder.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    (folder / "problems.csv").write_text("case,file,severity,problem,remedy\n")


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


def write_predictions(experiment: Path, run: str) -> None:
    folder = experiment / "predictions" / run / "fold_0"
    folder.mkdir(parents=True)
    for case in ("case_2", "case_3"):
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), folder / f"{case}.nii.gz")
    scores = experiment / "scores" / run
    scores.mkdir(parents=True)
    (scores / "fold_0.csv").write_text("case,region,dice\ncase_2,WT,0.5\n")


def write_tables(experiment: Path) -> None:
    rows = [
        {"cohort": "phantom-a", "method": method, "modalities": modalities, "region": region, "n": 2}
        | {"dice_mean": 0.5, "dice_ci_low": 0.25, "dice_ci_high": 0.75, "hd95_mean_mm": 12.0, "hd95_median_mm": 11.0}
        for method, modalities in RUNS
        for region in ("WT", "TC", "ET")
    ]
    (experiment / "tables").mkdir()
    pd.DataFrame(rows).to_csv(experiment / "tables" / "summary.csv", index=False)
    for name in ("per_case", "comparisons", "cost"):
        (experiment / "tables" / f"{name}.csv").write_text("cohort\nphantom-a\n")
    for folder, name in (("figure_data", "curves.csv"), ("figures", "index.json")):
        (experiment / folder).mkdir()
        (experiment / folder / name).write_text("[]\n")
    (experiment / "report.html").write_text("<p>a report</p>\n")


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
    shuffle_times(folder / "results")
    return folder


def shuffle_times(folder: Path) -> None:
    now, chance = time.time(), random.Random(1)
    for path in sorted(folder.rglob("*")):
        os.utime(path, (now, now - chance.uniform(0, 1e6)))


def given_part(experiment: Path) -> dict:
    """The config that was given for an experiment."""
    return recorded.given_part(configs.read_resolved(experiment / "config.yaml"))


def bytes_on_disk(*folders: Path) -> int:
    """Bytes of all files, those with several names counted once."""
    statuses = [path.lstat() for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sum({(one.st_dev, one.st_ino): one.st_size for one in statuses}.values())


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, Snakemake's time stamps aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".snakemake_timestamp"
    }


def objects_of(pointer: Path, cache: Path) -> list[Path]:
    """The objects that a pointer names, in a cache or a remote that is a folder."""
    found = []
    for out in yaml.safe_load(pointer.read_text())["outs"]:
        path = object_in(cache, out["md5"])
        found.append(path)
        if out["md5"].endswith(".dir"):
            found += [object_in(cache, entry["md5"]) for entry in json.loads(path.read_text())]
    return found


def object_in(store: Path, md5: str) -> Path:
    return store / "files" / "md5" / md5[:2] / md5[2:]


def hash_of(stored: Path) -> str:
    """The hash that an object's path spells."""
    return "".join(stored.parts[-2:])


def flip_a_byte(path: Path, keep_time: bool = False) -> None:
    """Change one byte in place, through every name that the file has."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(before.st_size // 2)
        byte = stream.read(1)
        stream.seek(before.st_size // 2)
        stream.write(bytes([byte[0] ^ 1]))
    path.chmod(0o444)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
