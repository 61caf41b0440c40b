"""The controls of the reference study that are no recipe: what else could explain a gain, or give it for the same cost.

    python bench/study_controls.py train results/seed0 --into results/reference_study [--only two_students]

From a run of workflow/reference_study.yaml that has teacher, student and student_again, for each of its seeds, as
docs/study.md has them:

- two_students, on T1 and T1ce + FLAIR: the mean of the outputs of `student` and `student_again`;
- student_200_phantoms, the same: `student` trained on 100 phantoms more;
- student_2000_steps, the same: `student` trained twice as long;
- student_with_logits, on T1: a network that is given the teacher's output for WT, TC and ET as further channels.

Scores of each case go into INTO/controls/<run>-<control>.csv.gz, from where `crossmodal merge` takes them as methods of
the experiment; a control that is there is not trained.

    python bench/study_controls.py patients results/seed0 --into results/reference_study --name seed0-1

`patients` writes Dice of every network of a run in real patients, where `real_patients.py` finds some, into
INTO/patients/<name>.csv.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
import typer
from real_patients import DEVICE, dice_of_subsets, patients

from crossmodal.cohort.cases_csv import left_out, read_cases
from crossmodal.device import keep_freed_memory
from crossmodal.domain import ALL, MODALITIES, REGIONS, parse_subset
from crossmodal.evaluate.per_case import COLUMNS, write_table
from crossmodal.evaluate.score import score_folder
from crossmodal.experiment import layout
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.budget import Budget
from crossmodal.experiment.config import read_resolved
from crossmodal.experiment.layout import Training
from crossmodal.experiment.runs import scored_subsets
from crossmodal.files import atomic_path
from crossmodal.nnunet.dataset import build
from crossmodal.nnunet.predict import Predictor
from crossmodal.phantom import write_cohort
from crossmodal.progress import track
from crossmodal.train.job import TrainingJob, train

app = typer.Typer()
SUBSETS = ("t1", "t1ce+flair")
MORE_PHANTOMS = 100
INTO = Path("results/reference_study")
# The channels beside T1 that take the teacher's output for a region.
OUTPUTS = dict(zip(("t1ce", "t2", "flair"), REGIONS, strict=True))


class Run:
    """A finished run of the study, and where its controls are trained."""

    def __init__(self, experiment: Path) -> None:
        self.experiment = experiment
        self.config = read_resolved(experiment / "config.yaml")
        self.cases = read_cases(experiment / layout.CASES)
        self.place = experiment / "controls"

    def model(self, method: str, modalities: str, seed: int) -> Path:
        """The folder of a trained model of the run."""
        return self.experiment / Training(method, modalities, seed, 0).path(layout.MODEL)

    def trained(self, name: str, method: str, subset: str, seed: int, dataset: Path, budget: Budget) -> Path:
        """Train a control, as far as it is not there; its model folder."""
        out = self.place / name / subset / f"seed{seed}"
        train(TrainingJob(method, recipes.load(method), subset, 0, seed, budget, dataset, out), DEVICE)
        return out

    def scores(self, model: Path, name: str, subset: str, seed: int, cases: pd.DataFrame, shown: str) -> pd.DataFrame:
        """Rows of per_case.csv: the model's segmentations of the cases that the study scores.

        Args:
            model: the folder; the outputs of its folds are averaged.
            name: of the control, its method in the table.
            subset: under which its rows stand.
            seed: of the training.
            cases: cases.csv, with the images that the network is given.
            shown: the modalities that they are called.
        """
        predictor, rows = Predictor(model, None, DEVICE), []
        for cohort in self.config.cohorts:
            of_cohort = cases[(cases["cohort"] == cohort) & ~left_out(cases)]
            folder = self.place / "predictions" / cohort / name / subset / f"seed{seed}"
            for row in track(list(of_cohort.itertuples()), f"cases predicted, {name}"):
                file = folder / f"{row.case}.nii.gz"
                if not file.is_file():
                    file.parent.mkdir(parents=True, exist_ok=True)
                    predictor.write({image: getattr(row, image) for image in parse_subset(shown)}, file, row.release)
            found = score_folder(folder, self.experiment / layout.CASES, folder.with_suffix(".csv"), cohort)
            found = found.assign(cohort=cohort, method=name, modalities=subset, seed=seed, fold=0)
            rows.append(found.merge(of_cohort[["case", "patient", "split"]], on="case"))
        return pd.concat(rows)[COLUMNS]


def two_students(run: Run, seed: int) -> pd.DataFrame:
    """The mean of two students' outputs, as nnU-Net averages those of folds."""
    rows = []
    for subset in SUBSETS:
        folder = run.place / "two_students" / subset / f"seed{seed}"
        for fold, method in enumerate(("student", "student_again")):
            one = run.model(method, subset, seed)
            shutil.copytree(one / "fold_0", folder / f"fold_{fold}", dirs_exist_ok=True)
        for name in ("plans.json", "dataset.json"):
            shutil.copy(run.model("student", subset, seed) / name, folder)
        rows.append(run.scores(folder, "two_students", subset, seed, run.cases, subset))
    return pd.concat(rows)


