"""Tables of the report: plain lists of headings and rows, which the template makes sortable."""

from typing import Any

import pandas as pd

from crossmodal.figures.experiment import Experiment
from crossmodal.figures.wording import REGIONS, method_label, modalities_label

EMPTY = "–"


def cell(text: str, sort: Any = None) -> dict[str, Any]:
    """A table cell and the value it sorts by (the text itself for words)."""
    return {"text": text, "sort": text if sort is None else sort, "number": sort is not None}


def number(value: Any, form: str = ".3f") -> dict[str, Any]:
    """A numeric cell; a missing number is a dash that sorts last."""
    return cell(EMPTY, "") if pd.isna(value) else cell(format(value, form), repr(float(value)))


def result_tables(experiment: Experiment) -> list[dict[str, Any]]:
    """Dice and HD95 by method; gains over the student."""
    return [t for t in (dice_table(experiment), gain_table(experiment)) if t]


def dice_table(experiment: Experiment) -> dict[str, Any] | None:
    """summary.csv, one row for each cohort, method and subset."""
    summary = experiment.optional_table("summary")
    if summary.empty:
        return None
    headings = ["Cohort", "Method", "Given", "Cases"]
    headings += [f"{r} {what}" for r in REGIONS for what in ("Dice", "95% interval", "Dice, present", "HD95 mm")]
    rows = []
    for (cohort, method, modalities), group in summary.groupby(["cohort", "method", "modalities"], sort=False):
        row = [
            cell(cohort),
            cell(method_label(method)),
            cell(modalities_label(modalities)),
            number(group.n.max(), ".0f"),
        ]
        by_region = group.set_index("region")
        for region in REGIONS:
            r = by_region.loc[region] if region in by_region.index else pd.Series(dtype=float)
            low, high = r.get("dice_ci_low"), r.get("dice_ci_high")
            interval = cell(EMPTY, "") if pd.isna(low) or low is None else cell(f"{low:.3f}–{high:.3f}", low)
            row += [number(r.get("dice_mean", float("nan"))), interval]
            row += [
                number(r.get("dice_present_mean", float("nan"))),
                number(r.get("hd95_mean_mm", float("nan")), ".1f"),
            ]
        rows.append(row)
    caption = (
        "Means over held-out cases (seeds and folds of a case averaged first). Dice: 1 where region and prediction "
        "are both empty. Dice, present: cases without the region left out. HD95 is the 95th percentile of the "
        "surface distance. Every case: tables/per_case.csv."
    )
    return {
        "id": "table-dice",
        "title": "Dice and HD95",
        "headings": headings,
        "rows": rows,
        "caption": caption,
    }


def gain_table(experiment: Experiment) -> dict[str, Any] | None:
    """comparisons.csv as it is."""
    table = experiment.optional_table("comparisons")
    if table.empty:
        return None
    headings = ["Cohort", "Given", "Region", "Method", "Against", "Cases", "Gain in Dice", "95% interval"]
    headings += ["p (Wilcoxon)", "p (Holm)", "Gap recovered"]
    rows = [
        [
            *(cell(r.cohort), cell(modalities_label(r.modalities)), cell(r.region)),
            *(cell(method_label(r.method)), cell(method_label(r.baseline)), number(r.n, ".0f")),
            number(r.dice_gain, "+.3f"),
            cell(EMPTY, "") if pd.isna(r.ci_low) else cell(f"{r.ci_low:+.3f} to {r.ci_high:+.3f}", r.ci_low),
            *(number(r.p_wilcoxon, ".2g"), number(r.p_holm, ".2g"), number(r.gap_recovered, ".0%")),
        ]
        for r in table.itertuples()
    ]
    caption = (
        "Paired by case. Gap recovered: (method − baseline student) over (teacher − student); empty where the teacher "
        "is not above the student. Holm's correction covers all methods and subsets of one cohort and region."
    )
    return {
        "id": "table-gain",
        "title": "Paired comparisons",
        "headings": headings,
        "rows": rows,
        "caption": caption,
    }


def cost_tables(experiment: Experiment) -> list[dict[str, Any]]:
    """cost.csv, with whatever further columns it has."""
    table = experiment.optional_table("cost")
    if table.empty:
        return []
    names = {"method": "Method", "modalities": "Given", "train_s": "Training, min", "step_ms": "Step, ms"}
    names |= {"peak_mem_mb": "Peak memory, MB", "device": "Device"}
    headings = [names.get(c, c.replace("_", " ")) for c in table.columns]
    rows = [[cost_cell(column, row[column]) for column in table.columns] for row in table.to_dict("records")]
    caption = "Time and memory of each training as measured in this run; they vary from machine to machine."
    return [{"id": "table-cost", "title": "Cost", "headings": headings, "rows": rows, "caption": caption}]


def cost_cell(column: str, value: Any) -> dict[str, Any]:
    """Seconds become minutes, names become labels."""
    if column == "method":
        return cell(method_label(str(value)))
    if column == "modalities":
        return cell(modalities_label(str(value)))
    if column == "train_s":
        return number(value / 60, ".1f")
    if isinstance(value, int | float):
        return number(value, ".4g" if abs(value) < 1000 else ".0f")
    return cell(str(value))
