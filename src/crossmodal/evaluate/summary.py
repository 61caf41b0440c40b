"""summary.csv: means over patients, with intervals over patients alone and over patients and trainings."""

import pandas as pd

from crossmodal.evaluate import statistics
from crossmodal.evaluate.blocks import blocks, by_training
from crossmodal.evaluate.per_case import SCORES, groups, per_patient, runs_of
from crossmodal.progress import track
from crossmodal.wording import estimate


def summarise(per_case: pd.DataFrame, resamples: int = statistics.RESAMPLES) -> pd.DataFrame:
    """The rows of summary.csv: means over patients, each the mean of its visits, folds and seeds.

    `n_ref_empty` counts patients without the region in any reference, `n_pred_empty` those in whom no run
    predicted any of it, `runs` the folds × seeds that went in. The volume error is predicted − reference; its absolute
    value is taken for each prediction, before averaging.

    Args:
        per_case: a table of `read_per_case`, after `held_out`.
        resamples: of each bootstrap; 0 for no intervals.
    """
    whole = {cohort: (runs_of(rows), rows["patient"].nunique()) for cohort, rows in per_case.groupby("cohort")}
    grouped = list(groups(per_case, ["cohort", "method", "modalities", "region"]))
    return pd.DataFrame(
        [_row(name, rows, *whole[name[0]], resamples) for name, rows in track(grouped, "rows of summary.csv")]
    )


def _row(name: tuple, rows: pd.DataFrame, all_runs: set, all_patients: int, resamples: int) -> dict:
    cohort, method, modalities, region = name
    error = rows["volume_pred_ml"] - rows["volume_ref_ml"]
    numbers = rows[["patient", "case", *SCORES]].assign(volume_error_ml=error, volume_error_abs_ml=error.abs())
    patients = per_patient(numbers.set_index(["patient", "case"]))
    rng = statistics.generator("summary", *name)
    interval = statistics.mean_interval(patients["dice"].to_numpy(), rng, resamples)
    over_trainings = blocks(by_training(rows))
    low, high = over_trainings.mean().interval()
    n, runs = len(patients), len(runs_of(rows))
    n_ref_empty = int(patients["dice_present"].isna().sum())
    notes = [
        interval.note,
        f"no patient has {region} in the reference" if n_ref_empty == n else "",
        f"{runs} of {len(all_runs)} runs (folds × seeds)" if runs < len(all_runs) else "",
        f"{n} of {all_patients} patients" if n < all_patients else "",
    ]
    means = patients.mean()
    return {
        "cohort": cohort,
        "method": method,
        "modalities": modalities,
        "region": region,
        "n": n,
        "dice_mean": means["dice"],
        "dice_ci_low": interval.low,
        "dice_ci_high": interval.high,
        "dice_present_mean": means["dice_present"],
        "hd95_mean_mm": means["hd95_mm"],
        "hd95_median_mm": patients["hd95_mm"].median(),
        "lesion_dice_mean": means["lesion_dice"],
        "lesion_hd95_mean_mm": means["lesion_hd95_mm"],
        "nsd_1mm_mean": means["nsd_1mm"],
        "volume_error_mean_ml": means["volume_error_ml"],
        "volume_error_abs_mean_ml": means["volume_error_abs_ml"],
        "dice_et_postprocessed_mean": means["dice_et_postprocessed"],
        "hd95_et_postprocessed_mean_mm": means["hd95_et_postprocessed_mm"],
        "n_ref_empty": n_ref_empty,
        "n_pred_empty": int((patients["volume_pred_ml"] == 0).sum()),
        "runs": runs,
        "sd_trainings": over_trainings.sd(),
        "trainings_ci_low": low,
        "trainings_ci_high": min(high, 1.0),
        "note": statistics.joined(notes),
    }


def dice_with_interval(row) -> str:
    """A row's mean Dice with its interval over patients and trainings, or, marked *, over patients alone.

    Args:
        row: of summary.csv, by `itertuples`.
    """
    if pd.notna(getattr(row, "trainings_ci_low", None)):
        return estimate(row.dice_mean, row.trainings_ci_low, row.trainings_ci_high)
    return estimate(row.dice_mean, row.dice_ci_low, row.dice_ci_high) + ("*" if pd.notna(row.dice_ci_low) else "")
