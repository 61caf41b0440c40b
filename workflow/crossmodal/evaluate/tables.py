"""summary.csv and comparisons.csv from per_case.csv alone; both count each patient once."""

from pathlib import Path

import numpy as np
import pandas as pd

from crossmodal.cohort.labels import REGIONS
from crossmodal.errors import UserError
from crossmodal.evaluate import statistics
from crossmodal.evaluate.collect import KEY
from crossmodal.modalities import ALL, all_subsets

STUDENT, TEACHER, TWO_STAGE = "student", "teacher", "_two_stage"

SUMMARY = [
    *("cohort", "method", "modalities", "region", "n", "dice_mean", "dice_ci_low", "dice_ci_high"),
    *("dice_present_mean", "hd95_mean_mm", "hd95_median_mm", "lesion_dice_mean", "lesion_hd95_mean_mm"),
    *(
        "dice_et_postprocessed_mean",
        "hd95_et_postprocessed_mean_mm",
        "n_ref_empty",
        "n_pred_empty",
        "runs",
        "note",
    ),
]
COMPARISONS = [
    *("cohort", "modalities", "region", "method", "baseline", "n", "dice_gain", "ci_low", "ci_high"),
    *("p_wilcoxon", "p_holm", "gap_recovered", "gap_ci_low", "gap_ci_high", "family_size", "note"),
]
REQUIRED = [
    *KEY,
    "dice",
    "dice_present",
    "hd95_mm",
    "lesion_dice",
    "lesion_hd95_mm",
    "volume_ref_ml",
    "volume_pred_ml",
]
OPTIONAL = ["dice_et_postprocessed", "hd95_et_postprocessed_mm"]


def read_per_case(path: Path) -> pd.DataFrame:
    """per_case.csv with `patient` (the case itself where the column is missing) and `split`.

    Raises:
        UserError: it cannot be read, lacks a column, is empty or holds one measurement twice.
    """
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys([*KEY, "patient", "split"], str))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); `crossmodal collect` writes it") from error
    missing = [name for name in REQUIRED if name not in table]
    if missing or table.empty:
        what = f"lacks the column {', '.join(missing)}" if missing else "has no row"
        raise UserError(f"{path}: {what}; `crossmodal collect` writes it")
    twice = table.duplicated(KEY)
    if twice.any():
        where = ", ".join(table.loc[twice.idxmax(), KEY])
        raise UserError(f"{path}: holds a measurement twice ({where}); collect it again")
    for name in OPTIONAL:
        if name not in table:
            table[name] = np.nan
    table["patient"] = table["patient"].fillna(table["case"]) if "patient" in table else table["case"]
    table["split"] = table["split"].fillna("") if "split" in table else ""
    return table


