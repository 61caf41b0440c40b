"""How far a mean or a gain can be trusted, as drawn: its 95% interval, and a tick for every training."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from crossmodal.evaluate.trainings import FEWEST
from crossmodal.figures.style import INK

Interval = tuple[float, float, bool]  # low, high, and whether it is over patients and trainings, not patients alone

# By whether the interval is over patients and trainings, or over patients alone.
LINES = {True: {"lw": 1.4, "ls": "-"}, False: {"lw": 0.8, "ls": (0, (1.5, 1.2))}}
NOTHING_CLAIMED = f"Nothing is claimed from fewer than {FEWEST} trainings of each method."
TICK = {"marker": "|", "ls": "none", "ms": 8, "mew": 0.7}


def bounds(row: Any, of_patients: str = "ci") -> Interval:
    """The interval of a row of summary.csv or comparisons.csv, and whether it is over patients and trainings.

    Without one, which takes three trainings, it is that over patients alone.

    Args:
        row: by `itertuples`.
        of_patients: how the columns of the interval over patients alone begin.
    """
    if pd.notna(row.trainings_ci_low):
        return row.trainings_ci_low, row.trainings_ci_high, True
    return getattr(row, f"{of_patients}_low"), getattr(row, f"{of_patients}_high"), False


def draw_interval(axes: Axes, interval: Interval, at: float, upright: bool = False, **line: Any) -> None:
    """An interval as a bar at a height, or, `upright`, at a place along x."""
    low, high, over_trainings = interval
    ends, place = [low, high], [at, at]
    axes.plot(*((place, ends) if upright else (ends, place)), **LINES[over_trainings] | {"zorder": 2} | line)


def draw_trainings(axes: Axes, values: Iterable[float], at: float, upright: bool = False, **line: Any) -> None:
    """A tick for each training's own mean or gain, across the bar of `draw_interval`."""
    values = list(values)
    place, tick = [at] * len(values), TICK | {"marker": "_" if upright else "|", "zorder": 2.5} | line
    axes.plot(*((place, values) if upright else (values, place)), **tick, gid="trainings")


def kinds(rows: pd.DataFrame, of_patients: str = "ci") -> set[bool]:
    """Which kinds of interval the rows are drawn with: True for those over patients and trainings."""
    drawn = [bounds(row, of_patients) for row in rows.itertuples()]
    return {over_trainings for low, _, over_trainings in drawn if pd.notna(low)}


def handles(shown: set[bool], unit: str) -> list[Line2D]:
    """What a legend shows for each kind of interval; `unit`: patient or phantom."""
    labels = {True: f"95%, {unit}s and trainings", False: "95%, these networks only"}
    return [Line2D([], [], color=INK, label=labels[kind], **LINES[kind]) for kind in (True, False) if kind in shown]


def tick(**line: Any) -> Line2D:
    """What a legend shows for the marks of trainings."""
    return Line2D([], [], **TICK | {"color": INK, "label": "one training"} | line)


def words(shown: set[bool], unit: str) -> str:
    """For captions: what the bars say, and what they do not."""
    text = f" Bars are 95% intervals over {unit}s and trainings." if True in shown else ""
    if False in shown:
        text += (
            f" Dotted bars are 95% intervals over {unit}s alone: they are about these networks only, and another "
            f"training could lie outside. {NOTHING_CLAIMED}"
        )
    return text
