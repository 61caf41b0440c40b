"""Agreement of tumour volumes with the reference, after Bland and Altman (Lancet 1986)."""

import pandas as pd

from crossmodal.domain import REGION_LABELS, REGIONS
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.experiment.runs import STUDENT
from crossmodal.figures.style import GREY, INK, TWO_COLUMNS, Drawing, look, new_figure
from crossmodal.wording import enumerate_words, estimate, interval, method_label, modalities_label, number, plural

TITLE = "Volume agreement"
CATEGORY = "Accuracy"
FEWEST = 2  # cases
WIDE_UP_TO = 3  # methods


def draw(results: Results) -> Drawing:
    """Rows are regions, columns student, compared method and upper bounds: difference against mean of both volumes."""
    subset = results.focus_subset
    present = results.methods_at(subset)
    shown = [STUDENT, results.focus_method, *results.roles.upper_bounds]
    methods = [method for method in shown if method in present] or present[:3]
    cases = results.per_case[results.per_case.cohort == results.cohort]
    volumes = {(m, r): agreement(results.at(cases, m, subset), r) for m in methods for r in REGIONS}
    if max((len(v) for v in volumes.values()), default=0) < FEWEST:
        raise MissingDataError("limits of agreement take two cases or more with a region in reference or prediction.")
    narrow = len(methods) > WIDE_UP_TO  # bias and limits then take two lines, below the method's name
    figure = new_figure(TWO_COLUMNS, 5.5 if narrow else 4.9)
    panels = figure.subplots(3, len(methods), squeeze=False, sharex="row", sharey="row")
    for j, method in enumerate(methods):
        for i, region in enumerate(REGIONS):
            draw_panel(panels[i, j], volumes[method, region], look(method)[0], narrow)
        panels[0, j].set_title(method_label(method), pad=22 if narrow else None)
        panels[2, j].set_xlabel("Mean of both volumes, ml")
    for i, region in enumerate(REGIONS):
        panels[i, 0].set_ylabel(f"{REGION_LABELS[region]}\npredicted − reference, ml")
    return Drawing(figure, caption(results, methods, subset), alt(volumes))


def agreement(cases: pd.DataFrame, region: str) -> pd.DataFrame:
    """mean and difference of the two volumes in ml, for cases where one of them is not empty."""
    rows = cases[cases.region == region].dropna(subset=["volume_ref_ml", "volume_pred_ml"])
    rows = rows[(rows.volume_ref_ml > 0) | (rows.volume_pred_ml > 0)]
    mean = (rows.volume_ref_ml + rows.volume_pred_ml) / 2
    return pd.DataFrame({"mean": mean, "difference": rows.volume_pred_ml - rows.volume_ref_ml})


def limits(volumes: pd.DataFrame) -> tuple[float, float, float]:
    """Bias, and the 95% limits of agreement: bias ± 1.96 standard deviations of the differences."""
    bias, spread = volumes.difference.mean(), volumes.difference.std(ddof=1)
    return bias, bias - 1.96 * spread, bias + 1.96 * spread


def draw_panel(axes, volumes: pd.DataFrame, colour: str, narrow: bool) -> None:
    """Points, bias (full line) and limits of agreement (dashed), written above the panel; if `narrow` on two lines."""
    axes.axhline(0, color=GREY, lw=0.6)
    axes.plot(volumes["mean"], volumes.difference, "o", ms=3, color=colour, alpha=0.7, mew=0)
    axes.grid(axis="y")
    if len(volumes) < FEWEST:
        axes.text(0.5, 0.5, "no such region" if volumes.empty else "one case", transform=axes.transAxes, ha="center")
        return
    bias, low, high = limits(volumes)
    axes.axhline(bias, color=INK, lw=1)
    for limit in (low, high):
        axes.axhline(limit, color=INK, lw=0.8, linestyle="--")
    words = f"{estimate(bias, low, high, 1, sign=True)} ml"
    words = words.replace(" (", "\n(") if narrow else words
    axes.text(1, 1.02, words, transform=axes.transAxes, ha="right", va="bottom")


def caption(results: Results, methods: list[str], subset: str) -> str:
    named = enumerate_words([method_label(m) for m in methods])
    return (
        f"Predicted against reference volume on {plural(results.count(), f'held-out {results.unit}')} of "
        f"{results.cohort}: {named}, given {modalities_label(subset)}{results.seeing_all(methods)}. Points are "
        f"{results.unit}s (mean over seeds and folds); full line: mean difference; dashed: its 95% limits of "
        "agreement (± 1.96 SD). Empty in both: left out."
    )


def alt(volumes: dict[tuple[str, str], pd.DataFrame]) -> str:
    parts = []
    for (method, region), table in volumes.items():
        if len(table) >= FEWEST:
            bias, low, high = limits(table)
            words = f"{number(bias, 1, sign=True)} ml, limits {interval(low, high, 1, sign=True)}"
            parts.append(f"{method_label(method)} {region} {words}")
    return f"Mean difference of predicted and reference volume: {'; '.join(parts)}."
