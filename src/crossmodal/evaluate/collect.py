"""Stack the score files of an experiment into per_case.csv; what it cost into cost.csv and resources.csv."""

import ast
import json
from dataclasses import astuple, dataclass
from pathlib import Path

import pandas as pd
import yaml

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.domain import ALL, parse_subset, subset_name
from crossmodal.errors import UserError
from crossmodal.evaluate.per_case import COLUMNS as PER_CASE
from crossmodal.evaluate.per_case import SCORES, write_table

RUN = ["cohort", "method", "modalities", "seed", "fold"]
NOTES = [*RUN, "note"]
COST = ["method", "modalities", "train_s", "step_ms", "peak_mem_mb", "device"]
RESOURCES = ["step", "method", "jobs", "threads", "asked_mem_mb", "used_mem_mb", "asked_min", "used_min"]


@dataclass(frozen=True, order=True)
class Run:
    """One network applied to one cohort: what one score file holds."""

    cohort: str
    method: str
    modalities: str
    seed: int
    fold: int

    def path(self, scores: Path) -> Path:
        """Where its score file lies below the folder of scores."""
        return scores / self.cohort / self.method / self.modalities / f"seed{self.seed}" / f"fold_{self.fold}.csv"


def expected_runs(config: dict) -> list[Run]:
    """The runs that a resolved config asks for, in its own order.

    The method `teacher` is scored with all four modalities only, every other one with each subset.

    Raises:
        UserError: a key is missing.
    """
    missing = [key for key in ("cohorts", "methods", "subsets", "seeds", "folds") if key not in config]
    if missing:
        raise UserError(f"the config lacks {', '.join(missing)}: give the resolved config.yaml of the experiment")
    subsets = [subset_name(parse_subset(subset)) for subset in config["subsets"]]
    return [
        Run(str(cohort), str(method), subset, int(seed), int(fold))
        for cohort in config["cohorts"]
        for method in config["methods"]
        for subset in ([ALL] if method == "teacher" else subsets)
        for seed in config["seeds"]
        for fold in config["folds"]
    ]


def collect(
    config: Path, scores: Path, cases: Path, out: Path, models: Path | None = None, benchmarks: Path | None = None
) -> pd.DataFrame:
    """Write per_case.csv, notes.csv beside it (what is missing) and, given their sources, cost.csv and resources.csv.

    Args:
        config: the experiment's resolved config.yaml.
        scores: folder of `<cohort>/<method>/<modalities>/seed<s>/fold_<k>.csv`.
        cases: the cohort's cases.csv, for each case's patient and split.
        out: per_case.csv.
        models: folder of `<method>/<modalities>/seed<s>/fold_<k>/cost.json`.
        benchmarks: folder of Snakemake's extended benchmark files.

    Raises:
        UserError: no score file at all, or one that is damaged or names an unknown case.
    """
    try:
        runs = expected_runs(yaml.safe_load(config.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{config}: cannot be read as a config ({error})") from error
    people = read_cases(cases).set_index(["cohort", "case"])[["patient", "split"]]
    found = {run: _read_scores(run, run.path(scores), people) for run in runs if run.path(scores).is_file()}
    if not found:
        raise UserError(f"{scores}: holds none of the {len(runs)} score files, such as {runs[0].path(scores)}")
    # Each run is sorted by case already; the order of the config is kept, so that tables list it so too.
    table = pd.concat(found.values(), ignore_index=True)[PER_CASE]
    write_table(table, out)
    write_table(pd.DataFrame(_notes(runs, found), columns=NOTES), out.with_name("notes.csv"))
    if models is not None:
        write_table(costs(models), out.with_name("cost.csv"))
    if benchmarks is not None:
        write_table(resources(benchmarks), out.with_name("resources.csv"))
    return table


def costs(models: Path) -> pd.DataFrame:
    """Mean training cost over folds and seeds (the largest memory), one row for a method, subset and device.

    Raises:
        UserError: a cost.json is damaged.
    """
    rows = []
    for path in sorted(models.glob("*/*/seed*/fold_*/cost.json")):
        try:
            cost = json.loads(path.read_text(encoding="utf-8"))
            rows.append({name: cost[name] for name in COST})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is not a cost record with {', '.join(COST)} ({error!r})") from error
    table = pd.DataFrame(rows, columns=COST)
    grouped = table.groupby(["method", "modalities", "device"], sort=True)
    merged = grouped.agg(
        train_s=("train_s", "mean"),
        step_ms=("step_ms", "mean"),
        peak_mem_mb=("peak_mem_mb", "max"),
        runs=("train_s", "size"),
    ).reset_index()
    return merged[[*COST, "runs"]]


def resources(benchmarks: Path) -> pd.DataFrame:
    """What the jobs of each step and method asked for beside the most that one of them used.

    Memory is in MB (resident, child processes included), time in minutes, and both are of a job's last attempt.
    Files that Snakemake wrote without `benchmark-extended` say nothing of what was asked for, and are left out.
    """
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        job = pd.read_csv(path, sep="\t").iloc[-1]
        if "resources" not in job:
            continue
        asked, wildcards = ast.literal_eval(job["resources"]), ast.literal_eval(job["wildcards"])
        rows.append(
            (
                *(job["rule_name"], wildcards.get("method", ""), job["threads"]),
                *(asked.get("mem_mb"), job["max_rss"], asked.get("runtime"), job["s"] / 60),
            )
        )
    table = pd.DataFrame(rows, columns=[name for name in RESOURCES if name != "jobs"])
    by_job = table.groupby(["step", "method"], sort=True)
    merged = by_job.max().assign(jobs=by_job.size()).reset_index()
    return merged[RESOURCES]


def _read_scores(run: Run, path: Path, people: pd.DataFrame) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"case": str, "region": str})
        table = table[["case", "region", *SCORES]]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: is not a table of `crossmodal score` ({error}); score it again") from error
    known = pd.MultiIndex.from_arrays([[run.cohort] * len(table), table["case"]])
    strange = table["case"][~known.isin(people.index)]
    if len(strange):
        raise UserError(f"{path}: cases.csv has no case '{strange.iloc[0]}' in the cohort '{run.cohort}'")
    for name in RUN:
        table[name] = getattr(run, name)
    return table.join(people, on=["cohort", "case"])


def _notes(runs: list[Run], found: dict[Run, pd.DataFrame]) -> list[tuple]:
    """What the tables rest on less of than the config asks for."""
    notes = [(*astuple(run), "missing: not scored") for run in runs if run not in found]
    by_fold: dict[tuple, set] = {}
    for run, table in found.items():
        by_fold.setdefault((run.cohort, run.fold), set()).update(table["case"])
    for run, table in found.items():
        lacking = sorted(by_fold[run.cohort, run.fold] - set(table["case"]))
        if lacking:
            shown = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
            note = f"{len(lacking)} of {len(by_fold[run.cohort, run.fold])} cases are not scored ({shown})"
            notes.append((*astuple(run), note))
    return notes
