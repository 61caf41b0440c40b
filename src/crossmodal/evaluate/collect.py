"""Stack the score files of an experiment into per_case.csv; what it cost into cost.csv and resources.csv."""

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, fields
from pathlib import Path

import pandas as pd

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.errors import UserError
from crossmodal.evaluate.per_case import COLUMNS, SCORES, with_optional, write_table
from crossmodal.experiment import layout
from crossmodal.experiment.config import read_resolved
from crossmodal.experiment.layout import Prediction
from crossmodal.experiment.runs import predictions

NOTES = [*(field.name for field in fields(Prediction)), "note"]
COST = ["method", "modalities", "train_s", "step_ms", "peak_mem_mb", "device"]
RESOURCES = ["step", "method", "jobs", "threads", "asked_mem_mb", "used_mem_mb", "asked_min", "used_min"]


def collect(
    config: Path, scores: Path, cases: Path, out: Path, models: Path | None = None, benchmarks: Path | None = None
) -> pd.DataFrame:
    """Write per_case.csv, notes.csv beside it (what is missing) and, given their sources, cost.csv and resources.csv.

    Args:
        config: the experiment's resolved config.yaml.
        scores: the experiment's folder scores/ (`layout.SCORES`).
        cases: the cohort's cases.csv, for each case's patient and split.
        out: per_case.csv.
        models: the experiment's folder models/, with a cost.json in the folder of each training.
        benchmarks: folder of Snakemake's extended benchmark files.

    Raises:
        UserError: the config is not a resolved one; there is no score file at all, or one that is damaged or names
            an unknown case.
    """
    expected = {one: scores / one.path(layout.SCORES).relative_to("scores") for one in _predictions(config)}
    people = read_cases(cases).set_index(["cohort", "case"])[["patient", "split"]]
    found = {one: _read_scores(one, path, people) for one, path in expected.items() if path.is_file()}
    if not found:
        first = next(iter(expected.values()))
        raise UserError(f"{scores}: holds none of the {len(expected)} score files, such as {first}")
    # Each file is sorted by case already; the order of the config is kept, so that tables have it too.
    table = pd.concat(found.values(), ignore_index=True)[COLUMNS]
    write_table(table, out)
    write_table(pd.DataFrame(_notes(expected, found), columns=NOTES), out.with_name("notes.csv"))
    if models is not None:
        write_table(costs(models), out.with_name("cost.csv"))
    if benchmarks is not None:
        write_table(resources(benchmarks), out.with_name("resources.csv"))
    return table


def costs(models: Path) -> pd.DataFrame:
    """Mean training cost over folds and seeds (the largest memory), one row for a method, subset and device.

    `models` is the experiment's folder models/; a damaged cost.json in it is a UserError.
    """
    folders = [folder for _, folder in layout.trainings_in(models) if (folder / "cost.json").is_file()]
    return mean_costs(pd.DataFrame(map(cost_record, folders), columns=COST))


def cost_record(folder: Path) -> list:
    """The values of `COST` from the cost.json of one training; a damaged one is a UserError."""
    path = folder / "cost.json"
    try:
        cost = json.loads(path.read_text(encoding="utf-8"))
        return [cost[name] for name in COST]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is not a cost record with {', '.join(COST)} ({error!r})") from error


def mean_costs(trainings: pd.DataFrame) -> pd.DataFrame:
    """cost.csv, from a row with the columns `COST` for each training."""
    alike = trainings.groupby(["method", "modalities", "device"], sort=True)
    table = alike.agg({"train_s": "mean", "step_ms": "mean", "peak_mem_mb": "max"})
    return table.assign(runs=alike.size()).reset_index()[[*COST, "runs"]]


def resources(benchmarks: Path) -> pd.DataFrame:
    """What the jobs of each step and method asked for beside the most that one of them used.

    Memory is in MB (resident, child processes included), time in minutes, and both are of a job's last attempt.
    Of Snakemake's benchmark files, those written without `benchmark-extended` do not hold what was asked for.
    """
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        job = pd.read_csv(path, sep="\t").iloc[-1]
        if "resources" not in job:
            continue
        asked, wildcards = ast.literal_eval(job["resources"]), ast.literal_eval(job["wildcards"])
        rows.append(
            (
                *(*_step_and_method(job["rule_name"], wildcards), job["threads"]),
                *(asked.get("mem_mb"), job["max_rss"], asked.get("runtime"), job["s"] / 60),
            )
        )
    table = pd.DataFrame(rows, columns=[name for name in RESOURCES if name != "jobs"])
    by_job = table.groupby(["step", "method"], sort=True)
    return by_job.max().assign(jobs=by_job.size()).reset_index()[RESOURCES]


def _step_and_method(rule: str, wildcards: dict[str, str]) -> tuple[str, str]:
    """Of a job that trains several students, the rule's name holds the method: train_together_<method>_<number>."""
    together = re.fullmatch(r"(train_together)_(.+)_\d+", rule)
    return together.groups() if together else (rule, wildcards.get("method", ""))


def _predictions(path: Path) -> list[Prediction]:
    config = read_resolved(path)
    lacking = [method for method in config.methods if method not in config.recipes]
    if lacking or not config.cohorts:
        what = f"the recipe of {', '.join(lacking)}" if lacking else "the names of cohorts"
        raise UserError(f"{path}: lacks {what}; give the resolved config.yaml of the experiment")
    return predictions(config)


def _read_scores(prediction: Prediction, path: Path, people: pd.DataFrame) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"case": str, "region": str})
        table = with_optional(table)[["case", "region", *SCORES]]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: is not a table of `crossmodal score` ({error}); score it again") from error
    table = table.assign(**vars(prediction))
    table = table.join(people, on=["cohort", "case"])
    unknown = table.loc[table["patient"].isna(), "case"]
    if len(unknown):
        raise UserError(f"{path}: cases.csv has no case '{unknown.iloc[0]}' in the cohort '{prediction.cohort}'")
    return table


def _notes(expected: Iterable[Prediction], found: Mapping[Prediction, pd.DataFrame]) -> list[tuple]:
    """What is missing of all that the config asks for."""
    notes = [(*astuple(one), "missing: not scored") for one in expected if one not in found]
    cases: dict[tuple, set] = {}
    for one, table in found.items():
        cases.setdefault((one.cohort, one.fold), set()).update(table["case"])
    for one, table in found.items():
        of_fold = cases[one.cohort, one.fold]
        lacking = sorted(of_fold - set(table["case"]))
        if lacking:
            shown = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
            notes.append((*astuple(one), f"{len(lacking)} of {len(of_fold)} cases are not scored ({shown})"))
    without_nsd = [one for one, table in found.items() if table["nsd_1mm"].isna().all()]
    if len(without_nsd) < len(found):
        notes += [(*astuple(one), "no nsd_1mm: scored by an earlier version") for one in without_nsd]
    return notes
