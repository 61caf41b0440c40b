"""Tables of the report: plain lists of headings and rows, which the template makes sortable."""

from typing import Any

import pandas as pd

from crossmodal.evaluate.results import Experiment
from crossmodal.wording import REGIONS, method_label, modalities_label, signed

EMPTY = "–"


def cell(text: str, sort: Any = None) -> dict[str, Any]:
    """A table cell and the value it sorts by (the text itself for words)."""
    return {"text": text, "sort": text if sort is None else sort, "number": sort is not None}


def number(value: Any, form: str = ".3f") -> dict[str, Any]:
    """A numeric cell; a missing number is a dash that sorts last."""
    return cell(EMPTY, "") if pd.isna(value) else cell(format(value, form), repr(float(value)))


def result_tables(experiment: Experiment) -> list[dict[str, Any]]:
    """Dice, gains over the student, the other metrics."""
    tables = (dice_table(experiment), gain_table(experiment), metrics_table(experiment))
    return [without_constants(table) for table in tables if table]


def without_constants(table: dict[str, Any]) -> dict[str, Any]:
    """The table without columns that say the same in every row, which its caption then says once."""
    constant = {}
    for i, heading in enumerate(table["headings"]):
        values = {row[i]["text"] for row in table["rows"]}
        if heading in ("Cohort", "Against") and len(values) == 1:
            constant[i] = f"{heading}: {values.pop()}. "
    kept = [i for i in range(len(table["headings"])) if i not in constant]
    headings = [table["headings"][i] for i in kept]
    rows = [[row[i] for i in kept] for row in table["rows"]]
    return table | {"headings": headings, "rows": rows, "caption": "".join(constant.values()) + table["caption"]}


def dice_table(experiment: Experiment) -> dict[str, Any] | None:
    """Mean Dice and interval from summary.csv, one row for each cohort, method and subset."""
    summary = experiment.optional_table("summary")
    if summary.empty:
        return None
    rows = [[*head, *(dice_cell(regions.get(r)) for r in REGIONS)] for head, regions in by_network(summary)]
    caption = (
        f"Mean Dice and bootstrap 95% interval over held-out {experiment.unit}s (visits, seeds and folds of each "
        "averaged first). Dice is 1 where region and prediction are both empty, 0 where one is."
    )
    caption += empties(summary) + " Every case: tables/per_case.csv."
    headings = ["Cohort", "Method", "Given", "n", *REGIONS]
    return {"id": "table-dice", "title": "Dice", "headings": headings, "rows": rows, "caption": caption}


def metrics_table(experiment: Experiment) -> dict[str, Any] | None:
    """The other metrics of summary.csv, as far as it has them."""
    summary = experiment.optional_table("summary")
    if summary.empty:
        return None
    metrics = {
        "dice_present_mean": ("Dice, present", ".3f"),
        "hd95_mean_mm": ("HD95, mm", ".1f"),
        "hd95_median_mm": ("HD95 median, mm", ".1f"),
        "lesion_dice_mean": ("lesion Dice", ".3f"),
    }
    metrics = {name: text for name, text in metrics.items() if name in summary}
    headings = ["Cohort", "Method", "Given", "n", *(f"{r} {text}" for text, _ in metrics.values() for r in REGIONS)]
    rows = [
        [*head, *(metric_cell(regions.get(r), name, form) for name, (_, form) in metrics.items() for r in REGIONS)]
        for head, regions in by_network(summary)
    ]
    caption = (
        "Means over the same. Dice, present: those without the region left out. HD95: 95th percentile of the surface "
        "distance. Lesion Dice as in BraTS 2023, each lesion counting once, false positives as 0."
    )
    return {"id": "table-metrics", "title": "Other metrics", "headings": headings, "rows": rows, "caption": caption}


def by_network(summary: pd.DataFrame) -> list[tuple[list[dict[str, Any]], dict[str, pd.Series]]]:
    """For each cohort, method and subset: the cells that name it, and its row for each region."""
    found = []
    for (cohort, method, modalities), group in summary.groupby(["cohort", "method", "modalities"], sort=False):
        names = [cell(cohort), cell(method_label(method)), cell(modalities_label(modalities))]
        found.append(([*names, number(group.n.max(), ".0f")], {row.region: row for _, row in group.iterrows()}))
    return found


