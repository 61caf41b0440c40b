"""comparisons.csv: each method against the student alone, and single stage against two stages."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from crossmodal.domain import ALL
from crossmodal.evaluate import statistics
from crossmodal.evaluate.per_case import groups, in_order, per_patient
from crossmodal.experiment.runs import STUDENT, TEACHER, TWO_STAGE, Roles
from crossmodal.progress import track

COLUMNS = [
    *("cohort", "modalities", "region", "method", "baseline", "n", "dice_gain", "ci_low", "ci_high"),
    *("p_wilcoxon", "p_holm", "gap_recovered", "gap_ci_low", "gap_ci_high", "family_size", "note"),
]
FAMILY = ["cohort", "region"]


def compare(per_case: pd.DataFrame, resamples: int = statistics.RESAMPLES, roles: Roles | None = None) -> pd.DataFrame:
    """The rows of comparisons.csv: differences in Dice paired by patient, Holm within cohort and region.

    A difference is taken within case, fold and seed, then averaged per patient, so that networks of different
    trainings are never paired because one method lacks a seed.

    Args:
        per_case: a table of `read_per_case`, after `held_out`.
        resamples: of each bootstrap; 0 for no intervals.
        roles: of the methods; by default their names decide.
    """
    roles = roles or Roles(per_case["method"].unique())
    rows = []
    for (cohort, region), group in track(list(groups(per_case, FAMILY)), "families of comparisons.csv"):
        keys = ["patient", "case", "fold", "seed", "method", "modalities"]
        wide = group.set_index(keys)["dice"].unstack(["method", "modalities"])
        for method, baseline, subset in _pairs(group, roles):
            of_row = {"cohort": cohort, "modalities": subset, "region": region}
            of_row |= {"method": method, "baseline": baseline}
            columns = {
                "method": (method, roles.row_subset(method, subset)),
                "baseline": (baseline, roles.row_subset(baseline, subset)),
                "student": (STUDENT, subset),
                "teacher": (TEACHER, ALL),
            }
            # Dice by patient, case, fold, seed; NaN where not scored.
            nothing = pd.Series(np.nan, index=wide.index)
            dice = pd.DataFrame({name: wide.get(key, nothing) for name, key in columns.items()})
            rows.append(of_row | _comparison(dice, of_row, resamples))
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"p_holm": float, "family_size": "Int64"})
    for _, family in table.groupby(FAMILY, sort=False):
        table.loc[family.index, "p_holm"] = statistics.holm(family["p_wilcoxon"].to_numpy())
        table.loc[family.index, "family_size"] = int(family["p_wilcoxon"].notna().sum())
    return in_order(table, ["cohort", "region", "modalities"])


def _pairs(rows: pd.DataFrame, roles: Roles) -> Iterator[tuple[str, str, str]]:
    """(method, baseline, subset) of every comparison that the scored methods allow, in their order.

    A method that always sees all four modalities is compared on each subset of its baseline.
    """
    subsets = rows.groupby("method", sort=False)["modalities"].unique()
    for method in subsets.index:
        baselines = [] if method in (STUDENT, TEACHER) else [STUDENT]
        baselines += [method + TWO_STAGE] if method + TWO_STAGE in subsets else []
        for baseline in baselines:
            of_pair = subsets.get(baseline) if roles.always_sees_all(method) else None
            for subset in subsets[method] if of_pair is None else of_pair:
                yield method, baseline, subset


def _comparison(dice: pd.DataFrame, name: dict[str, str], resamples: int) -> dict:
    """The numbers of one row.

    Args:
        dice: columns method, baseline, student, teacher; one row for each patient, case, fold and seed.
        name: cohort, modalities, region, method and baseline of the row; it seeds the row's random streams.
        resamples: of each bootstrap.
    """
    either = dice[["method", "baseline"]].dropna(how="all")
    patients = _paired(dice, ["method", "baseline"])
    gain = np.round((patients["method"] - patients["baseline"]).to_numpy(), statistics.DIGITS)
    interval = statistics.mean_interval(gain, statistics.generator("gain", *name.values()), resamples)
    p_wilcoxon, p_note = statistics.wilcoxon_p(gain)
    unpaired = int(either.isna().any(axis=1).sum())
    notes = [p_note]
    if gain.size:
        notes.insert(0, interval.note)
    if unpaired:
        notes.append(f"{unpaired} of {len(either)} cases × folds × seeds have no partner")
    share, gap = np.nan, statistics.Interval(np.nan, np.nan)
    if name["baseline"] == STUDENT:
        three = _paired(dice, ["method", "student", "teacher"])
        rng = statistics.generator("gap", *name.values())
        share, gap = statistics.gap_recovered(*three.to_numpy().T, rng, resamples)
        notes.append(gap.note)
    return {
        "n": len(gain),
        "dice_gain": gain.mean() if gain.size else np.nan,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p_wilcoxon": p_wilcoxon,
        "gap_recovered": share,
        "gap_ci_low": gap.low,
        "gap_ci_high": gap.high,
        "note": statistics.joined(notes),
    }


def _paired(dice: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Dice per patient, from the cases, folds and seeds in which every one of the columns is scored."""
    return per_patient(dice[columns].dropna().droplevel(["fold", "seed"]))
