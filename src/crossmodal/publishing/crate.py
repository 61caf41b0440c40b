"""`crossmodal crate`: a run as a Workflow Run RO-Crate, a folder that says what made each file in it.

ro-crate-metadata.json follows RO-Crate 1.1, Workflow RO-Crate 1.0, and of the Workflow Run RO-Crate profiles 0.5
(https://www.researchobject.org/workflow-run-crate) Process and Workflow Run Crate; where Snakemake recorded the jobs,
Provenance Run Crate as well. Images are never copied. All dates are those of the run, so that the same run gives the
same bytes.
"""

import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.errors import UserError, nearest
from crossmodal.evaluate.results import Results
from crossmodal.experiment import layout, runs
from crossmodal.experiment.recorded import given_part
from crossmodal.files import HALF_WRITTEN, md5_of, write_text, write_yaml
from crossmodal.progress import track
from crossmodal.publishing.crate_graph import METADATA
from crossmodal.publishing.crate_metadata import describe
from crossmodal.publishing.records import Job, jobs, rules
from crossmodal.report import checklist
from crossmodal.report.answer import answer, question, title

WORKFLOW = "workflow/Snakefile"
OF_THE_WORKFLOW = (WORKFLOW, "workflow/rules", "workflow/report", "LICENSE")
OF_THE_RUN = (
    *("config.yaml", "versions.json", "metrics.json", "tables", "figure_data", "figures", "report.html", "model_cards"),
    *("models.dvc", "predictions.dvc", "record.dvc"),
)
BY_HASH = ("models", "predictions")  # large, and for patients not always ours to pass on
# Of models/, what nnU-Net or a running training keeps for itself; .dvcignore leaves the same out.
ASIDE = ("training_log.txt", ".lock", ".lock-holder", ".snakemake_timestamp", "state")


def write_crate(
    experiment: Path, out: Path | None = None, include: tuple[str, ...] = (), author: str | None = None
) -> Path:
    """Write the crate of an experiment, and return its folder. An older crate at `out` is replaced.

    Args:
        experiment: results/<experiment> in a clone of this project: a finished run, or config.yaml, versions.json,
            tables/ and figure_data/ alone, as git keeps them.
        out: the folder to write; build/crate/<experiment> in the clone by default.
        include: which of `BY_HASH` are copied too. Of the others artefacts.csv has the hashes.
        author: name of the person who ran it.

    Raises:
        UserError: `experiment` is no experiment or has no tables, `out` holds something else than a crate, or rocrate
            is not installed.
    """
    if find_spec("rocrate") is None:
        raise UserError("rocrate is not installed: pip install 'crossmodal[publish]'")
    for name in include:
        if name not in BY_HASH:
            raise UserError(f"--include {name}: {nearest(name, BY_HASH)}")
    root = _clone(experiment)
    out = out or root / "build" / "crate" / experiment.resolve().name
    if out.exists() and not (out / METADATA).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: is there and is no crate (it has no {METADATA}): choose another --out")
    if experiment.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{out}: holds the experiment itself: choose another --out")
    results = Results(experiment)
    steps = rules(root / WORKFLOW)
    ran = _recorded(results, root.resolve(), {rule.name for rule in steps})
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=HALF_WRITTEN) as temporary:
        folder = Path(temporary, out.name)
        _gather(results, root, folder, include)
        describe(folder, results, root, steps, ran, _date(experiment, ran), author)
        if out.exists():
            shutil.rmtree(out)
        folder.replace(out)
    return out


def _clone(experiment: Path) -> Path:
    """The clone that an experiment lies in; a UserError where it is not one, or there is no clone."""
    if not (experiment / "config.yaml").is_file():
        others = [path.parent.name for path in experiment.parent.glob("*/config.yaml")]
        hint = nearest(experiment.name, others)
        raise UserError(f"{experiment}: is not an experiment (it has no config.yaml): {hint}")
    if not (experiment / "tables" / "per_case.csv").is_file():
        raise UserError(f"{experiment}: has no tables/per_case.csv: finish the run, or restore it, then try again")
    for folder in experiment.resolve().parents:
        if (folder / WORKFLOW).is_file():
            return folder
    raise UserError(f"{experiment}: no folder above it has {WORKFLOW}: move it into a clone of this project")


