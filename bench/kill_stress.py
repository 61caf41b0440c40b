"""Kill trainings at random moments, run the same command again, and compare the results.

python bench/kill_stress.py [--kills 20] [--seed 0]      about 10 minutes on 2 cores; prints one table

Four methods, one for each kind of state: a teacher that learns beside the student, a frozen teacher, a learnt
projection, modalities dropped at random with batches from two worker processes. Each is trained once without a kill
and once with kills (SIGKILL, at a time drawn uniformly between the start and the end of the process). After every
fourth kill the newest state is cut at a random byte. The last column compares weights (by hash), correlation matrices,
the loss terms of progress.csv and a prediction's bytes.
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

import pandas as pd
import torch
from dataset import make_dataset
from measure import markdown_row, markdown_table

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.domain import ALL
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.budget import Budget
from crossmodal.files import write_yaml
from crossmodal.nnunet.predict import Predictor

BUDGET = Budget(
    title="kill stress",
    epochs=60,
    steps_per_epoch=6,
    val_steps_per_epoch=1,
    spacing=[6, 6, 6],
    patch_size=[16, 16, 16],
    batch_size=2,
    features=[4, 8, 8],
    mirroring=False,
    threads=1,
    loader_workers=0,
    save_every_minutes=0.005,  # 0.3 s: as many saves in seconds as a real training has in hours
)
PHANTOMS, SPLIT = "--cases 6 --spacing 6 --seed 7 --workers 1", "--test-fraction 0.17 --folds 2"
METHODS = {
    "choi2023": ("t1ce+flair", 0),
    "hinton2015": ("t2", 0),
    "romero2015": ("t1ce+flair", 0),
    "modality_dropout": (ALL, 2),
}
HEADER = (
    *("method", "seconds", "kills", "before a state / after one / at the end", "states cut, fallen back"),
    *("oldest state at a kill", "resumed from steps", "same bytes"),
)


@dataclass
class Outcome:
    """What happened to one method."""

    kills: list[str] = field(default_factory=list)  # where the training stood at each kill
    resumed_from: set[int] = field(default_factory=set)  # steps, of the processes that finished an epoch
    oldest_s: float = 0.0  # highest age of the newest state at a kill
    cut: int = 0
    fell_back: int = 0
    same: bool = True  # for every training that ended


@dataclass
class Task:
    """The training of one method."""

    method: str
    dataset: Path
    out: Path  # model folder
    teacher: Path | None = None  # model folder of a teacher trained beforehand

    @property
    def fold(self) -> Path:
        """Folder of the fold."""
        return self.out / "fold_0"

    @property
    def messages(self) -> str:
        """What its processes have printed."""
        return (self.out / "messages.log").read_text(encoding="utf-8")

    def start(self) -> subprocess.Popen:
        """Start the training, or resume it; its messages go beside the model."""
        modalities, workers = METHODS.get(self.method, (ALL, 0))
        self.out.mkdir(parents=True, exist_ok=True)
        write_yaml(self.out / "budget.yaml", BUDGET.replaced(loader_workers=workers).plain())
        options = {"method": self.method, "modalities": modalities, "device": "cpu", "dataset": self.dataset}
        options |= {"out": self.out, "budget": self.out / "budget.yaml"}
        options |= {"teacher": self.teacher} if self.teacher else {}
        command = [sys.executable, "-m", "crossmodal.cli", "train"]
        command += [f"--{name}={value}" for name, value in options.items()]
        with (self.out / "messages.log").open("a", encoding="utf-8") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def finish(self) -> float:
        """Train to the end; returns the seconds that the process took."""
        began = time.monotonic()
        self.require(self.start().wait())
        return time.monotonic() - began

    def require(self, status: int) -> None:
        """Raise SystemExit with the messages when a process failed."""
        if status:
            sys.exit(self.messages)

    def progress(self) -> list[dict[str, str]]:
        """Rows of progress.csv."""
        return list(csv.DictReader((self.fold / "progress.csv").open(newline="", encoding="utf-8")))


def stress(task: Task, seconds: float, kills: int, chance: random.Random, case: pd.Series, expected: dict) -> Outcome:
    """Train with kills at any time within the seconds that a training takes; one that ends before is started anew."""
    outcome = Outcome()
    newest = task.fold / "state" / "state.pt"

    def judge() -> None:
        outcome.resumed_from |= {int(row["resumed_from"]) for row in task.progress()}
        outcome.same = outcome.same and results(task, case) == expected

    while len(outcome.kills) < kills:
        process = task.start()
        try:
            process.wait(chance.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            note(outcome, task.fold, newest)
            if outcome.kills[-1] == "at the end":
                task.finish()  # finds it finished
                judge()
                shutil.rmtree(task.fold)
            if len(outcome.kills) % 4 == 0 and newest.exists():
                os.truncate(newest, chance.randrange(newest.stat().st_size))
                outcome.cut += 1
        else:
            task.require(process.returncode)
            judge()
            shutil.rmtree(task.fold)
    task.finish()
    judge()
    outcome.fell_back = task.messages.count("damaged or cut short")
    return outcome


def note(outcome: Outcome, fold: Path, newest: Path) -> None:
    """Record where the training stood when it was killed."""
    if newest.exists():
        outcome.oldest_s = max(outcome.oldest_s, time.time() - newest.stat().st_mtime)
        outcome.kills.append("after a state")
    else:
        outcome.kills.append("at the end" if (fold / "manifest.json").exists() else "before the first state")


def results(task: Task, case: pd.Series) -> dict:
    """What must be the same; the case of cases.csv is predicted."""
    correlation = task.fold / "correlation.npz"
    predictor = Predictor(task.out, [0], torch.device("cpu"))
    predictor.write({name: case[name] for name in predictor.modalities}, task.out / "seg.nii.gz", None)
    return {
        "manifest": (task.fold / "manifest.json").read_bytes(),
        "correlation": correlation.read_bytes() if correlation.exists() else None,
        "prediction": (task.out / "seg.nii.gz").read_bytes(),
        "terms": [{k: v for k, v in row.items() if k not in ("time", "resumed_from")} for row in task.progress()],
    }


def main() -> None:
    """Run the stress and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    print(markdown_table(HEADER), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_yaml(folder / "budget.yaml", BUDGET.plain())
        cases = read_cases(make_dataset(folder, str(folder / "budget.yaml"), PHANTOMS, SPLIT))
        case = cases[cases["split"] == "test"].iloc[0]
        dataset = folder / "nnunet"
        Task("teacher", dataset, folder / "teacher").finish()
        for method in METHODS:
            teacher = folder / "teacher" if recipes.load(method).teacher_trained == "beforehand" else None
            whole = Task(method, dataset, folder / "one" / method, teacher)
            seconds, expected = whole.finish(), results(whole, case)
            killed = Task(method, dataset, folder / "many" / method, teacher)
            found = stress(killed, seconds, options.kills // len(METHODS), chance, case, expected)
            where = [found.kills.count(place) for place in ("before the first state", "after a state", "at the end")]
            cells = (
                *(method, f"{seconds:.1f}", len(found.kills), " / ".join(map(str, where))),
                *(f"{found.cut}, {found.fell_back}", f"{found.oldest_s:.1f} s"),
                *(", ".join(map(str, sorted(found.resumed_from))), "yes" if found.same else "NO"),
            )
            print(markdown_row(cells), flush=True)


if __name__ == "__main__":
    main()