def more_phantoms(run: Run, seed: int) -> pd.DataFrame:
    """The student, trained on more phantoms of the same cohort."""
    phantom, dataset = run.config.phantom, run.place / "nnunet-more"
    if not (dataset / "manifest.json").is_file():
        folder = run.place / "phantoms"
        write_cohort(folder, phantom.cases + MORE_PHANTOMS, phantom.spacing, phantom.seed, phantom.site, 2)
        known = set(run.cases["case"])
        new = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name not in known]
        table = {"cohort": run.config.cohorts[0], "case": [path.name for path in new]}
        table |= {"patient": table["case"], "release": run.cases["release"].iloc[0], "split": "train", "fold": "1"}
        table |= {image: [str(path / f"{path.name}_{image}.nii") for path in new] for image in (*MODALITIES, "seg")}
        build(pd.concat([run.cases, pd.DataFrame(table)]).fillna("0"), dataset, run.config.budget_settings)
    name, budget, rows = "student_200_phantoms", run.config.budget_settings, []
    for subset in SUBSETS:
        model = run.trained(name, "student", subset, seed, dataset, budget)
        rows.append(run.scores(model, name, subset, seed, run.cases, subset))
    return pd.concat(rows)


def more_steps(run: Run, seed: int) -> pd.DataFrame:
    """The student, trained twice as long."""
    budget = run.config.budget_settings
    budget, name, rows = budget.replaced(epochs=2 * budget.epochs), "student_2000_steps", []
    for subset in SUBSETS:
        model = run.trained(name, "student", subset, seed, run.experiment / layout.DATASET, budget)
        rows.append(run.scores(model, name, subset, seed, run.cases, subset))
    return pd.concat(rows)


def with_logits(run: Run, seed: int) -> pd.DataFrame:
    """A network that is given T1 and the teacher's output for the three regions, in every case."""
    folder = run.place / "with_logits" / f"seed{seed}"
    cases = run.cases.copy()
    teacher = Predictor(run.model("teacher", ALL, seed), [0], DEVICE)
    for index, row in track(list(cases.iterrows()), "teacher's outputs"):
        files = {name: folder / "images" / row["cohort"] / f"{row['case']}_{name}.nii" for name in OUTPUTS}
        if not all(file.is_file() for file in files.values()):
            volumes, properties = teacher.read({name: row[name] for name in MODALITIES})
            outputs = teacher.segment_volumes(volumes, properties, probabilities=True)
            image = nib.load(row["t1"])
            for file, output in zip(files.values(), outputs, strict=True):
                brain = np.asarray(image.dataobj) != 0
                voxels = np.where(brain, 1 + np.rint(10_000 * output.T), 0).astype(np.int16)
                file.parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(file) as temporary:
                    nib.save(nib.Nifti1Image(voxels, image.affine), temporary)
        for name, file in files.items():
            cases.loc[index, name] = str(file)
    dataset, budget = folder / "nnunet", run.config.budget_settings
    if not (dataset / "manifest.json").is_file():
        build(cases, dataset, budget)
    model = run.trained("student_with_logits", "teacher", ALL, seed, dataset, budget)
    return run.scores(model, "student_with_logits", "t1", seed, cases, ALL)


CONTROLS: dict[str, Callable[[Run, int], pd.DataFrame]] = {
    "two_students": two_students,
    "student_200_phantoms": more_phantoms,
    "student_2000_steps": more_steps,
    "student_with_logits": with_logits,
}


def real_patients(run: Run) -> pd.DataFrame:
    """Dice of every network of the run in the real patients, on the subsets that it was trained for."""
    tables = []
    for method in run.config.methods:
        for subset in scored_subsets(run.config.model_copy(update={"any_subsets": None}), method):
            for seed in run.config.seeds:
                model = run.model(method, run.config.recipes[method].trained_modalities(subset), seed)
                found = dice_of_subsets(model, 0, [subset])
                tables.append(found.assign(method=method, seed=seed))
    return pd.concat(tables)[["case", "method", "subset", "seed", "region", "dice"]]


@app.command("train")
def train_controls(experiment: Path, into: Path = INTO, only: str = ",".join(CONTROLS)) -> None:
    """Train and score the controls of a run."""
    keep_freed_memory()
    torch.set_num_threads(1)
    run = Run(experiment)
    (into / "controls").mkdir(parents=True, exist_ok=True)
    for name in only.split(","):
        path = into / "controls" / f"{experiment.name}-{name}.csv.gz"
        if path.is_file():
            continue
        table = pd.concat([CONTROLS[name](run, seed) for seed in run.config.seeds])
        with atomic_path(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.9g", compression={"method": "gzip", "mtime": 0})


@app.command("patients")
def segment_patients(experiment: Path, into: Path = INTO, name: str = "") -> None:
    """Segment the real patients that are at hand with every network of a run."""
    try:
        patients()
    except SystemExit as none:
        print(f"No table of real patients: {none}")
    else:
        (into / "patients").mkdir(parents=True, exist_ok=True)
        write_table(real_patients(Run(experiment)), into / "patients" / f"{name or experiment.name}.csv", digits=4)


if __name__ == "__main__":
    app()