def _recorded(results: Results, root: Path, names: set[str]) -> list[Job]:
    """The jobs that made the experiment; none where Snakemake recorded only some of the trainings."""
    experiment, config = results.folder.resolve(), results.config
    phantom = [(root / config.phantom.place).resolve()] if results.is_phantom else []
    ran = jobs(root, [experiment, *phantom], names)
    outputs = {root / output for job in ran for output in job.outputs}
    whole = all(experiment / training.path(layout.MANIFEST) in outputs for training in runs.trainings(config))
    return ran if whole else []


def _gather(results: Results, root: Path, folder: Path, include: tuple[str, ...]) -> None:
    """Copy and write the files of the crate, all but its metadata."""
    experiment, config = results.folder, results.config
    copied = {name: experiment / name for name in (*OF_THE_RUN, *include)} | {n: root / n for n in OF_THE_WORKFLOW}
    copied |= {name: root / name for name in locks(results, root)}
    for name, source in copied.items():
        if source.is_dir():
            ignore = shutil.ignore_patterns(*ASIDE, f"{HALF_WRITTEN}*")
            shutil.copytree(source, folder / name, ignore=ignore, copy_function=shutil.copyfile)
        elif source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    write_yaml(folder / "repeat.yaml", given_part(config))
    for method, recipe in config.recipes.items():
        write_yaml(folder / "recipes" / f"{method}.yaml", recipe.plain())
    if (experiment / layout.CASES).is_file():
        columns = ["cohort", "case", "patient", "release", "split", "fold", "sha256"]  # no paths of this machine
        (folder / layout.CASES).parent.mkdir()
        read_cases(experiment / layout.CASES).reindex(columns=columns).to_csv(folder / layout.CASES, index=False)
    files = [file for name in BY_HASH for file in kept_files(experiment / name)]
    if files:
        rows = [
            (file.relative_to(experiment).as_posix(), file.stat().st_size, md5_of(file))
            for file in track(files, "files hashed")
        ]
        pd.DataFrame(rows, columns=["path", "bytes", "md5"]).to_csv(folder / "artefacts.csv", index=False)
    write_text(folder / "checklist.md", checklist.markdown(results))
    write_text(folder / "README.md", _readme(results))


def kept_files(folder: Path) -> list[Path]:
    """The files of models/ or predictions/ that a crate lists, sorted."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(HALF_WRITTEN)]
    return sorted(path for path in found if not {*path.relative_to(folder).parts} & {*ASIDE})


def locks(results: Results, root: Path) -> list[str]:
    """The files of the clone that pin the training data by hash, where there are such."""
    if results.config.cohort_lock:
        lock = Path(results.config.cohort_lock["file"])
    elif results.is_phantom:
        lock = Path(f"{results.config.phantom.place}.dvc")
    else:
        return []
    return [
        str(name) for name in (lock, lock.with_suffix(".md5")) if not name.is_absolute() and (root / name).is_file()
    ]


def _readme(results: Results) -> str:
    told = answer(results)
    simulated = "**Phantom run: simulated images, no patients.** It says nothing of a clinic.\n\n"
    return (
        f"# {title(results)}\n\n{simulated if results.is_phantom else ''}{question(results)}\n\n"
        f"{told['verdict']} {told['text']}\n\n"
        "A run of the Crossmodal workflow as a Workflow Run RO-Crate: `ro-crate-metadata.json` says what made each\n"
        "file. Begin with `report.html`, where it is there, or `tables/summary.md`. `checklist.md` lists what a paper\n"
        "on this run has to say. Images are not part of it; `artefacts.csv`, where it is there, has the hashes of the\n"
        "networks and predictions. In a clone of Crossmodal, `snakemake --configfile repeat.yaml` repeats the run.\n"
    )


def _date(experiment: Path, ran: list[Job]) -> datetime:
    """When the run ended; where that was not recorded, when its tables were committed, or else written."""
    ends = [job.end for job in ran if job.end]
    if ends:
        return datetime.fromtimestamp(max(ends), UTC)
    command = ["git", "log", "-1", "--format=%ct", "--", "tables"]
    try:
        said = subprocess.run(command, cwd=experiment, capture_output=True, text=True).stdout.strip()
    except OSError:  # no git
        said = ""
    newest = max(path.stat().st_mtime for path in (experiment / "tables").iterdir())
    return datetime.fromtimestamp(int(said) if said else int(newest), UTC)
