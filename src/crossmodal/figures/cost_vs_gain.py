"""What each method costs to train against what it gains over the student alone."""

import pandas as pd
from matplotlib.lines import Line2D

from crossmodal.domain import ALL
from crossmodal.evaluate import statistics
from crossmodal.evaluate.blocks import Blocks, blocks
from crossmodal.evaluate.results import MissingDataError, OneNumberError, Results
from crossmodal.experiment.runs import STUDENT
from crossmodal.figures import intervals
from crossmodal.figures.style import GREY, INK, ONE_COLUMN, Drawing, legend_below, look, method_handles, new_figure
from crossmodal.wording import enumerate_words, estimate, method_label, modalities_label, number

TITLE = "Cost against gain"
CATEGORY = "Cost"


def draw(results: Results) -> Drawing:
    """Full markers: the method's own training; open ones add the teacher that must be trained beforehand."""
    points = collect_points(results)
    if len(points) == 1:
        raise OneNumberError(in_words(results, next(points.itertuples())))
    handles = [*method_handles(points.method), intervals.tick(marker="_", ms=5)]
    handles += intervals.handles(kinds(points), results.unit)
    if (points.with_teacher > points.own).any():
        handles.append(Line2D([], [], ls="none", marker="o", ms=5, color=GREY, mfc="white", label="with its teacher"))
    legend_rows = -(-len(handles) // 2)
    figure = new_figure(ONE_COLUMN, 2.3 + 0.16 * legend_rows, legend_rows)
    axes = figure.subplots()
    axes.axhline(0, color=INK, lw=0.8)
    for p in points.itertuples():
        colour, marker = look(p.method)
        if p.with_teacher > p.own:
            axes.plot([p.own, p.with_teacher], [p.gain] * 2, color=colour, lw=0.8, linestyle=":")
            axes.plot(p.with_teacher, p.gain, marker, ms=5.5, mfc="white", mec=colour)
        intervals.draw_interval(axes, p.interval, p.own, upright=True, color=colour, lw=0.9)
        trainings = results.gains_of_trainings(p.method, results.focus_subset)
        intervals.draw_trainings(axes, trainings, p.own, upright=True, color=colour, ms=6)
        axes.plot(p.own, p.gain, marker, color=colour, ms=5.5, mec="white", mew=0.4, zorder=3)
    axes.set_xlim(0, 1.08 * points.with_teacher.max())
    axes.set_xlabel("Training time, in trainings of the student alone")
    axes.set_ylabel("Gain in Dice, mean of WT, TC, ET")
    axes.grid()
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
        f"Training time of each method over that of the student alone, against its gain in Dice over the student "
        f"given {given}: the mean of WT, TC and ET. Ticks are the gains of single trainings."
        f"{intervals.words(kinds(points), results.unit)} "
        f"Time was measured on {devices or 'an unnamed device'} in this run."
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
