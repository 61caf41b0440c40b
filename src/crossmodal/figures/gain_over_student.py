"""Gain over the student alone: a forest plot of paired differences in Dice."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from crossmodal.domain import REGION_LABELS, REGIONS
from crossmodal.evaluate.comparisons import EQUIVALENT, GAIN, LOSS, NOT_SHOWN, TOO_FEW, finding_words
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.evaluate.trainings import FEWEST
from crossmodal.figures import intervals
from crossmodal.figures.style import (
    GREY,
    INK,
    LEGEND_ROW_IN,
    ONE_COLUMN,
    TWO_COLUMNS,
    Drawing,
    legend_below,
    look,
    new_figure,
    x_grid,
)
from crossmodal.wording import enumerate_words, estimate, method_label, modalities_label, number, plural

TITLE = "Gain over the student alone"
CATEGORY = "Accuracy"
STACKED_UP_TO = 4  # rows in a panel
BAND = "#eef1f5"  # of the margin
Row = tuple[str, str | None]  # method and subset; no subset for the spread over all of them


def draw(results: Results) -> Drawing:
    """Rows are methods (and subsets), panels are regions; beyond three subsets, the spread over subsets."""
    table = results.gains()
    shown = [s for s in results.shown_subsets if s in set(table.modalities)]
    many = len(results.subsets) > len(results.shown_subsets)
    compared = set(zip(table.method, table.modalities, strict=True)) | {(method, None) for method in table.method}
    rows = [(m, s) for s in ([None] if many else shown) for m in results.methods if (m, s) in compared]
    if not rows:
        raise MissingDataError("no method is compared with the student alone for the subsets that are shown.")
    stacked = len(rows) <= STACKED_UP_TO
    handles = legend(table, many, results.unit)
    columns = 2 if stacked else 4
    legend_rows = -(-len(handles) // columns)
    height = 0.45 + (0.32 if stacked else 0.24) * len(rows)
    size = (ONE_COLUMN, 3 * height + 0.3) if stacked else (TWO_COLUMNS, height + 0.45)
    figure = new_figure(size[0], size[1] + LEGEND_ROW_IN * legend_rows, legend_rows)
    panels = np.ravel(figure.subplots(3 if stacked else 1, 1 if stacked else 3, sharex=True, squeeze=False))
    for j, (axes, region) in enumerate(zip(panels, REGIONS, strict=True)):
        draw_panel(axes, results, table[table.region == region], rows, in_words=stacked)
        axes.set_title(REGION_LABELS[region])
        if j and not stacked:
            axes.tick_params(axis="y", labelleft=False)
        if j == 2 or not stacked:
            axes.set_xlabel("Gain in Dice over the student alone")
        axes.locator_params(axis="x", nbins=4, steps=[1, 2, 4, 5, 10])  # 2.5 needs longer numbers
    legend_below(figure, handles, columns)
    return Drawing(figure, caption(results, table, many), alt(table, rows))


def draw_panel(axes, results: Results, table: pd.DataFrame, rows: list[Row], in_words: bool) -> None:
    """One region: the gain of each row, at the right also in numbers and, `in_words`, what it may claim."""
    if len(table):
        axes.axvspan(-table.margin.iloc[0], table.margin.iloc[0], color=BAND, zorder=0, gid="margin")
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    several = len({subset for _, subset in rows}) > 1
    for y, (method, subset) in enumerate(rows):
        mine = table[(table.method == method) & ((table.modalities == subset) | (subset is None))]
        draw_row = draw_subset if subset else draw_spread
        words = "no value" if mine.empty else draw_row(axes, results, mine, y, in_words)
        axes.text(1.03, y, words, transform=axes.get_yaxis_transform(), va="center", linespacing=1.1)
    labels = [method_label(m) + (f"\n{modalities_label(s)}" if several and s else "") for m, s in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    x_grid(axes)


def draw_subset(axes, results: Results, mine: pd.DataFrame, y: float, in_words: bool) -> str:
    """A row of one method and subset: gain, interval, and the gain of each training; returns the row's words."""
    row = next(mine.itertuples())
    colour, marker = look(row.method)
    low, high, over_trainings = intervals.bounds(row)
    trainings = results.gains_of_trainings(row.method, row.modalities, [row.region])
    intervals.draw_interval(axes, (low, high, over_trainings), y, color=colour)
    intervals.draw_trainings(axes, trainings, y, color=colour)
    axes.plot(row.dice_gain, y, marker, color=colour, ms=5, zorder=3, **fill(row.finding))
    if not in_words:
        return number(row.dice_gain, sign=True)
    low, high = (low, high) if over_trainings else (np.nan, np.nan)
    return f"{estimate(row.dice_gain, low, high, sign=True)}\n{finding_words(row)}"


