"""What each method costs to train against what it gains over the student alone."""

import pandas as pd

from crossmodal.domain import ALL, REGIONS
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.experiment.runs import STUDENT
from crossmodal.figures.style import INK, ONE_COLUMN, Drawing, legend_below, look, method_handles, new_figure
from crossmodal.wording import enumerate_words, method_label, modalities_label, number

TITLE = "Cost against gain"
CATEGORY = "Cost"


def draw(results: Results) -> Drawing:
    """Full markers: the method's own training; open ones add the teacher that must be trained beforehand."""
    points = collect_points(results)
    legend_rows = -(-len(points) // 2)
    figure = new_figure(ONE_COLUMN, 2.3 + 0.16 * legend_rows, legend_rows)
    axes = figure.subplots()
    axes.axhline(0, color=INK, lw=0.8)
    for p in points.itertuples():
        colour, marker = look(p.method)
        if p.with_teacher > p.own:
            axes.plot([p.own, p.with_teacher], [p.gain] * 2, color=colour, lw=0.8, linestyle=":")
            axes.plot(p.with_teacher, p.gain, marker, ms=5.5, mfc="white", mec=colour)
        axes.plot([p.own] * 2, [p.low, p.high], color=colour, lw=0.8, alpha=0.7)
        axes.plot(p.own, p.gain, marker, color=colour, ms=5.5)
    axes.set_xlim(0, 1.08 * points.with_teacher.max())
    axes.set_xlabel("Training time, in trainings of the student alone")
    axes.set_ylabel("Gain in Dice, mean of WT, TC, ET")
    axes.grid()
    legend_below(figure, method_handles(points.method), 2)
    return Drawing(figure, caption(results, points), alt(points))


def collect_points(results: Results) -> pd.DataFrame:
    """method, own and with_teacher (training time over the student's), gain and the lowest and highest region's.

    Raises:
        MissingDataError: when no method has both a cost and a gain, or the student no cost.
    """
    cost, subset = results.table("cost"), results.focus_subset
    seconds = cost.groupby(["method", "modalities"]).train_s.mean()
    student = seconds.get((STUDENT, subset))
    if student is None or not student > 0:
        raise MissingDataError(f"tables/cost.csv has no training time of the student for {modalities_label(subset)}.")
    gains, rows = results.gains(subset=subset), []
    for method in results.methods:
        gain = gains[gains.method == method].dice_gain
        # An any-subset network is trained once, under all four modalities.
        own = seconds.get((method, subset), seconds.get((method, ALL)))
        if gain.empty or own is None or pd.isna(own):
            continue
        recipe = results.config.recipes.get(method)
        beforehand = recipe.teacher_before(subset) if recipe else None
        total = own + (seconds.get(beforehand, 0.0) if beforehand else 0.0)
        rows.append((method, own / student, total / student, gain.mean(), gain.min(), gain.max()))
    if not rows:
        raise MissingDataError("no method has both a training time and a gain.")
    return pd.DataFrame(rows, columns=["method", "own", "with_teacher", "gain", "low", "high"])


def caption(results: Results, points: pd.DataFrame) -> str:
    devices = enumerate_words(sorted(results.table("cost").device.dropna().astype(str).unique()))
    given = f"{modalities_label(results.focus_subset)}{results.seeing_all(points.method)}"
    text = (
        f"Training time of each method over that of the student alone, against its gain in Dice over the student "
        f"given {given} (marker: mean of WT, TC and ET; bar: lowest to highest region). "
        f"Measured on {devices or 'an unnamed device'} in this run."
    )
    if (points.with_teacher > points.own).any():
        text += " Open markers add the teacher that is trained beforehand; it may serve many students."
    return text


def alt(points: pd.DataFrame) -> str:
    parts = [
        f"{method_label(p.method)} {number(p.own, 1)} times, gain {number(p.gain, sign=True)}"
        for p in points.itertuples()
    ]
    what = f"Training time relative to the student, and mean gain in Dice over {len(REGIONS)} regions"
    return f"{what}: {'; '.join(parts)}."
