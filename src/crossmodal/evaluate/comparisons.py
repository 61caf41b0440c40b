"""comparisons.csv: each method against the student alone, and single stage against two stages."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from crossmodal.evaluate import statistics
from crossmodal.evaluate.per_case import groups, in_order, per_patient
from crossmodal.domain import ALL
from crossmodal.progress import track

STUDENT, TEACHER, TWO_STAGE = "student", "teacher", "_two_stage"
COLUMNS = [
    *("cohort", "modalities", "region", "method", "baseline", "n", "dice_gain", "ci_low", "ci_high"),
    *("p_wilcoxon", "p_holm", "gap_recovered", "gap_ci_low", "gap_ci_high", "family_size", "note"),
]
FAMILY = ["cohort", "region"]


def compare(per_case: pd.DataFrame, resamples: int = statistics.RESAMPLES) -> pd.DataFrame:
    """The rows of comparisons.csv: differences in Dice paired by patient, Holm within cohort and region.

    A difference is taken within case, fold and seed, then averaged per patient, so that a missing seed of
    one method never sets unlike networks against each other.
    """
    rows = []
    for (cohort, region), group in track(list(groups(per_case, FAMILY)), "families of comparisons.csv"):
        keys = ["patient", "case", "fold", "seed", "method", "modalities"]
        wide = group.set_index(keys)["dice"].unstack(["method", "modalities"])
        for method, baseline, modalities in _pairs(group):
            of_row = {"cohort": cohort, "modalities": modalities, "region": region}
            of_row |= {"method": method, "baseline": baseline}
            rows.append(of_row | _comparison(_dice_of(wide, method, baseline, modalities), of_row, resamples))
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"p_holm": float, "family_size": "Int64"})
    for _, family in table.groupby(FAMILY, sort=False):
        table.loc[family.index, "p_holm"] = statistics.holm(family["p_wilcoxon"].to_numpy())
        table.loc[family.index, "family_size"] = int(family["p_wilcoxon"].notna().sum())
    return in_order(table, ["cohort", "region", "modalities"])


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """(method, baseline, modalities) of every comparison that the scored methods allow, in their order."""
    methods = list(rows["method"].unique())
    for method in methods:
        baselines = [] if method in (STUDENT, TEACHER) else [STUDENT]
        baselines += [method + TWO_STAGE] if method + TWO_STAGE in methods else []
        for modalities in rows.loc[rows["method"] == method, "modalities"].unique():
            for baseline in baselines:
                yield method, baseline, modalities


def _dice_of(wide: pd.DataFrame, method: str, baseline: str, modalities: str) -> pd.DataFrame:
    """Dice by patient, case, fold, seed: columns method, baseline, student, teacher; NaN where not scored."""
    columns = {
        "method": (method, modalities),
        "baseline": (baseline, modalities),
        "student": (STUDENT, modalities),
        "teacher": (TEACHER, ALL),
    }
    nothing = pd.Series(np.nan, index=wide.index)
    return pd.DataFrame({name: wide.get(key, nothing) for name, key in columns.items()})


def _comparison(dice: pd.DataFrame, name: dict[str, str], resamples: int) -> dict:
    """The numbers of one row, from the table of `_dice_of`."""
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
