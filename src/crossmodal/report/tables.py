"""Tables of the report: plain lists of headings and rows, which the template makes sortable."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from crossmodal import wording
from crossmodal.domain import REGIONS
from crossmodal.evaluate.comparisons import finding_words
from crossmodal.evaluate.results import Results
from crossmodal.evaluate.summary import dice_with_interval
from crossmodal.evaluate.trainings import FEWEST
from crossmodal.wording import MISSING, method_label, modalities_label

Cell = dict[str, Any]


def cell(text: str, sort: Any = None) -> Cell:
    """A table cell and the value it sorts by (the text itself for words)."""
    return {"text": text, "sort": text if sort is None else sort, "number": sort is not None}


def numeric(value: Any, text: str) -> Cell:
    """A cell that sorts by a number; a missing number is a dash that sorts last."""
    return cell(MISSING, "") if pd.isna(value) else cell(text, repr(float(value)))


def number(value: Any, digits: int = 3) -> Cell:
    """A numeric cell."""
    return numeric(value, wording.number(value, digits))


def methods(*names: Any) -> list[Cell]:
    """Cells that name methods; a dash for a missing name."""
    return [cell(MISSING, "") if pd.isna(name) else cell(method_label(str(name))) for name in names]


def page_table(name: str, title: str, headings: list[str], rows: list[list[Cell]], caption: str) -> dict[str, Any]:
    """What the template shows as a table; its id is table-<name>."""
    return {"id": f"table-{name}", "title": title, "headings": headings, "rows": rows, "caption": caption}


def result_tables(results: Results) -> list[dict[str, Any]]:
    """Dice, gains over the student, the other metrics."""
    summary, comparisons = results.optional_table("summary"), results.optional_table("comparisons")
    found = []
    if not summary.empty:
        found.append(dice_table(summary, results.unit))
    if "finding" in comparisons and not comparisons.empty:
        found.append(gain_table(comparisons, results.seeing_all(comparisons.method.unique())))
    if not summary.empty:
        found.append(metrics_table(summary))
    return [without_constants(table) for table in found]


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


def dice_table(summary: pd.DataFrame, unit: str) -> dict[str, Any]:
    """Mean Dice and interval, one row for each cohort, method and subset; `unit`: patient or phantom."""
    rows = [[*head, *map(dice_cell, regions.itertuples())] for head, regions in by_network(summary)]
    caption = (
        f"Mean Dice and 95% interval over held-out {unit}s and trainings (visits, seeds and folds of each averaged "
        f"first). *: over {unit}s alone, from fewer than {FEWEST} trainings. Dice is 1 where region and prediction are "
        "both empty, 0 where one is."
    )
    caption += empties(summary) + " Every case: tables/per_case.csv."
    return page_table("dice", "Dice", ["Cohort", "Method", "Given", "n", *REGIONS], rows, caption)


def metrics_table(summary: pd.DataFrame) -> dict[str, Any]:
    """The other metrics of summary.csv."""
    metrics = {
        "dice_present_mean": ("Dice, present", 3),
        "hd95_mean_mm": ("HD95, mm", 1),
        "hd95_median_mm": ("HD95 median, mm", 1),
        "nsd_1mm_mean": ("NSD 1 mm", 3),
        "lesion_dice_mean": ("lesion Dice", 3),
    }
    if "nsd_1mm_mean" not in summary:  # of an earlier version
        summary = summary.assign(nsd_1mm_mean=float("nan"))
    headings = ["Cohort", "Method", "Given", "n", *(f"{r} {text}" for text, _ in metrics.values() for r in REGIONS)]
    rows = [
        [*head, *(number(value, digits) for name, (_, digits) in metrics.items() for value in regions[name])]
        for head, regions in by_network(summary)
    ]
    caption = (
        "Means over the same. Dice, present: those without the region left out. HD95: 95th percentile of the surface "
        "distance. NSD 1 mm: share of both surfaces within 1 mm of the other. Lesion Dice as in "
        "BraTS 2023, each lesion counting once, false positives as 0."
    )
    return page_table("metrics", "Other metrics", headings, rows, caption)


def by_network(summary: pd.DataFrame) -> Iterator[tuple[list[Cell], pd.DataFrame]]:
    """For each cohort, method and subset: the cells that name it, and a row for each of `REGIONS`, NaN where absent."""
    for (cohort, method, modalities), group in summary.groupby(["cohort", "method", "modalities"], sort=False):
        names = [cell(cohort), *methods(method), cell(modalities_label(modalities))]
        yield [*names, number(group.n.max(), 0)], group.set_index("region").reindex(REGIONS)


def dice_cell(row: Any) -> Cell:
    """0.853 (0.812 to 0.889), sorted by the mean."""
    return numeric(row.dice_mean, dice_with_interval(row))


def empties(summary: pd.DataFrame) -> str:
    """How many patients lack a region, where the table counts them."""
    if "n_ref_empty" not in summary:
        return ""
    counts = summary.groupby(["cohort", "region"], sort=False).n_ref_empty.max()
    found = [f"{region} {count:.0f} ({cohort})" for (cohort, region), count in counts.items() if count > 0]
    return f" Empty in the reference: {', '.join(found) or 'none'}."


def gain_table(comparisons: pd.DataFrame, seeing_all: str) -> dict[str, Any]:
    """comparisons.csv as it is; `seeing_all`: which methods are given more than the student (`Results.seeing_all`)."""
    headings = ["Cohort", "Given", "Region", "Method", "Against", "Cases", "Trainings", "Gain in Dice", "95% interval"]
    headings += ["p (Holm)", "Finding", "SD between trainings", "These networks alone", "Gap recovered"]
    rows = [
        [
            *(cell(r.cohort), cell(modalities_label(r.modalities)), cell(r.region)),
            *(*methods(r.method, r.baseline), number(r.n, 0), cell(f"{r.n_trainings} / {r.n_trainings_baseline}")),
            numeric(r.dice_gain, wording.number(r.dice_gain, sign=True)),
            numeric(r.trainings_ci_low, wording.interval(r.trainings_ci_low, r.trainings_ci_high, sign=True)),
            numeric(r.p_trainings_holm, wording.p_value(r.p_trainings_holm)),
            cell(finding_words(r)),
            cell(f"{wording.number(r.sd_trainings)} / {wording.number(r.sd_trainings_baseline)}"),
            numeric(r.ci_low, wording.interval(r.ci_low, r.ci_high, sign=True)),
            numeric(r.gap_recovered, wording.percent(r.gap_recovered)),
        ]
        for r in comparisons.itertuples()
    ]
    caption = (
        f"Differences in Dice between the same patients{seeing_all}. Interval and p are over patients and trainings, "
        f"Holm's correction over all comparisons of one cohort and region; with fewer than {FEWEST} trainings of each "
        f"nothing is claimed. Within ±{comparisons.margin.iloc[0]:g}: equivalent for this margin. Trainings, SD "
        "between trainings: of the method / of what it is compared with. These networks alone: interval over patients, "
        "which says nothing of another training. Gap recovered: (method − student) over (teacher − student); empty "
        "where the teacher is not above the student."
    )
    return page_table("gain", "Paired comparisons", headings, rows, caption)


def cost_tables(results: Results) -> list[dict[str, Any]]:
    """What trainings cost, and what jobs asked for beside what they used; none that was not measured."""
    cost, resources = results.optional_table("cost"), results.optional_table("resources")
    found = [] if cost.empty else [training_cost(cost, results.timed_in)]
    return found if resources.empty else [*found, asked_and_used(resources)]


def training_cost(cost: pd.DataFrame, timed_in: str) -> dict[str, Any]:
    """cost.csv; `timed_in`: where it was measured (`Results.timed_in`)."""
    headings = ["Method", "Given", "Training, min", "Step, ms", "Peak memory, MB", "Device"]
    rows = [
        [
            *(*methods(r.method), cell(modalities_label(r.modalities))),
            *(number(r.train_s / 60, 1), number(r.step_ms, 1), number(r.peak_mem_mb, 0), cell(str(r.device))),
        ]
        for r in cost.itertuples()
    ]
    if "runs" in cost:
        headings.append("Runs")
        rows = [[*row, number(runs, 0)] for row, runs in zip(rows, cost.runs, strict=True)]
    caption = f"Time and memory of each training as measured in {timed_in}; they vary from machine to machine."
    return page_table("cost", "Training", headings, rows, caption)


def asked_and_used(resources: pd.DataFrame) -> dict[str, Any]:
    """resources.csv: where a cluster's queue would be shorter, and where a job came near its limit."""
    headings = ["Step", "Method", "Jobs", "Threads", "Memory asked, GB", "Most used, GB"]
    headings += ["Time asked, min", "Longest, min"]
    rows = [
        [
            *(cell(r.step.replace("_", " ")), *methods(r.method), number(r.jobs, 0), number(r.threads, 0)),
            *(number(r.asked_mem_mb / 1000, 1), number(r.used_mem_mb / 1000, 1)),
            *(number(r.asked_min, 0), number(r.used_min, 1)),
        ]
        for r in resources.itertuples()
    ]
    caption = (
        "What each kind of job asked for, beside the most that one of them used in its last attempt: main memory with "
        "that of its child processes, and time. A limit far above the use makes a job wait in a cluster's queue."
    )
    return page_table("resources", "Asked for and used", headings, rows, caption)
