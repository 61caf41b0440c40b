"""What each method costs to train against what it gains over the student alone."""

import pandas as pd
from matplotlib.lines import Line2D

from crossmodal.domain import ALL
from crossmodal.evaluate import statistics
from crossmodal.evaluate.blocks import Blocks, blocks
from crossmodal.evaluate.results import MissingDataError, OneNumberError, Results
from crossmodal.experiment.runs import STUDENT
from crossmodal.figures import intervals
from crossmodal.figures.style import (
    GREY,
    INK,
    LEGEND_ROW_IN,
    ONE_COLUMN,
    Drawing,
    legend_below,
    look,
    new_figure,
    x_grid,
)
from crossmodal.wording import enumerate_words, estimate, method_label, modalities_label, number

TITLE = "Cost against gain"
CATEGORY = "Cost"
MARKER = {"marker": "o", "ls": "none", "ms": 5, "color": GREY}


def draw(results: Results) -> Drawing:
    """Rows are methods, the cheapest first: training time with and without the teacher, and beside it the gain."""
    points = collect_points(results)
    if len(points) == 1:
        raise OneNumberError(in_words(results, next(points.itertuples())))
    points = points.sort_values(["with_teacher", "own"])
    handles = [Line2D([], [], **MARKER, label="the method itself")]
    if (points.with_teacher > points.own).any():
        handles.append(Line2D([], [], **MARKER, mfc="white", label="with its teacher"))
    handles += [intervals.tick(), *intervals.handles(kinds(points), results.unit)]
    legend_rows = -(-len(handles) // 2)
    figure = new_figure(ONE_COLUMN, 0.7 + 0.2 * len(points) + LEGEND_ROW_IN * legend_rows, legend_rows)
    cost, gain = figure.subplots(1, 2, sharey=True)
    gain.axvline(0, color=INK, lw=0.8, zorder=1)
    for y, p in enumerate(points.itertuples()):
        colour, marker = look(p.method)
        if p.with_teacher > p.own:
            cost.plot([p.own, p.with_teacher], [y, y], color=colour, lw=0.8)
            cost.plot(p.with_teacher, y, marker, ms=5, mfc="white", mec=colour)
        cost.plot(p.own, y, marker, color=colour, ms=5)
        intervals.draw_interval(gain, p.interval, y, color=colour)
        intervals.draw_trainings(gain, results.gains_of_trainings(p.method, results.focus_subset), y, color=colour)
        gain.plot(p.gain, y, marker, color=colour, ms=5, mec="white", mew=0.4, zorder=3)
    cost.set_xlim(0, 1.1 * points.with_teacher.max())
    cost.set_xlabel("Training time\n(student alone: 1)")
    cost.set_yticks(range(len(points)), [method_label(method) for method in points.method])
    cost.set_ylim(len(points) - 0.4, -0.6)
    gain.set_xlabel("Gain in Dice,\nmean of WT, TC, ET")
    for axes in (cost, gain):
        axes.locator_params(axis="x", nbins=4)
        x_grid(axes)
    legend_below(figure, handles, 2)
    return Drawing(figure, caption(results, points), alt(points))


def collect_points(results: Results) -> pd.DataFrame:
    """method, own and with_teacher (training time over the student's), gain (mean of the regions) and its interval.

    Raises:
        MissingDataError: when no method has both a cost and a gain, or the student no cost.
    """
    cost, subset = results.table("cost"), results.focus_subset
    seconds = cost.groupby(["method", "modalities"]).train_s.mean()
    student = seconds.get((STUDENT, subset))
    if student is None or not student > 0:
        raise MissingDataError(f"tables/cost.csv has no training time of the student for {modalities_label(subset)}.")
    compared, rows = set(results.gains(subset=subset).method), []
    for method in results.methods:
        # An any-subset network is trained once, under all four modalities.
        own = seconds.get((method, subset), seconds.get((method, ALL)))
        if method not in compared or own is None or pd.isna(own):
            continue
        recipe = results.config.recipes.get(method)
        beforehand = recipe.teacher_before(subset) if recipe else None
        total = own + (seconds.get(beforehand, 0.0) if beforehand else 0.0)
        both = blocks(results.dice_by_training(method, subset), results.dice_by_training(STUDENT, subset))
        gain = round(both.mean().value, statistics.DIGITS)
        rows.append((method, own / student, total / student, gain, interval(both, method)))
    if not rows:
        raise MissingDataError("no method has both a training time and a gain.")
    return pd.DataFrame(rows, columns=["method", "own", "with_teacher", "gain", "interval"])


def kinds(points: pd.DataFrame) -> set[bool]:
    """Which kinds of interval are drawn, as `intervals.kinds`."""
    return {over_trainings for low, _, over_trainings in points.interval if pd.notna(low)}


def interval(both: Blocks, method: str) -> intervals.Interval:
    """The 95% interval of the mean gain, as `intervals.bounds` gives those of the tables."""
    low, high = both.mean().interval()
    over_trainings = pd.notna(low)
    if not over_trainings:
        alone = statistics.mean_interval(both.of_patients, statistics.generator("cost_vs_gain", method))
        low, high = alone.low, alone.high
    return round(low, statistics.DIGITS), round(high, statistics.DIGITS), over_trainings


def in_words(results: Results, point) -> str:
    """The only method of the figure as a sentence."""
    low, high, over_trainings = point.interval
    gain = estimate(point.gain, low, high, sign=True) if over_trainings else number(point.gain, sign=True)
    teacher = point.with_teacher > point.own
    text = (
        f"{method_label(point.method)} trains {number(point.own, 1)} times as long as the student alone"
        f"{f' ({number(point.with_teacher, 1)} times with its teacher)' if teacher else ''}, given "
        f"{modalities_label(results.focus_subset)}; its gain in Dice is {gain}, mean of WT, TC and ET. "
    )
    return text + ("One method is no figure." if over_trainings else intervals.NOTHING_CLAIMED)


def caption(results: Results, points: pd.DataFrame) -> str:
    devices = enumerate_words(sorted(results.table("cost").device.dropna().astype(str).unique()))
    given = f"{modalities_label(results.focus_subset)}{results.seeing_all(points.method)}"
    text = (
        f"Training time of each method over that of the student alone, and its gain in Dice over the student "
        f"given {given}: the mean of WT, TC and ET. The cheapest is first. Ticks are the gains of single trainings."
        f"{intervals.words(kinds(points), results.unit)} "
        f"Time was measured on {devices or 'an unnamed device'} in {results.timed_in}."
    )
    if (points.with_teacher > points.own).any():
        text += " Open markers add the teacher that is trained beforehand; it may serve many students."
    return text


def alt(points: pd.DataFrame) -> str:
    parts = [
        f"{method_label(p.method)} {number(p.own, 1)} times, gain {number(p.gain, sign=True)}"
        for p in points.itertuples()
    ]
    return f"Training time relative to the student, and gain in Dice, mean of WT, TC and ET: {'; '.join(parts)}."