def held_out(per_case: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows that tables rest on, and a note for each cohort of which a part is left out.

    A cohort with a held-out test set is judged by that alone: its validation cases chose nothing here, but a
    mean over both kinds would weigh the same patient by how often it was predicted.
    """
    tested = per_case["cohort"].isin(per_case.loc[per_case["split"] == "test", "cohort"].unique())
    left_out = tested & (per_case["split"] == "train")
    notes = [
        f"{cohort}: {rows['case'].nunique()} validation cases left out: the cohort has a held-out test set"
        for cohort, rows in per_case[left_out].groupby("cohort", sort=False)
    ]
    return per_case[~left_out], notes


def summarise(per_case: pd.DataFrame, resamples: int = statistics.RESAMPLES) -> pd.DataFrame:
    """The rows of summary.csv: means over patients, each the mean of its visits, folds and seeds."""
    metrics = [name for name in per_case.columns if name.endswith(("_mm", "_ml")) or "dice" in name]
    rows = []
    runs_of_cohort = per_case.groupby("cohort").apply(_runs, include_groups=False)
    patients_of_cohort = per_case.groupby("cohort")["patient"].nunique()
    for (cohort, method, modalities, region), group in _in_order(per_case):
        patients = _per_patient(group.set_index(["patient", "case"])[metrics])
        interval = statistics.mean_interval(
            patients["dice"].to_numpy(),
            statistics.generator("summary", cohort, method, modalities, region),
            resamples,
        )
        n_ref_empty = int(patients["dice_present"].isna().sum())
        notes = [interval.note]
        if n_ref_empty == len(patients):
            notes.append(f"no patient has {region} in the reference")
        runs = len(_runs(group))
        if runs < len(runs_of_cohort[cohort]):
            notes.append(f"{runs} of {len(runs_of_cohort[cohort])} runs (folds × seeds)")
        if len(patients) < patients_of_cohort[cohort]:
            notes.append(f"{len(patients)} of {patients_of_cohort[cohort]} patients")
        rows.append(
            {
                "cohort": cohort,
                "method": method,
                "modalities": modalities,
                "region": region,
                "n": len(patients),
                "dice_mean": patients["dice"].mean(),
                "dice_ci_low": interval.low,
                "dice_ci_high": interval.high,
                "dice_present_mean": patients["dice_present"].mean(),
                "hd95_mean_mm": patients["hd95_mm"].mean(),
                "hd95_median_mm": patients["hd95_mm"].median(),
                "lesion_dice_mean": patients["lesion_dice"].mean(),
                "lesion_hd95_mean_mm": patients["lesion_hd95_mm"].mean(),
                "dice_et_postprocessed_mean": patients["dice_et_postprocessed"].mean(),
                "hd95_et_postprocessed_mean_mm": patients["hd95_et_postprocessed_mm"].mean(),
                "n_ref_empty": n_ref_empty,
                "n_pred_empty": int((patients["volume_pred_ml"] == 0).sum()),
                "runs": runs,
                "note": _joined(notes),
            }
        )
    return pd.DataFrame(rows, columns=SUMMARY)


def compare(per_case: pd.DataFrame, resamples: int = statistics.RESAMPLES) -> pd.DataFrame:
    """The rows of comparisons.csv: paired differences in Dice over patients, Holm within cohort and region.

    A difference is taken within case, fold and seed, then averaged per patient, so that a missing seed of
    one method never sets different networks against each other.
    """
    rows = []
    for (cohort, region), group in per_case.groupby(["cohort", "region"], sort=False):
        keys = ["patient", "case", "fold", "seed", "method", "modalities"]
        wide = group.set_index(keys)["dice"].unstack(["method", "modalities"])
        rows += [
            {"cohort": cohort, "region": region}
            | _comparison(wide, method, baseline, modalities, (cohort, region), resamples)
            for method, baseline, modalities in _pairs(wide.columns)
        ]
    table = pd.DataFrame(rows, columns=COMPARISONS).astype({"p_holm": float, "family_size": "Int64"})
    for _, family in table.groupby(["cohort", "region"], sort=False):
        table.loc[family.index, "p_holm"] = statistics.holm(family["p_wilcoxon"].to_numpy())
        table.loc[family.index, "family_size"] = family["p_wilcoxon"].notna().sum()
    order = _rank(table, ["cohort"]) | {
        "region": table["region"].map(_position(REGIONS)),
        "modalities": table["modalities"].map(_position(all_subsets())),
    }
    # A stable sort keeps the methods in the order of the config.
    return table.iloc[np.lexsort([order["modalities"], order["region"], order["cohort"]])].reset_index(
        drop=True
    )


def _pairs(columns: pd.MultiIndex) -> list[tuple[str, str, str]]:
    """(method, baseline, modalities) of every comparison that the scored methods allow."""
    methods = dict.fromkeys(columns.get_level_values("method"))
    pairs = []
    for method, modalities in columns:
        if method not in (STUDENT, TEACHER):
            pairs.append((method, STUDENT, modalities))
        if method + TWO_STAGE in methods:
            pairs.append((method, method + TWO_STAGE, modalities))
    return pairs


def _comparison(
    wide: pd.DataFrame, method: str, baseline: str, modalities: str, name: tuple[str, str], resamples: int
) -> dict:
    """One row of comparisons.csv; `wide`: a row a patient, case, fold, seed; a column a method, subset."""
    empty = pd.Series(np.nan, index=wide.index)
    dice = pd.DataFrame(
        {
            "method": wide[method, modalities],
            "baseline": wide.get((baseline, modalities), empty),
            "student": wide.get((STUDENT, modalities), empty),
            "teacher": wide.get((TEACHER, ALL), empty),
        }
    )
    paired = dice[["method", "baseline"]].dropna()
    patients = _per_patient(paired.droplevel(["fold", "seed"]))
    gain = (patients["method"] - patients["baseline"]).to_numpy()
    seed = (*name, modalities, method, baseline)
    interval = (
        statistics.mean_interval(gain, statistics.generator("gain", *seed), resamples) if gain.size else None
    )
    p_wilcoxon, p_note = statistics.wilcoxon_p(gain)
    row = {
        "modalities": modalities,
        "method": method,
        "baseline": baseline,
        "n": len(gain),
        "dice_gain": gain.mean() if gain.size else np.nan,
        "ci_low": interval.low if interval else np.nan,
        "ci_high": interval.high if interval else np.nan,
        "p_wilcoxon": p_wilcoxon,
        "gap_recovered": np.nan,
        "gap_ci_low": np.nan,
        "gap_ci_high": np.nan,
    }
    notes = [interval.note if interval else "", p_note]
    unpaired = int(dice[["method", "baseline"]].notna().any(axis=1).sum()) - len(paired)
    if unpaired:
        notes.append(f"{unpaired} of {unpaired + len(paired)} cases × folds × seeds have no partner")
    if baseline == STUDENT:
        triples = _per_patient(dice[["method", "student", "teacher"]].dropna().droplevel(["fold", "seed"]))
        share, gap = statistics.gap_recovered(
            *(triples[who].to_numpy() for who in ("method", "student", "teacher")),
            statistics.generator("gap", *seed),
            resamples,
        )
        row |= {"gap_recovered": share, "gap_ci_low": gap.low, "gap_ci_high": gap.high}
        notes.append(gap.note)
    return row | {"note": _joined(notes)}


def _per_patient(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows indexed by patient and case: mean over what a case has several of, then over a patient's cases."""
    return rows.groupby(level=["patient", "case"]).mean().groupby(level="patient").mean()


def _runs(rows: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(rows["fold"], rows["seed"], strict=True))


def _in_order(per_case: pd.DataFrame):
    """Groups by cohort, method, subset, region: the first two as they appear, the others in fixed order."""
    by = ["cohort", "method", "modalities", "region"]
    order = _rank(per_case, ["cohort", "method"]) | {
        "modalities": per_case["modalities"].map(_position(all_subsets())),
        "region": per_case["region"].map(_position(REGIONS)),
    }
    ordered = per_case.iloc[np.lexsort([order[name] for name in reversed(by)])]
    return ordered.groupby(by, sort=False)


def _rank(table: pd.DataFrame, columns: list[str]) -> dict[str, pd.Series]:
    return {name: table[name].map(_position(table[name].unique())) for name in columns}


def _position(names) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


def _joined(notes: list[str]) -> str:
    return "; ".join(note for note in notes if note)
