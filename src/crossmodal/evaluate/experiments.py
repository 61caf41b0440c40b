"""Two experiments side by side: what differs between them, and their Dice in the same patients."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.differences import differences
from crossmodal.errors import UserError
from crossmodal.evaluate import render, statistics
from crossmodal.evaluate.blocks import blocks, by_training
from crossmodal.evaluate.per_case import groups, held_out, per_case_file, read_per_case
from crossmodal.evaluate.trainings import FEWEST
from crossmodal.experiment.config import Resolved, read_resolved
from crossmodal.experiment.layout import CASES
from crossmodal.experiment.recorded import without_words
from crossmodal.progress import track
from crossmodal.wording import estimate, number, plural

IN = ("in A", "in B")
# Keys that change no number, and `cohorts`, which follows from others.
LEFT_OUT = ("experiment", "title", "publish_remote", "publish_preprocessed", "cohorts")
COLUMNS = [
    *("cohort", "method", "modalities", "region", "n", "n_trainings_a", "n_trainings_b", "dice_a", "dice_b"),
    *("difference", "ci_low", "ci_high", "interval_over", "sd_trainings_a", "sd_trainings_b", "note"),
]
BOTH, ALONE = "patients and trainings", "patients, these networks alone"
SHOWN_CASES = 5


@dataclass(frozen=True)
class Experiment:
    """What is compared of results/<experiment>; everything but config.yaml and per_case.csv may be missing.

    Attributes:
        config: the resolved one.
        scores: the rows of per_case.csv that count.
        versions: versions.json.
        devices: of the trainings, from tables/cost.csv.
        cases: cohort/cases.csv; None where it is not there, as in what is published.
    """

    config: Resolved
    scores: pd.DataFrame
    versions: dict[str, str]
    devices: list[str]
    cases: pd.DataFrame | None


def read_experiment(folder: Path) -> Experiment:
    """Read an experiment; raises UserError when config.yaml or per_case.csv is missing, or a file is damaged."""
    config = read_resolved(folder / "config.yaml")
    versions, cost, cases = folder / "versions.json", folder / "tables" / "cost.csv", folder / CASES
    try:
        found = json.loads(versions.read_text(encoding="utf-8")) if versions.is_file() else {}
        devices = list(pd.read_csv(cost)["device"].dropna().unique()) if cost.is_file() else []
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: versions.json or tables/cost.csv cannot be read ({error}): restore it") from None
    scores = held_out(read_per_case(per_case_file(folder)))[0]
    return Experiment(config, scores, found, devices, read_cases(cases) if cases.is_file() else None)


def settings(a: Experiment, b: Experiment) -> list[str]:
    """A line for each difference of the configs; of recipes, those of methods that both have."""
    plain = [without_words(one.config.plain()) for one in (a, b)]
    for config, other in zip(plain, plain[::-1], strict=True):
        config["recipes"] = {name: one for name, one in config["recipes"].items() if name in other["recipes"]}
        for name in LEFT_OUT:
            config.pop(name)
    return differences(*plain, where=IN) or ["the same"]


def environment(a: Experiment, b: Experiment) -> list[str]:
    """Lines on versions of packages and devices."""
    lines = differences(a.versions, b.versions, where=IN)
    if not (a.versions and b.versions):
        lines = [f"versions: not recorded {' and '.join(w for w, e in zip(IN, (a, b), strict=True) if not e.versions)}"]
    same = ", ".join(f"{name} {version}" for name, version in a.versions.items())
    devices = ["; ".join(one.devices) or "not recorded" for one in (a, b)]
    both = devices[0] == devices[1]
    return [
        *(lines or [f"versions: the same ({same})"]),
        f"device: {devices[0]} in both" if both else f"device: {devices[0]} in A, {devices[1]} in B",
    ]


def data(a: Experiment, b: Experiment) -> list[str]:
    """Lines on the cohorts: the lock's hash, the files and splits of cases.csv, and which cases are scored."""
    locks = [(one.config.cohort_lock or {}).get("md5", "none") for one in (a, b)]
    lines = [] if locks == ["none", "none"] else [f"cohort lock, md5: {_in_each(*locks)}"]
    missing = [where for where, one in zip(IN, (a, b), strict=True) if one.cases is None]
    if missing:
        lines.append(f"files of the cases: not compared, since {CASES} is not there {' and '.join(missing)}")
    else:
        lines += _case_lists(a.cases, b.cases)
    scored = [dict(list(one.scores.groupby("cohort", sort=False))) for one in (a, b)]
    for cohort in dict.fromkeys([*scored[0], *scored[1]]):
        ours, theirs = (set(one[cohort]["case"]) if cohort in one else set() for one in scored)
        rows = scored[0].get(cohort, a.scores.iloc[:0])
        patients = rows.loc[rows["case"].isin(theirs), "patient"].nunique()
        lines.append(
            f"{cohort}: {plural(len(ours & theirs), 'case')} of {plural(patients, 'patient')} scored in both, "
            f"{len(ours - theirs)} in A alone, {len(theirs - ours)} in B alone"
        )
    return lines


