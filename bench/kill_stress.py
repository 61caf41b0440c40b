"""Kill trainings at random moments, run the same command again, and compare what comes out.

python bench/kill_stress.py [--kills 20] [--seed 0]      about 10 minutes on 2 cores; prints one table

Four methods, one for each kind of state: a teacher that learns beside the student, a frozen teacher, a learnt
projection, modalities dropped at random with batches from two worker processes. Each is trained once in one go and
once through kills (SIGKILL, at a time drawn uniformly over the whole process from its start to its end); after
every fourth kill the newest state is cut at a random byte. The last column compares weights (by hash), correlation
matrices, the loss terms of progress.csv and a prediction's bytes.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
BUDGET = {
    "title": "kill stress",
    "epochs": 60,
    "steps_per_epoch": 6,
    "val_steps_per_epoch": 1,
    "spacing": [6, 6, 6],
    "patch_size": [16, 16, 16],
    "batch_size": 2,
    "features": [4, 8, 8],
    "mirroring": False,
    "threads": 1,
    "loader_workers": 0,
    "memory_format": "contiguous",
    "precision": "default",
    "compile": False,
    "save_every_minutes": 0.005,  # 0.3 s: as many saves in seconds as a real training has in hours
    "memory_gb": 1,
    "runtime_hours": 0.1,
}
METHODS = {
    "choi2023": ("t1ce+flair", 0),
    "hinton2015": ("t2", 0),
    "romero2015": ("t1ce+flair", 0),
    "modality_dropout": ("t1+t1ce+t2+flair", 2),
}


@dataclass
class Outcome:
    """What happened to one method."""

    kills: list[str] = field(default_factory=list)  # where the training stood at each kill
    resumed_from: set[int] = field(default_factory=set)  # steps, of the processes that finished an epoch
    oldest_s: float = 0.0  # age of the newest state at a kill, at most
    cut: int = 0
    fell_back: int = 0
    same: bool = True  # of every training that came to its end


def train(method: str, dataset: Path, out: Path, teacher: Path | None) -> None:
    """The training itself, in a process of its own."""
    import torch
    import yaml
    from crossmodal.experiment import recipe as recipes
    from crossmodal.train.job import Training
    from crossmodal.train.job import train as run

    schema = yaml.safe_load((WORKFLOW / "schemas" / "recipe.schema.yaml").read_text(encoding="utf-8"))
    recipe = recipes.load(method, [WORKFLOW / "methods"], schema)
    modalities, workers = METHODS.get(method, ("t1+t1ce+t2+flair", 0))
    budget = BUDGET | {"loader_workers": workers}
    run(Training(method, recipe, modalities, 0, 0, budget, dataset, out, teacher), torch.device("cpu"))


def start(method: str, dataset: Path, out: Path, teacher: Path | None) -> subprocess.Popen:
    """Start `train` in another process; its messages go beside the model."""
    command = [
        sys.executable,
        __file__,
        "--train",
        method,
        str(dataset),
        str(out),
        *([str(teacher)] if teacher else []),
    ]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "messages.log").open("a", encoding="utf-8") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def trained(method: str, dataset: Path, out: Path, teacher: Path | None) -> float:
    """Train in one go; returns the seconds that the process took."""
    began = time.monotonic()
    if start(method, dataset, out, teacher).wait():
        sys.exit((out / "messages.log").read_text(encoding="utf-8"))
    return time.monotonic() - began


def stress(
    method: str, dataset: Path, out: Path, teacher: Path | None, seconds: float, kills: int, chance: random.Random,
    case: Path, expected: dict,
) -> Outcome:  # fmt: skip
    """Train through so many kills, starting anew when a training ends before its kill."""
    outcome = Outcome()
    newest, fold = out / "fold_0" / "state" / "state.pt", out / "fold_0"

    def judge() -> None:
        outcome.resumed_from |= {int(row["resumed_from"]) for row in progress(out)}
        outcome.same = outcome.same and results(out, case) == expected

    while len(outcome.kills) < kills:
        process = start(method, dataset, out, teacher)
        try:
            process.wait(chance.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            note(outcome, fold, newest)
            if outcome.kills[-1] == "at the end":
                trained(method, dataset, out, teacher)  # finds it finished
                judge()
                shutil.rmtree(fold)
            if len(outcome.kills) % 4 == 0 and newest.exists():
                os.truncate(newest, chance.randrange(newest.stat().st_size))
                outcome.cut += 1
        else:
            if process.returncode:
                sys.exit((out / "messages.log").read_text(encoding="utf-8"))
            judge()
            shutil.rmtree(fold)
    trained(method, dataset, out, teacher)
    judge()
    outcome.fell_back = (out / "messages.log").read_text(encoding="utf-8").count("damaged or cut short")
    return outcome


def note(outcome: Outcome, fold: Path, newest: Path) -> None:
    """Write down where the training stood when it was killed."""
    if newest.exists():
        outcome.oldest_s = max(outcome.oldest_s, time.time() - newest.stat().st_mtime)
        outcome.kills.append("after a state")
    else:
        outcome.kills.append("at the end" if (fold / "manifest.json").exists() else "before the first state")


def progress(out: Path) -> list[dict[str, str]]:
    """Rows of progress.csv."""
    return list(csv.DictReader((out / "fold_0" / "progress.csv").open(newline="", encoding="utf-8")))


def results(out: Path, case: Path) -> dict:
    """What must be the same."""
    import torch
    from crossmodal.nnunet.predict import Predictor

    fold = out / "fold_0"
    correlation = fold / "correlation.npz"
    predictor = Predictor(out, [0], torch.device("cpu"))
    images = {name: case / f"{case.name}_{name}.nii" for name in predictor.modalities}
    predictor.write(images, out / "seg.nii.gz", None)
    return {
        "manifest": (fold / "manifest.json").read_bytes(),
        "correlation": correlation.read_bytes() if correlation.exists() else None,
        "prediction": (out / "seg.nii.gz").read_bytes(),
        "terms": [{k: v for k, v in row.items() if k not in ("time", "resumed_from")} for row in progress(out)],
    }


def make_dataset(folder: Path) -> tuple[Path, Path]:
    """A dataset of six phantoms, five for training; and the folder of the sixth."""
    import pandas as pd
    from crossmodal.phantom import write_cohort
    from crossmodal.nnunet.dataset import build

    phantoms = write_cohort(folder / "phantoms", 6, 6.0, 7, "A", 1)
    rows = [
        {"cohort": "stress", "case": case.name, "patient": case.name, "release": "brats2020", "split": "train"}
        | {"fold": str(number % 2), "sha256": "0"}
        | {name: str(case / f"{case.name}_{name}.nii") for name in ("t1", "t1ce", "t2", "flair", "seg")}
        for number, case in enumerate(phantoms[:5])
    ]
    build(pd.DataFrame(rows), folder / "nnunet", BUDGET)
    return folder / "nnunet", phantoms[5]


def main() -> None:
    """Run the stress and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", nargs="+", type=str, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        method, dataset, out, *teacher = options.train
        train(method, Path(dataset), Path(out), Path(teacher[0]) if teacher else None)
        return
    chance = random.Random(options.seed)
    print("| method | seconds | kills | before a state / after one / at the end | states cut, fallen back | "
          "oldest state at a kill | resumed from steps | same bytes |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        dataset, case = make_dataset(folder)
        trained("teacher", dataset, folder / "teacher", None)
        for method in METHODS:
            teacher = folder / "teacher" if method in ("hinton2015", "romero2015") else None
            seconds = trained(method, dataset, folder / "one" / method, teacher)
            share = options.kills // len(METHODS)
            expected = results(folder / "one" / method, case)
            found = stress(method, dataset, folder / "many" / method, teacher, seconds, share, chance, case, expected)
            where = [found.kills.count(place) for place in ("before the first state", "after a state", "at the end")]
            print(
                f"| {method} | {seconds:.1f} | {len(found.kills)} | {' / '.join(map(str, where))} | "
                f"{found.cut}, {found.fell_back} | {found.oldest_s:.1f} s | "
                f"{', '.join(map(str, sorted(found.resumed_from)))} | {'yes' if found.same else 'NO'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