def dice_cell(row: pd.Series | None) -> dict[str, Any]:
    """0.853 (0.812–0.889), sorted by the mean."""
    if row is None or pd.isna(row.dice_mean):
        return cell(EMPTY, "")
    interval = "" if pd.isna(row.dice_ci_low) else f" ({row.dice_ci_low:.3f}–{row.dice_ci_high:.3f})"
    return cell(f"{row.dice_mean:.3f}{interval}", repr(float(row.dice_mean)))


def metric_cell(row: pd.Series | None, name: str, form: str) -> dict[str, Any]:
    """One metric of one region."""
    return cell(EMPTY, "") if row is None else number(row[name], form)


def empties(summary: pd.DataFrame) -> str:
    """How many patients lack a region, where the table counts them."""
    if "n_ref_empty" not in summary:
        return ""
    counts = summary.groupby(["cohort", "region"], sort=False).n_ref_empty.max()
    found = [f"{region} {count:.0f} ({cohort})" for (cohort, region), count in counts.items() if count > 0]
    return f" Empty in the reference: {', '.join(found) or 'none'}."


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
            cell(signed(r.dice_gain), r.dice_gain) if pd.notna(r.dice_gain) else cell(EMPTY, ""),
            cell(EMPTY, "") if pd.isna(r.ci_low) else cell(f"{signed(r.ci_low)} to {signed(r.ci_high)}", r.ci_low),
            *(number(r.p_wilcoxon, ".2g"), number(r.p_holm, ".2g"), number(r.gap_recovered, ".0%")),
        ]
        for r in table.itertuples()
    ]
    caption = (
        "Paired differences in Dice. Gap recovered: (method − student) over (teacher − student); empty where the "
        "teacher is not above the student. Holm's correction covers all comparisons of one cohort and region."
    )
    return {
        "id": "table-gain",
        "title": "Paired comparisons",
        "headings": headings,
        "rows": rows,
        "caption": caption,
    }


def cost_tables(experiment: Experiment) -> list[dict[str, Any]]:
    """What trainings cost, and what jobs asked for beside what they used; none that was not measured."""
    return [table for table in (training_cost(experiment), asked_and_used(experiment)) if table is not None]


def training_cost(experiment: Experiment) -> dict[str, Any] | None:
    """cost.csv, with whatever further columns it has."""
    table = experiment.optional_table("cost")
    if table.empty:
        return None
    names = {"method": "Method", "modalities": "Given", "train_s": "Training, min", "step_ms": "Step, ms"}
    names |= {"peak_mem_mb": "Peak memory, MB", "device": "Device"}
    headings = [names.get(c, c.replace("_", " ")) for c in table.columns]
    rows = [[cost_cell(column, row[column]) for column in table.columns] for row in table.to_dict("records")]
    caption = "Time and memory of each training as measured in this run; they vary from machine to machine."
    return {"id": "table-cost", "title": "Training", "headings": headings, "rows": rows, "caption": caption}


def asked_and_used(experiment: Experiment) -> dict[str, Any] | None:
    """resources.csv: where a cluster's queue would be shorter, and where a job came near its limit."""
    table = experiment.optional_table("resources")
    if table.empty:
        return None
    headings = ["Step", "Method", "Jobs", "Threads", "Memory asked, GB", "Most used, GB"]
    headings += ["Time asked, min", "Longest, min"]
    rows = [
        [
            *(cell(r.step.replace("_", " ")), cell(EMPTY, "") if pd.isna(r.method) else cell(method_label(r.method))),
            *(number(r.jobs, ".0f"), number(r.threads, ".0f")),
            *(number(r.asked_mem_mb / 1000, ".1f"), number(r.used_mem_mb / 1000, ".1f")),
            *(number(r.asked_min, ".0f"), number(r.used_min, ".1f")),
        ]
        for r in table.itertuples()
    ]
    caption = (
        "What each kind of job asked for, beside the most that one of them used in its last attempt: main memory with "
        "that of its child processes, and time. A limit far above the use makes a job wait in a cluster's queue."
    )
    title = "Asked for and used"
    return {"id": "table-resources", "title": title, "headings": headings, "rows": rows, "caption": caption}


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