def _in_each(a: str, b: str) -> str:
    return f"{a} in both" if a == b else f"{a} {IN[0]}, {b} {IN[1]}"


def _case_lists(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """Lines on two cases.csv: cases whose files differ, and cases in another part of the split."""
    key = ["cohort", "case"]
    both = a.merge(b, on=key, suffixes=("_a", "_b"))
    lines = []
    for column, what in (("sha256", "other files"), ("split", "another part of the split")):
        if not {f"{column}_a", f"{column}_b"} <= set(both):  # a table of one's own need not have hashes
            continue
        other = both[both[f"{column}_a"] != both[f"{column}_b"]]
        lines.append(f"{len(other)} of {plural(len(both), 'case')} of both have {what}{_named(other['case'])}")
    return lines


def _named(cases: Iterable[str]) -> str:
    """The first few cases, for the end of a line."""
    cases = list(cases)
    more = ", …" if len(cases) > SHOWN_CASES else ""
    return f": {', '.join(cases[:SHOWN_CASES])}{more}" if cases else ""


def compare_dice(a: Experiment, b: Experiment) -> tuple[pd.DataFrame, list[str]]:
    """The rows of compare.csv, and notes on what could not be paired.

    A row is a cohort, method, modalities and region that both have. Patients are paired by cohort and case. The
    interval of the difference B − A is over patients and trainings where both have three trainings or more, else over
    patients alone (`interval_over`): then it holds for these networks, not for the settings.
    """
    rows, notes = [], []
    for cohort in a.scores["cohort"].unique():
        ours, theirs = (one.scores[one.scores["cohort"] == cohort] for one in (a, b))
        common = set(ours["case"]) & set(theirs["case"])
        if not common:
            if len(theirs):
                notes.append(f"{cohort}: no case is scored in both, so nothing is paired")
            continue
        ours, theirs = (one[one["case"].isin(common)] for one in (ours, theirs))
        other = _other_references(ours, theirs)
        if other:
            notes.append(
                f"{cohort}: not paired, since the references of {len(other)} of {plural(len(common), 'case')} differ "
                f"in volume: these are other segmentations{_named(other)}"
            )
            continue
        patient = ours.drop_duplicates("case").set_index("case")["patient"]
        theirs = theirs.assign(patient=theirs["case"].map(patient))
        key = ["method", "modalities", "region"]
        of_b = dict(list(theirs.groupby(key)))
        found = [(names, one, of_b[names]) for names, one in groups(ours, key) if names in of_b]
        for names, *sides in track(found, f"rows of compare.csv, {cohort}"):
            rows.append(_row((cohort, *names), *map(by_training, sides)))
        if not found:
            notes.append(f"{cohort}: no method is scored in both with the same modalities")
    if not (set(a.scores["cohort"]) & set(b.scores["cohort"])):
        notes.append("no cohort of this name is scored in both: cases are matched by cohort and case")
    return pd.DataFrame(rows, columns=COLUMNS), notes


def _other_references(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """Cases whose reference differs between two per_case tables of one cohort, by its volume in some region."""
    volumes = [one.groupby(["case", "region"])["volume_ref_ml"].first() for one in (a, b)]
    both = pd.concat(volumes, axis=1, join="inner")
    same = np.isclose(*both.to_numpy().T, rtol=1e-6, atol=1e-6, equal_nan=True)
    return list(both.index[~same].unique("case"))


def _row(names: tuple[str, ...], a: pd.DataFrame, b: pd.DataFrame) -> dict:
    """The numbers of one row, from tables of `by_training`."""
    both, notes = blocks(b, a), []
    if both.arrays and not (len(both.arrays) > 1 and both.left_out):
        dice = [np.concatenate([block[k].mean(axis=1) for block in both.arrays]) for k in (1, 0)]
        trainings, sds = (both.trainings(1), both.trainings(0)), (both.sd(1), both.sd(0))
        low, high = both.mean().interval()
        if both.left_out:
            notes.append(f"{plural(both.left_out, 'case')} left out: not scored by every training")
    else:
        cases = pd.concat([one.mean(axis=1) for one in (a, b)], axis=1).dropna()
        dice = list(cases.groupby(level="patient").mean().to_numpy().T)
        sides = blocks(a), blocks(b)
        trainings, sds = [one.trainings() for one in sides], [one.sd() for one in sides]
        low, high = np.nan, np.nan
        notes.append("the trainings of A and B did not score the same patients fold by fold")
    gain = np.round(dice[1] - dice[0], statistics.DIGITS)
    over = BOTH
    if np.isnan(low):
        interval = statistics.mean_interval(gain, statistics.generator("compare", *names))
        low, high, over = interval.low, interval.high, "" if np.isnan(interval.low) else ALONE
        notes.append(interval.note)
    return dict(zip(COLUMNS[:4], names, strict=True)) | {
        "n": len(gain),
        "n_trainings_a": trainings[0],
        "n_trainings_b": trainings[1],
        "dice_a": dice[0].mean(),
        "dice_b": dice[1].mean(),
        "difference": gain.mean(),
        "ci_low": low,
        "ci_high": high,
        "interval_over": over,
        "sd_trainings_a": sds[0],
        "sd_trainings_b": sds[1],
        "note": statistics.joined(notes),
    }


def printed(a: Experiment, b: Experiment, table: pd.DataFrame, notes: list[str]) -> list[render.Table]:
    """All that `crossmodal compare` prints.

    Args:
        a, b: the experiments.
        table, notes: of `compare_dice`.
    """
    sections = {"Config": settings(a, b), "Data": data(a, b), "Versions and machine": environment(a, b)}
    pages = [render.Table(title, "", [], [], lines) for title, lines in sections.items()]
    unit = "phantoms" if a.config.is_phantom else "patients"
    for cohort, rows in table.groupby("cohort", sort=False):
        cells, shown = [], []
        for row in rows.itertuples():
            mark = "*" if row.interval_over == ALONE else ""
            cells.append(
                [
                    *(row.method, row.modalities, row.region),
                    *(str(row.n), f"{row.n_trainings_a} / {row.n_trainings_b}", number(row.dice_a), number(row.dice_b)),
                    estimate(row.difference, row.ci_low, row.ci_high, sign=True) + mark,
                    f"{number(row.sd_trainings_a)} / {number(row.sd_trainings_b)}",
                ]
            )
            shown += [f"{row.method} {row.modalities} {row.region}: {row.note}"] if row.note else []
        if (rows["interval_over"] == ALONE).any():
            shown.insert(
                0,
                f"*: over {unit} alone, so it holds for these networks: other trainings could turn the difference "
                f"around. Over trainings it takes {FEWEST} of A and of B",
            )
        pages.append(
            render.Table(
                f"Dice, {cohort}",
                f"Mean over the n {unit} of both, and the difference B − A with its 95% interval over {unit} and "
                "trainings. About one interval of twenty lies beside the true difference by chance.",
                ["Method", "Modalities", "Region", "n", "Trainings", "A", "B", "B − A", "SD between trainings"],
                cells,
                shown,
                text_columns=3,
            )
        )
    if notes:
        pages.append(render.Table("Not compared", "", [], [], notes))
    return pages