def draw_spread(axes, results: Results, mine: pd.DataFrame, y: float, in_words: bool) -> str:
    """A row of one method on its subsets: a marker for each, their mean, and that of each training of all of them."""
    colour, marker = look(mine.method.iloc[0])
    for row in mine.itertuples():
        axes.plot(row.dice_gain, y + 0.24, marker, color=colour, ms=3, mew=0.6, zorder=3, **fill(row.finding))
    trainings = [results.gains_of_trainings(row.method, row.modalities, [row.region]) for row in mine.itertuples()]
    of_all_subsets = pd.concat(trainings, axis=1).dropna().mean(axis=1)
    intervals.draw_trainings(axes, of_all_subsets, y - 0.12, color=colour)
    axes.plot(mine.dice_gain.mean(), y - 0.12, "|", color=INK, ms=9, mew=1.6, zorder=2)
    return number(mine.dice_gain.mean(), sign=True)


def fill(finding: str) -> dict[str, Any]:
    """How a marker is filled by what its row may claim: all of it, half, or nothing."""
    if finding in (GAIN, LOSS):
        return {"fillstyle": "full"}
    return {"fillstyle": "bottom", "mfcalt": "white"} if finding == EQUIVALENT else {"mfc": "white"}


def legend(table: pd.DataFrame, many: bool, unit: str) -> list:
    """What the markers, ticks, bars and the band are; only those that are drawn."""
    margin, found = f"±{table.margin.iloc[0]:g}", set(table.finding)
    too_few = f"fewer than {FEWEST} trainings"
    neither = ", or ".join(
        words for finding, words in ((NOT_SHOWN, "not shown"), (TOO_FEW, too_few)) if finding in found
    )
    labels = {GAIN: "gain or loss" if found & {GAIN, LOSS} else "", EQUIVALENT: "", NOT_SHOWN: neither}
    if EQUIVALENT in found:
        labels[EQUIVALENT] = f"equivalent within {margin}"
    marker = {"color": GREY, "marker": "o", "ls": "none", "ms": 3.5 if many else 5}
    handles = [Line2D([], [], label=words, **marker | fill(finding)) for finding, words in labels.items() if words]
    if many:
        handles.append(Line2D([], [], color=INK, marker="|", ls="none", ms=9, mew=1.6, label="mean over subsets"))
    lines = intervals.handles(set() if many else intervals.kinds(table), unit)
    return [*handles, intervals.tick(), *lines, Patch(color=BAND, label=f"margin {margin}")]


def caption(results: Results, table: pd.DataFrame, many: bool) -> str:
    margin = f"±{table.margin.iloc[0]:g}"
    text = (
        f"Difference in Dice between each method and the student alone on the same {results.unit}s of "
        f"{results.cohort} ({int(table.n.max())}). Right of the line: the method is better. Ticks are single "
        "trainings of the method, each against the mean of the student's. "
    )
    if many:
        fewest, most = table.groupby("method").modalities.nunique().agg(["min", "max"])
        count = f"{most}" if fewest == most else f"{fewest} to {most}"
        text += (
            f"Markers are the modality subsets of a method ({count}), thick lines their mean, of which nothing "
            "is claimed; a tick is the mean over subsets too, of a seed that all of them were trained with."
        )
    else:
        given = enumerate_words([modalities_label(s) for s in results.shown_subsets])
        text += f"Given: {given}{results.seeing_all(table.method.unique())}."
        text += intervals.words(intervals.kinds(table), results.unit)
    text += f" Band: {margin}, the margin within which a difference makes none."
    tested = table[table.finding != TOO_FEW]
    if len(tested):
        family = int(tested.groupby("region").size().max())
        text += (
            f" Full markers: a gain or a loss over {results.unit}s and trainings, p < 0.05 after Holm's correction "
            f"({plural(family, 'comparison')} a region); half full: equivalent within the margin, p < 0.05; open: "
            f"neither. Gains or losses: {tested.finding.isin([GAIN, LOSS]).sum()} of {len(table)} comparisons."
        )
    elif many:
        text += f" {intervals.NOTHING_CLAIMED}"
    return text


def alt(table: pd.DataFrame, rows: list[Row]) -> str:
    parts = []
    for method, subset in rows:
        mine = table[(table.method == method) & ((table.modalities == subset) | (subset is None))]
        means = mine.groupby("region").dice_gain.mean()
        gain = ", ".join(f"{r} {number(means[r], sign=True)}" for r in REGIONS if r in means)
        parts.append(f"{method_label(method)}{f' from {modalities_label(subset)}' if subset else ''} {gain}")
    return f"Gain in Dice over the student alone: {'; '.join(parts)}."
