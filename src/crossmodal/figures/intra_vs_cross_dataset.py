"""Dice on the cohort that was trained on against Dice on other cohorts (as figure 1 of Dong et al. 2025)."""

from itertools import cycle

import pandas as pd
from matplotlib.lines import Line2D

from crossmodal.domain import REGION_LABELS, REGIONS
from crossmodal.evaluate.results import MissingDataError, OneNumberError, Results
from crossmodal.figures import intervals
from crossmodal.figures.style import (
    GREY,
    LEGEND_ROW_IN,
    PALE,
    TWO_COLUMNS,
    Drawing,
    legend_below,
    look,
    new_figure,
    x_grid,
)
from crossmodal.wording import enumerate_words, method_label, modalities_label, number

TITLE = "Within and across cohorts"
CATEGORY = "Generalisation"
FILLS = ("full", "none", "right", "top")  # of the cohort that was trained on, and of the others
MARKER = {"marker": "o", "ls": "none", "ms": 4.5, "color": GREY, "mfcalt": "white"}


def draw(results: Results) -> Drawing:
    """Panels are regions, rows methods: Dice on each cohort, the one that was trained on first."""
    results.table("summary", needs="trainings_ci_low")
    externals = results.externals
    if not externals:
        raise MissingDataError("one cohort was tested; `external:` in the config names others.")
    subset = results.focus_subset
    methods = [m for m in results.methods_at(subset) if any(m in results.methods_at(subset, e) for e in externals)]
    if not methods:
        raise MissingDataError("no method has scores on both the training cohort and another one.")
    if len(methods) == 1:
        raise OneNumberError(f"{alt(results, methods, subset, externals)} One method is no figure.")
    cohorts = [results.cohort, *externals]
    tables = [results.summary_of(cohort) for cohort in cohorts]
    shown = set().union(*(intervals.kinds(table, "dice_ci") for table in tables))
    labels = [f"{results.cohort} (trained on)", *externals]
    handles = [Line2D([], [], **MARKER, fillstyle=fill, label=label) for label, fill in zip(labels, cycle(FILLS))]
    handles += intervals.handles(shown, results.unit)
    legend_rows = -(-len(handles) // 4)
    height = 0.6 + (0.09 + 0.075 * len(cohorts)) * len(methods)
    figure = new_figure(TWO_COLUMNS, height + LEGEND_ROW_IN * legend_rows, legend_rows)
    for axes, region in zip(figure.subplots(1, 3, sharey=True), REGIONS, strict=True):
        draw_panel(axes, results, methods, subset, [table[table.region == region] for table in tables])
        axes.set_title(REGION_LABELS[region])
        axes.set_xlabel("Dice")
    legend_below(figure, handles, min(4, len(handles)))
    return Drawing(figure, caption(results, externals, subset, shown), alt(results, methods, subset, externals))


def draw_panel(axes, results: Results, methods: list[str], subset: str, tables: list[pd.DataFrame]) -> None:
    """One region: a row a method, and in it, one below the other, the cohorts, joined to the one it was trained on."""
    step = 0.6 / len(tables)
    for row, method in enumerate(methods):
        colour, marker = look(method)
        first, top = None, row - step * (len(tables) - 1) / 2
        for place, (table, fill) in enumerate(zip(tables, cycle(FILLS))):
            for one in results.at(table, method, subset).itertuples():
                mean, y = one.dice_mean, top + step * place
                first = first or (mean, y)
                axes.plot(*zip(first, (mean, y), strict=True), color=PALE, lw=0.8, zorder=1)
                intervals.draw_interval(axes, intervals.bounds(one, "dice_ci"), y, color=colour, lw=0.9)
                axes.plot(mean, y, marker, color=colour, ms=4.5, fillstyle=fill, mfcalt="white", zorder=3)
    axes.set_yticks(range(len(methods)), [method_label(method) for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=6)
    x_grid(axes)


def caption(results: Results, externals: list[str], subset: str, shown: set[bool]) -> str:
    return (
        f"Mean Dice of networks trained on {results.cohort}, on its held-out {results.unit}s (full markers) and on "
        f"{enumerate_words(externals)} (below, joined by a pale line), given {modalities_label(subset)}."
        f"{intervals.words(shown, results.unit)} Where that line runs to the left, a method is worse on the cohort "
        "that it has not seen. Each region has its own scale."
    )


def alt(results: Results, methods: list[str], subset: str, externals: list[str]) -> str:
    parts = []
    for external in externals:
        for method in methods:
            intra, cross = (
                results.at(results.summary_of(cohort), method, subset).set_index("region").dice_mean
                for cohort in (results.cohort, external)
            )
            both = [region for region in REGIONS if region in intra and region in cross]
            pairs = [f"{region} {number(intra[region])} to {number(cross[region])}" for region in both]
            parts.append(f"{method_label(method)} on {external}: {', '.join(pairs)}")
    return f"Dice within and across cohorts: {'; '.join(parts)}."
