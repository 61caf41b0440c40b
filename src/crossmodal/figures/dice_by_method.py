"""Dice by method: every patient as a point, every training as a tick, the mean with its 95% interval."""

import numpy as np
from matplotlib.lines import Line2D

from crossmodal.domain import REGION_LABELS, REGIONS
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.evaluate.statistics import DIGITS
from crossmodal.figures import intervals
from crossmodal.figures.style import (
    GREY,
    INK,
    LEGEND_ROW_IN,
    ONE_COLUMN,
    PALE,
    TWO_COLUMNS,
    Drawing,
    legend_below,
    look,
    new_figure,
    x_grid,
)
from crossmodal.wording import method_label, modalities_label, number, plural

TITLE = "Dice by method"
CATEGORY = "Accuracy"
STACKED_UP_TO = 5  # methods; more of them need the width of the page
BELOW = 0.38  # of the patients lie mean, interval and trainings, in rows


def draw(results: Results) -> Drawing:
    """Rows are methods, panels are regions (and subsets, when two or three were run)."""
    results.table("summary", needs="trainings_ci_low")
    subsets = [s for s in results.shown_subsets if results.methods_at(s)]
    if not subsets:
        raise MissingDataError(f"no method has scores on {results.cohort}.")
    count = max(len(results.methods_at(s)) for s in subsets)
    stacked = len(subsets) == 1 and count <= STACKED_UP_TO
    rows, columns = (3, 1) if stacked else (len(subsets), 3)
    shown = intervals.kinds(results.summary_of(), "dice_ci")
    handles = [
        Line2D([], [], marker=".", ls="none", ms=3.5, color=GREY, label=f"one {results.unit}"),
        Line2D([], [], marker="o", ls="none", ms=4.5, color=GREY, label="mean"),
        intervals.tick(),
        *intervals.handles(shown, results.unit),
    ]
    legend_rows = -(-len(handles) // 2) if stacked else 1
    height = rows * ((0.52 + 0.24 * count) if stacked else (0.4 + 0.195 * count)) + 0.45 + LEGEND_ROW_IN * legend_rows
    figure = new_figure(ONE_COLUMN if stacked else TWO_COLUMNS, height, legend_rows)
    panels = figure.subplots(rows, columns, sharex=False if stacked else "col", squeeze=False)
    for i, subset in enumerate(subsets):
        for j, region in enumerate(REGIONS):
            axes = panels[j, 0] if stacked else panels[i, j]
            draw_panel(axes, results, subset, region, label=stacked or j == 0)
            several = f", {modalities_label(subset)}" if len(subsets) > 1 else ""
            axes.set_title(f"{REGION_LABELS[region]}{several}")
            axes.locator_params(axis="x", nbins=6)
    for axes in panels[-1]:
        axes.set_xlabel("Dice")
    legend_below(figure, handles, 2 if stacked else len(handles))
    return Drawing(figure, caption(results, subsets, shown), alt(results, subsets[0]))


def draw_panel(axes, results: Results, subset: str, region: str, label: bool) -> None:
    """One region and subset: thin lines join a patient across methods; below, mean, interval and trainings."""
    methods = results.methods_at(subset)
    cases = results.per_case.query("cohort == @results.cohort and region == @region")
    summary = results.summary_of().query("region == @region")
    paired = {m: results.at(cases, m, subset).set_index("patient").dice for m in methods}
    faint = np.clip(20 / max(map(len, paired.values())), 0.1, 1)  # hundreds of lines must not hide the means
    for patient in sorted(set().union(*(p.index for p in paired.values()))):
        line = [(paired[m].get(patient, np.nan), y) for y, m in enumerate(methods)]
        axes.plot(*zip(*line, strict=True), color=PALE, linewidth=0.5, alpha=faint, zorder=1)
    for y, method in enumerate(methods):
        (colour, marker), dice = look(method), paired[method]
        axes.plot(dice, np.full(len(dice), y), ".", color=colour, ms=2.5, alpha=0.6, mew=0, zorder=2)
        trainings = (
            results.dice_by_training(method, subset, [region]).groupby(level="patient").mean().mean().round(DIGITS)
        )
        intervals.draw_trainings(axes, trainings, y + BELOW, color=INK, zorder=3)
        for row in results.at(summary, method, subset).itertuples():
            intervals.draw_interval(axes, intervals.bounds(row, "dice_ci"), y + BELOW, color=INK, zorder=3)
            axes.plot(row.dice_mean, y + BELOW, marker, color=colour, ms=4.5, mec="white", mew=0.5, zorder=4)
    places = [y + BELOW / 2 for y in range(len(methods))]
    axes.set_yticks(places, [method_label(m) for m in methods] if label else [""] * len(methods))
    axes.set_ylim(len(methods) - 0.2, -0.4)
    x_grid(axes)


def caption(results: Results, subsets: list[str], shown: set[bool]) -> str:
    given = " or ".join(modalities_label(s) for s in subsets)
    text = (
        f"Dice of {plural(results.count(), f'held-out {results.unit}')} of {results.cohort}. Networks were "
        f"given {given}{results.seeing_all(results.methods)}. Points are {results.unit}s (mean over visits, "
        "seeds and folds), thin lines join the same one. Ticks are the means of single trainings, large markers those "
        f"of all.{intervals.words(shown, results.unit)} Each region has its own scale. "
        "Dice is 1 where a region is absent and none is predicted."
    )
    if len(results.subsets) > len(subsets):
        text += f" {len(results.subsets)} subsets were run: the subset matrix shows them all."
    if results.unscored_methods:
        text += f" Without scores: {', '.join(map(method_label, results.unscored_methods))}."
    return text


def alt(results: Results, subset: str) -> str:
    summary, parts = results.summary_of(), []
    for method in results.methods_at(subset):
        means = results.at(summary, method, subset).set_index("region").dice_mean
        parts.append(f"{method_label(method)} " + ", ".join(f"{r} {number(means[r])}" for r in REGIONS if r in means))
    return f"Mean Dice from {modalities_label(subset)}: {'; '.join(parts)}."
