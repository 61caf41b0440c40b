"""Warnings, limits, notes and how to cite: what the report says beside its numbers."""

import pandas as pd

from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.evaluate.trainings import FEWEST
from crossmodal.experiment.runs import STUDENT, TEACHER
from crossmodal.wording import enumerate_words, method_label, plural

MOST_WARNINGS = 20
FEW_CASES = 30


def warnings(results: Results) -> list[str]:
    """What a reader must know before any number: failed methods, nothing scored, cases left out."""
    found = []
    try:
        missing = [method_label(method) for method in results.unscored_methods]
        if missing:
            found.append(f"No scores for {enumerate_words(missing)}: failed or not run yet.")
    except MissingDataError as error:
        found.append(f"Nothing is scored yet: {error}")
    errors = problems(results, "error")
    if len(errors):
        cases = enumerate_words(sorted(errors.case.astype(str).unique())[:10])
        found.append(f"{plural(errors.case.nunique(), 'case')} with errors left out of the cohort: {cases}.")
    return found


def problems(results: Results, severity: str) -> pd.DataFrame:
    """Errors or warnings of cohort/problems.csv, which may be empty or absent."""
    try:
        table = pd.read_csv(results.folder / "cohort" / "problems.csv")
    except (OSError, ValueError):
        table = pd.DataFrame(columns=["case", "file", "severity", "problem", "remedy"])
    return table[table.severity == severity]


def limits(results: Results) -> list[str]:
    """What this run cannot tell, from its size and settings."""
    config = results.config
    found = ["This is research software: no network here is a medical device or was validated for clinical use."]
    if results.is_phantom:
        found.append(
            "The images are simulated. They carry the contrasts of real sequences, not the anatomy, artefacts or "
            "variety of patients: nothing here says how a method does in a clinic."
        )
    if config.budget != "full":
        found.append(
            f"The budget {config.budget} trains far shorter than nnU-Net's 1000 epochs of 250 steps, and on a "
            "smaller network where the table above says so: a method's rank may change with full training."
        )
    if len(config.seeds) * len(config.folds) < FEWEST:
        found.append(
            f"{plural(len(config.seeds), 'seed')}: with so few trainings of a method nothing is claimed; intervals are "
            "of these networks alone."
        )
    try:
        if (cases := results.count()) < FEW_CASES:
            found.append(f"{plural(cases, 'held-out case')}: intervals are wide, and small gains cannot be seen.")
        if not results.externals:
            found.append("All cases come from one cohort; other scanners and hospitals were not tested.")
    except MissingDataError:
        pass
    chosen = [method_label(m) for m in config.methods if m in config.recipes and config.recipes[m].choices]
    if chosen:
        names = enumerate_words(chosen)
        found.append(f"Settings that the papers do not give are this project's choice ({names}): see the recipes.")
    return found


def notes(results: Results) -> list[str]:
    """The notes on the tables (notes.md, which `crossmodal tables` writes) and the warnings of the cohort's check."""
    path = results.folder / "tables" / "notes.md"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    warned = problems(results, "warning")
    found += [f"{row.case}: {row.problem}" for row in warned.head(MOST_WARNINGS).itertuples()]
    if len(warned) > MOST_WARNINGS:
        found.append(f"{len(warned) - MOST_WARNINGS} more warnings are in cohort/problems.csv")
    return found


def citations(results: Results) -> list[str]:
    """The tool, nnU-Net, and the source of every method that was run."""
    version = results.versions.get("crossmodal", "")
    found = [
        f"Crossmodal {version}".strip() + ", the workflow that made this page.",
        "Isensee F, Jaeger PF, Kohl SAA, Petersen J, Maier-Hein KH. nnU-Net: a self-configuring method for deep "
        "learning-based biomedical image segmentation. Nature Methods 18:203–211, 2021. doi:10.1038/s41592-020-01008-z",
    ]
    if not results.is_phantom:
        found.append(
            "The data, as its licence asks; for BraTS: Menze et al. 2015, doi:10.1109/TMI.2014.2377694; Bakas et al. "
            "2017, doi:10.1038/sdata.2017.117; Baid et al. 2021, arXiv:2107.02314"
        )
    cited = [m for m in results.config.methods if m in results.config.recipes and m not in (STUDENT, TEACHER)]
    return [*found, *(f"{method_label(method)}: {results.config.recipes[method].source}" for method in cited)]
