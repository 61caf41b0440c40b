"""Gain over the student alone: a forest plot of paired differences in Dice."""

import numpy as np
import pandas as pd

from crossmodal.domain import REGION_LABELS, REGIONS
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.figures.style import INK, ONE_COLUMN, TWO_COLUMNS, Drawing, look, new_figure, x_grid
from crossmodal.wording import enumerate_words, estimate, method_label, modalities_label, number, plural

TITLE = "Gain over the student alone"
CATEGORY = "Accuracy"
STACKED_UP_TO = 4  # rows in a panel


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
    height = 0.45 + 0.24 * len(rows)
    figure = new_figure(ONE_COLUMN, 3 * height + 0.3) if stacked else new_figure(TWO_COLUMNS, height + 0.45)
    panels = np.ravel(figure.subplots(3 if stacked else 1, 1 if stacked else 3, sharex=True, squeeze=False))
    for j, (axes, region) in enumerate(zip(panels, REGIONS, strict=True)):
        draw_panel(axes, table[table.region == region], rows, several=len(shown) > 1, intervals=stacked)
        axes.set_title(REGION_LABELS[region])
        if j and not stacked:
            axes.tick_params(axis="y", labelleft=False)
        if j == 2 or not stacked:
            axes.set_xlabel("Gain in Dice over the student alone")
        axes.locator_params(axis="x", nbins=4)
    return Drawing(figure, caption(results, table, many), alt(table, rows))


def draw_panel(axes, table: pd.DataFrame, rows: list[tuple[str, str | None]], several: bool, intervals: bool) -> None:
    """One region: the mean gain of each row (over all subsets where it names none), also in numbers at the right.

    With `several` subsets labels name them; `intervals` stand beside the numbers where there is room.
    """
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    for y, (method, subset) in enumerate(rows):
        mine = table[table.method == method]
        colour, marker = look(method)
        if subset is None:
            axes.plot(mine.dice_gain, np.full(len(mine), y + 0.22), ".", color=colour, ms=3, mew=0, alpha=0.6)
            axes.plot(mine.dice_gain.mean(), y, marker, color=colour, ms=5, zorder=3)
            words = number(mine.dice_gain.mean(), sign=True) if len(mine) else "no value"
        else:
            words = "no value"
            for row in mine[mine.modalities == subset].itertuples():
                axes.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.5, zorder=2)
                fill = colour if row.p_holm < 0.05 else "white"
                axes.plot(row.dice_gain, y, marker, color=colour, mfc=fill, ms=5, zorder=3)
                shown = (row.dice_gain, row.ci_low, row.ci_high) if intervals else (row.dice_gain, np.nan, np.nan)
                words = estimate(*shown, sign=True)
        axes.text(1.03, y, words, transform=axes.get_yaxis_transform(), va="center")
    labels = [method_label(m) + (f"\n{modalities_label(s)}" if several and s else "") for m, s in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    x_grid(axes)


def caption(results: Results, table: pd.DataFrame, many: bool) -> str:
    family = len(table[["method", "modalities"]].drop_duplicates())
    if "family_size" in table and table.family_size.notna().any():
        family = int(table.family_size.max())
    text = (
        f"Difference in Dice between each method and the student alone on the same {results.unit}s of "
        f"{results.cohort} ({int(table.n.max())}). Right of the line: the method is better. "
    )
    if many:
        text += (
            f"Small points are the {len(results.subsets)} modality subsets, large markers their mean; "
            f"a mean over subsets has no interval here."
        )
    else:
        given = enumerate_words([modalities_label(s) for s in results.shown_subsets])
        text += f"Given: {given}{results.seeing_all(table.method.unique())}. "
        text += f"Bars are bootstrap 95% intervals over {results.unit}s."
    significant = table[table.p_holm < 0.05]
    return text + (
        f" p < 0.05 after Holm's correction (Wilcoxon signed-rank, {plural(family, 'comparison')} a region): "
        f"{len(significant)} of {len(table)} comparisons{'' if many else ' (full markers; open: not)'}."
    )


def alt(table: pd.DataFrame, rows: list[tuple[str, str | None]]) -> str:
    parts = []
    for method, subset in rows:
        mine = table[(table.method == method) & ((table.modalities == subset) | (subset is None))]
        means = mine.groupby("region").dice_gain.mean()
        gain = ", ".join(f"{r} {number(means[r], sign=True)}" for r in REGIONS if r in means)
        parts.append(f"{method_label(method)}{f' from {modalities_label(subset)}' if subset else ''} {gain}")
    return f"Gain in Dice over the student alone: {'; '.join(parts)}."
