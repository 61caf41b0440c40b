"""What each method costs to train against what it gains over the student alone."""

import pandas as pd

from crossmodal.evaluate.results import Experiment, MissingDataError
from crossmodal.figures.gain_over_student import gains
from crossmodal.figures.style import (
    INK,
    ONE_COLUMN,
    SMALL,
    Drawing,
    legend_below,
    method_colour,
    method_marker,
    new_figure,
)
from crossmodal.wording import REGIONS, enumerate_words, method_label, modalities_label
from crossmodal.domain import ALL

TITLE = "Cost against gain"
CATEGORY = "Cost"


def draw(experiment: Experiment) -> Drawing:
    """Full markers: the method's own training; open ones add the teacher that must be trained beforehand."""
    points = collect_points(experiment)
    legend_rows = -(-len(points) // 2)
    figure = new_figure(ONE_COLUMN, 2.3 + 0.16 * legend_rows, legend_rows)
    axes = figure.subplots()
    axes.axhline(0, color=INK, lw=0.8)
    for p in points.itertuples():
        colour, marker = method_colour(p.method), method_marker(p.method)
        if p.with_teacher > p.own:
            axes.plot([p.own, p.with_teacher], [p.gain] * 2, color=colour, lw=0.8, linestyle=":")
            axes.plot(p.with_teacher, p.gain, marker, ms=5.5, mfc="white", mec=colour)
        axes.plot([p.own] * 2, [p.low, p.high], color=colour, lw=0.8, alpha=0.7)
        axes.plot(p.own, p.gain, marker, color=colour, ms=5.5)
    axes.set_xlim(0, 1.08 * points.with_teacher.max())
    axes.set_xlabel("Training time, in trainings of the student alone")
    axes.set_ylabel("Gain in Dice, mean of WT, TC, ET", fontsize=SMALL)
    axes.grid()
    handles = [
        axes.plot([], [], method_marker(m), color=method_colour(m), label=method_label(m))[0] for m in points.method
    ]
    legend_below(figure, handles, 2)
    return Drawing(figure, caption(experiment, points), alt(points))


def collect_points(experiment: Experiment) -> pd.DataFrame:
    """method, own and with_teacher (training time over the student's), gain and the lowest and highest region's.

    Raises:
        MissingDataError: when no method has both a cost and a gain, or the student no cost.
    """
    cost, subset = experiment.table("cost"), experiment.focus_subset
    seconds = cost.groupby(["method", "modalities"]).train_s.mean()
    student = seconds.get(("student", subset))
    if student is None or not student > 0:
        raise MissingDataError(f"tables/cost.csv has no training time of the student for {modalities_label(subset)}.")
    rows = []
    for method, table in gains(experiment).groupby("method", sort=False):
        table = table[table.modalities == subset]
        # An any-subset network is trained once, under all four modalities.
        own = seconds.get((method, subset), seconds.get((method, ALL)))
        if table.empty or own is None or pd.isna(own):
            continue
        total = own + teacher_seconds(experiment, method, subset, seconds)
        gain = table.dice_gain
        rows.append((method, own / student, total / student, gain.mean(), gain.min(), gain.max()))
    if not rows:
        raise MissingDataError("no method has both a training time and a gain.")
    points = pd.DataFrame(rows, columns=["method", "own", "with_teacher", "gain", "low", "high"])
    order = {m: i for i, m in enumerate(experiment.methods)}
    return points.sort_values("method", key=lambda s: s.map(order)).reset_index(drop=True)


def teacher_seconds(experiment: Experiment, method: str, subset: str, seconds: pd.Series) -> float:
    """Training time of the teacher that the recipe wants trained beforehand; 0 for a joint one or none."""
    teacher = experiment.recipe(method).get("teacher") or {}
    if teacher.get("trained") != "beforehand":
        return 0.0
    name = teacher.get("method") or "teacher"
    own = ALL if teacher.get("sees") == "all" else subset
    return float(seconds.get((name, own), seconds.get((name, ALL), 0.0)))


def caption(experiment: Experiment, points: pd.DataFrame) -> str:
    """Units, what the marks add up, and on which device the times were taken."""
    devices = enumerate_words(sorted(experiment.table("cost").device.dropna().astype(str).unique()))
    beforehand = bool((points.with_teacher > points.own).any())
    return (
        f"Training time of each method over that of the student alone, against its gain in Dice over the student "
        f"given {modalities_label(experiment.focus_subset)} (marker: mean of WT, TC and ET; bar: lowest to highest "
        f"region). Measured on {devices or 'an unnamed device'} in this run."
        + (" Open markers add the teacher that is trained beforehand; it may serve many students." * beforehand)
    )


def alt(points: pd.DataFrame) -> str:
    """Cost and gain of each method."""
    parts = [f"{method_label(p.method)} {p.own:.1f} times, gain {p.gain:+.3f}" for p in points.itertuples()]
    return (
        f"Training time relative to the student, and mean gain in Dice over {len(REGIONS)} regions: {'; '.join(parts)}."
    )
