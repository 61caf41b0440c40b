"""Dice on the cohort that was trained on against Dice on other cohorts (as figure 1 of Dong et al. 2025)."""

import numpy as np

from crossmodal.domain import REGION_LABELS, REGIONS
from crossmodal.evaluate.results import MissingDataError, OneNumberError, Results
from crossmodal.figures import intervals
from crossmodal.figures.style import GREY, TWO_COLUMNS, Drawing, legend_below, look, method_handles, new_figure
from crossmodal.wording import enumerate_words, method_label, modalities_label, number

TITLE = "Within and across cohorts"
CATEGORY = "Generalisation"


def draw(results: Results) -> Drawing:
    """Panels are regions (and rows external cohorts); a method on the diagonal loses nothing elsewhere."""
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
    handles = method_handles(methods) + intervals.handles(intervals.kinds(results.summary, "dice_ci"), results.unit)
    legend_rows = -(-len(handles) // 4)
    figure = new_figure(TWO_COLUMNS, 2.5 * len(externals) + 0.16 * legend_rows + 0.55, legend_rows)
    panels = figure.subplots(len(externals), 3, squeeze=False, sharex=True, sharey=True)
    for i, external in enumerate(externals):
        for j, region in enumerate(REGIONS):
            draw_panel(panels[i, j], results, methods, subset, external, region)
            panels[i, j].set_title(REGION_LABELS[region])
        panels[i, 0].set_ylabel(f"Dice on {external}")
    for axes in panels[-1]:
        axes.set_xlabel(f"Dice on {results.cohort}")
    fit_limits(panels)
    legend_below(figure, handles, min(4, len(handles)))
    return Drawing(figure, caption(results, externals, subset), alt(results, methods, subset, externals))


def draw_panel(axes, results: Results, methods: list[str], subset: str, external: str, region: str) -> None:
    """One marker a method, with its intervals in both directions."""
    here, there = (rows[rows.region == region] for rows in (results.summary_of(), results.summary_of(external)))
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, linestyle="--", zorder=1)
    for method in methods:
        intra, cross = results.at(here, method, subset), results.at(there, method, subset)
        if intra.empty or cross.empty:
            continue
        a, b, (colour, marker) = intra.iloc[0], cross.iloc[0], look(method)
        across, up = (intervals.bounds(row, "dice_ci") for row in (a, b))
        intervals.draw_interval(axes, across, b.dice_mean, color=colour, lw=0.8, alpha=0.7)
        intervals.draw_interval(axes, up, a.dice_mean, upright=True, color=colour, lw=0.8, alpha=0.7)
        axes.plot(a.dice_mean, b.dice_mean, marker, color=colour, ms=5, mec="white", mew=0.4, zorder=3)
    axes.grid()


def fit_limits(panels: np.ndarray) -> None:
    """Equal limits on both axes, around all intervals."""
    lines = [line for axes in panels.flat for line in axes.lines[1:]]
    values = np.concatenate([line.get_data() for line in lines], axis=None)
    values = values[np.isfinite(values)]
    low, high = max(0, values.min() - 0.02), min(1, values.max() + 0.02)
    for axes in panels.flat:
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.locator_params(nbins=5)
        axes.set_yticks([t for t in axes.get_xticks() if low <= t <= high])


def caption(results: Results, externals: list[str], subset: str) -> str:
    shown = intervals.kinds(results.summary, "dice_ci")
    return (
        f"Mean Dice of networks trained on {results.cohort}, on its held-out {results.unit}s (across) and on "
        f"{enumerate_words(externals)} (up), given {modalities_label(subset)}.{intervals.words(shown, results.unit)} "
        "Below the dashed line a method is worse on the cohort that it has not seen."
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
