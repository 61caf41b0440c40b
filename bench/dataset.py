"""A cohort and its nnU-Net dataset, made by the commands that the workflow runs."""

from pathlib import Path

from measure import run_command

REPOSITORY = Path(__file__).resolve().parents[1]


def make_dataset(folder: Path, budget: str, phantoms: str, split: str, cohort: Path | None = None) -> Path:
    """Build the dataset of a cohort in folder/nnunet; returns the cohort's cases.csv.

    Args:
        folder: where all files are written.
        budget: name or file of the budget.
        phantoms: options of `crossmodal cohort phantom`.
        split: options of `crossmodal cohort check`.
        cohort: folder of cases; where there is none, phantoms are made.
    """
    cases = folder / "cohort" / "cases.csv"
    if cohort is None or not cohort.is_dir():
        cohort = folder / "phantoms"
        run_command(["crossmodal", "cohort", "phantom", str(cohort), *phantoms.split()], folder / "phantom.log")
    check = ["crossmodal", "cohort", "check", str(cohort), "--out", str(cases.parent), "--name", "bench"]
    run_command([*check, *split.split()], folder / "check.log")
    build = ["crossmodal", "dataset", "--cases", str(cases), "--out", str(folder / "nnunet"), "--budget", budget]
    run_command(build, folder / "dataset.log")
    return cases


def demo_data(folder: Path, tiny: bool) -> tuple[Path, str]:
    """cases.csv and budget of the demo, or of the smallest data; the dataset is in folder/nnunet."""
    if tiny:
        phantoms, split = "--cases 5 --spacing 5 --workers 1", "--test-fraction 0.3 --folds 2"
        return make_dataset(folder, "smoke", phantoms, split), "smoke"
    phantoms, split = "--cases 40 --spacing 3 --seed 2023 --site A", "--test-fraction 0.3 --folds 5"
    return make_dataset(folder, "demo", phantoms, split, REPOSITORY / "data"), "demo"
