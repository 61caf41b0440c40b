"""Dice by method: every case as a point, joined across methods, with mean and 95% interval."""

import numpy as np

from crossmodal.domain import REGION_LABELS, REGIONS
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.figures.style import INK, ONE_COLUMN, PALE, TWO_COLUMNS, Drawing, look, new_figure, x_grid
from crossmodal.wording import method_label, modalities_label, number, plural

TITLE = "Dice by method"
CATEGORY = "Accuracy"
STACKED_UP_TO = 5  # methods; more of them need the width of the page


def draw(results: Results) -> Drawing:
    """Rows are methods, panels are regions (and subsets, when two or three were run)."""
    subsets = [s for s in results.shown_subsets if results.methods_at(s)]
    if not subsets:
        raise MissingDataError(f"no method has scores on {results.cohort}.")
    count = max(len(results.methods_at(s)) for s in subsets)
    stacked = len(subsets) == 1 and count <= STACKED_UP_TO
    rows, columns = (3, 1) if stacked else (len(subsets), 3)
    figure = new_figure(ONE_COLUMN if stacked else TWO_COLUMNS, rows * (0.45 + 0.2 * count) + 0.45)
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for i, subset in enumerate(subsets):
        for j, region in enumerate(REGIONS):
            axes = panels[j, 0] if stacked else panels[i, j]
            draw_panel(axes, results, subset, region, label=stacked or j == 0)
            several = f", {modalities_label(subset)}" if len(subsets) > 1 else ""
            axes.set_title(f"{REGION_LABELS[region]}{several}")
    for axes in panels[-1]:
        axes.set_xlabel("Dice")
    left = results.summary.dice_mean.min()
    panels[0, 0].set_xlim(0 if left < 0.5 else 0.3, 1.02)
    return Drawing(figure, caption(results, subsets), alt(results, subsets[0]))


def draw_panel(axes, results: Results, subset: str, region: str, label: bool) -> None:
    """One region and subset: thin lines join a case across methods, the large marker is the mean."""
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
        for row in results.at(summary, method, subset).itertuples():
            axes.plot([row.dice_ci_low, row.dice_ci_high], [y + 0.25] * 2, color=INK, lw=1.2, zorder=3)
            axes.plot(row.dice_mean, y + 0.25, marker, color=colour, ms=4.5, mec="white", mew=0.5, zorder=4)
    axes.set_yticks(range(len(methods)), [method_label(m) for m in methods] if label else [""] * len(methods))
    axes.set_ylim(len(methods) - 0.4, -0.6)
    x_grid(axes)


def caption(results: Results, subsets: list[str]) -> str:
    given = " or ".join(modalities_label(s) for s in subsets)
    text = (
        f"Dice of {plural(results.count(), f'held-out {results.unit}')} of {results.cohort}. Networks were "
        f"given {given}{results.seeing_all(results.methods)}. Small points are {results.unit}s (mean over visits, "
        "seeds and folds), thin lines join the same one; large markers are means, bars their bootstrap 95% intervals "
        f"over {results.unit}s. Dice is 1 where a region is absent and none is predicted."
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
