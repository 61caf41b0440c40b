"""Kill trainings at random moments, run the same command again, and compare the results.

python bench/kill_stress.py [--kills 20] [--seed 0]      about 10 minutes on 2 cores; prints one table

Four methods, one for each kind of state: a teacher that learns beside the student, a frozen teacher, a learnt
projection, modalities dropped at random with batches from two worker processes. Each is trained once without a kill
and once with kills (SIGKILL, at a time drawn uniformly between the start and the end of the process). After every
fourth kill the newest state is cut at a random byte. The last column compares weights (by hash), correlation matrices,
the loss terms of progress.csv and a prediction's bytes.
"""

import csv
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import typer
from measure import Data, markdown_row, markdown_table

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.domain import ALL
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.budget import load_budget
from crossmodal.files import write_yaml
from crossmodal.nnunet.predict import Predictor

BUDGET = load_budget("smoke").replaced(
    epochs=60,
    steps_per_epoch=6,
    spacing=[6, 6, 6],
    patch_size=[16, 16, 16],
    features=[4, 8, 8],
    save_every_minutes=0.005,  # 0.3 s: as many saves in seconds as a real training has in hours
)
DATA = Data(BUDGET, "--cases 6 --spacing 6 --seed 7 --workers 1", "--test-fraction 0.17 --folds 2")
METHODS = {
    "choi2023": ("t1ce+flair", 0),
    "hinton2015": ("t2", 0),
    "romero2015": ("t1ce+flair", 0),
    "modality_dropout": (ALL, 2),
}
PLACES = ("before the first state", "after a state", "at the end")
HEADER = (
    *("method", "seconds", "kills", "before a state / after one / at the end", "states cut, fallen back"),
    *("oldest state at a kill", "resumed from steps", "same bytes"),
)


@dataclass
class Task:
    """The training of one method, and what happened to it."""

    method: str
    dataset: Path
    case: dict[str, str]  # a row of cases.csv, to predict
    out: Path  # model folder
    teacher: Path | None = None  # model folder of a teacher trained beforehand
    kills: list[str] = field(default_factory=list)  # where the training stood at each, one of `PLACES`
    resumed_from: set[int] = field(default_factory=set)  # steps, of the processes that finished an epoch
    oldest_s: float = 0.0  # highest age of the newest state at a kill
    cut: int = 0

    def __post_init__(self) -> None:
        self.fold, self.newest = self.out / "fold_0", self.out / "fold_0" / "state" / "state.pt"
        self.log, self.budget = self.out / "messages.log", self.out / "budget.yaml"
        self.modalities, workers = METHODS.get(self.method, (ALL, 0))
        write_yaml(self.budget, BUDGET.replaced(loader_workers=workers).plain())

    def start(self) -> subprocess.Popen:
        """Start the training, or resume it; its messages go beside the model."""
        options = {"method": self.method, "modalities": self.modalities, "device": "cpu", "dataset": self.dataset}
        options |= {"out": self.out, "budget": self.budget} | ({"teacher": self.teacher} if self.teacher else {})
        command = [sys.executable, "-m", "crossmodal.cli", "train"]
        command += [f"--{name}={value}" for name, value in options.items()]
        with self.log.open("a", encoding="utf-8") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def require(self, process: subprocess.Popen) -> None:
        """Wait for the end of a process.

        Raises:
            SystemExit: it failed; with all messages.
        """
        if process.wait():
            sys.exit(self.log.read_text(encoding="utf-8"))

    def results(self) -> dict:
        """What must be the same, once the training has ended."""
        rows = list(csv.DictReader((self.fold / "progress.csv").open(newline="", encoding="utf-8")))
        self.resumed_from |= {int(row["resumed_from"]) for row in rows}
        correlation, prediction = self.fold / "correlation.npz", self.out / "seg.nii.gz"
        predictor = Predictor(self.out, [0], torch.device("cpu"))
        predictor.write({name: self.case[name] for name in predictor.modalities}, prediction, None)
        return {
            "manifest": (self.fold / "manifest.json").read_bytes(),
            "correlation": correlation.read_bytes() if correlation.exists() else None,
            "prediction": prediction.read_bytes(),
            "terms": [{k: v for k, v in row.items() if k not in ("time", "resumed_from")} for row in rows],
        }

    def kill(self, process: subprocess.Popen, chance: random.Random) -> None:
        """Kill the process, note where the training stood, and cut its state after every fourth kill."""
        process.kill()
        process.wait()
        ended = (self.fold / "manifest.json").exists()
        self.kills.append(PLACES[1] if self.newest.exists() else PLACES[2] if ended else PLACES[0])
        if self.newest.exists():
            self.oldest_s = max(self.oldest_s, time.time() - self.newest.stat().st_mtime)
            if len(self.kills) % 4 == 0:
                os.truncate(self.newest, chance.randrange(self.newest.stat().st_size))
                self.cut += 1


def stress(task: Task, seconds: float, kills: int, chance: random.Random, expected: dict) -> bool:
    """Train with kills at any time within the seconds that a training takes; whether all results are as expected.

    A training that ends before its kill is started anew.
    """
    same = True
    while len(task.kills) < kills:
        process = task.start()
        try:
            process.wait(chance.uniform(0, seconds))
            task.require(process)
        except subprocess.TimeoutExpired:
            task.kill(process, chance)
            if task.kills[-1] != PLACES[2]:
                continue
            task.require(task.start())  # finds it finished
        same = task.results() == expected and same
        shutil.rmtree(task.fold)
    task.require(task.start())
    return task.results() == expected and same


def main(kills: int = 20, seed: int = 0) -> None:
    """Kill trainings at random moments, and print a table."""
    chance = random.Random(seed)
    print(markdown_table(HEADER), flush=True)
    with DATA.built() as (folder, cases, _):
        rows = read_cases(cases)
        case, dataset = rows[rows["split"] == "test"].iloc[0].to_dict(), folder / "nnunet"
        teacher = Task("teacher", dataset, case, folder / "teacher")
        teacher.require(teacher.start())
        for method in METHODS:
            beforehand = teacher.out if recipes.load(method).teacher_trained == "beforehand" else None
            whole, killed = (Task(method, dataset, case, folder / n / method, beforehand) for n in ("one", "many"))
            began = time.monotonic()
            whole.require(whole.start())
            seconds = time.monotonic() - began
            same = stress(killed, seconds, kills // len(METHODS), chance, whole.results())
            fallen_back = killed.log.read_text(encoding="utf-8").count("damaged or cut short")
            cells = (
                *(method, f"{seconds:.1f}", len(killed.kills), " / ".join(str(killed.kills.count(p)) for p in PLACES)),
                *(f"{killed.cut}, {fallen_back}", f"{killed.oldest_s:.1f} s"),
                *(", ".join(map(str, sorted(killed.resumed_from))), "yes" if same else "NO"),
            )
            print(markdown_row(cells), flush=True)


if __name__ == "__main__":
    typer.run(main)
