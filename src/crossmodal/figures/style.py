"""One look for all figures: print sizes, fonts, a colour per method, and files whose bytes can be repeated."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crossmodal.files import atomic_path
from crossmodal.wording import method_label

ONE_COLUMN = 3.5  # inches: the column of most journals
TWO_COLUMNS = 7.2
SMALL, NORMAL = 7.0, 8.0  # points in print
FOOTER_IN = 0.17
LEGEND_ROW_IN = 0.16

GREY, INK, PALE = "#777777", "#222222", "#d9d9d9"
# Okabe and Ito's palette first (safe for the common colour blindnesses), then Tol's muted one; and a marker each.
LOOKS = {
    "student": ("#666666", "s"),
    "teacher": ("#000000", "D"),
    "choi2023": ("#0072B2", "o"),
    "choi2023_two_stage": ("#56B4E9", "o"),
    "rahimpour2022": ("#D55E00", "^"),
    "dong2025": ("#009E73", "v"),
    "dong2025_crossmodal": ("#44AA99", "v"),
    "hinton2015": ("#E69F00", "P"),
    "romero2015": ("#CC79A7", "X"),
    "zagoruyko2017": ("#882255", "p"),
    "hu2020": ("#999933", "<"),
    "wang2023": ("#332288", ">"),
    "modality_dropout": ("#AA4499", "h"),
    "modality_dropout_distilled": ("#CC6677", "h"),
}
REGION_COLOURS = {"WT": "#009E73", "TC": "#E69F00", "ET": "#CC79A7"}

RC = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so it is the same everywhere
    "font.size": SMALL,  # of labels, ticks and legends too
    "axes.titlesize": NORMAL,
    "legend.frameon": False,
    "savefig.dpi": 300,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # real text, not outlines
    "ps.fonttype": 42,  # matplotlib's PDFs depend on it too
}


@dataclass
class Drawing:
    """A finished figure, the caption under it and the words that stand for it where it cannot be seen."""

    figure: Figure
    caption: str
    alt: str


@contextmanager
def settings() -> Iterator[None]:
    """Matplotlib's defaults with RC, whatever a matplotlibrc or another library has set; both are restored after."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


def look(method: str) -> tuple[str, str]:
    """The method's colour and marker: the same in every figure and experiment, also for a method of one's own.

    With a marker, colour is never the only sign.
    """
    if method in LOOKS:
        return LOOKS[method]
    spare, number = [colour for colour, _ in LOOKS.values()][2:], zlib.crc32(method.encode())
    return spare[number % len(spare)], "o^v<>PXhp*"[number % 10]


def method_handles(methods: list[str], **line: Any) -> list[Line2D]:
    """What a legend shows for each method: its marker and colour; `line` holds further properties."""
    handles = []
    for method in methods:
        colour, marker = look(method)
        own = {"color": colour, "marker": marker, "label": method_label(method)}
        handles.append(Line2D([], [], **{"ls": "none"} | line | own))
    return handles


def new_figure(width: float, height: float, legend_rows: int = 0) -> Figure:
    """An empty figure with room at the foot for the phantom's mark and a legend.

    Args:
        width, height: inches in print.
        legend_rows: lines of the legend that `legend_below` will draw.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    foot = (FOOTER_IN + LEGEND_ROW_IN * legend_rows) / height
    figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot), w_pad=0.04, h_pad=0.04)
    return figure


def legend_below(figure: Figure, handles: list, columns: int) -> None:
    """The legend between the panels and the foot, off the data."""
    anchor = (0.5, FOOTER_IN / figure.get_figheight())
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=anchor, ncols=columns, borderpad=0.1)


def mark(figure: Figure, phantom: bool) -> None:
    """Write on a figure of phantoms what it shows: a picture is passed on without its page."""
    if phantom:
        text = "Embedded phantom cohort: simulated images, no patients"
        figure.text(0.995, 0.03 / figure.get_figheight(), text, ha="right", va="bottom", color="#a03000")


def x_grid(axes: Axes) -> None:
    """Light vertical lines, no left spine: for panels whose rows are labelled."""
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def note_figure(title: str, note: str) -> Figure:
    """The picture in the place of a figure that is not drawn: its title, and why or the result in words."""
    figure = Figure(figsize=(ONE_COLUMN, 1.1), layout=None)
    figure.text(0.03, 0.80, title, fontsize=NORMAL, weight="bold", va="center")
    text = figure.text(0.03, 0.62, note, fontsize=SMALL, va="top", color=INK, wrap=True)
    text._get_wrap_line_width = lambda: 0.93 * ONE_COLUMN * figure.dpi
    return figure


def lay_out(figure: Figure) -> None:
    """Place the axes once, for all formats, at positions of six decimals.

    The solver behind matplotlib's layout orders its sums by memory address: without the rounding two processes may
    differ in a position's last bit, and once in a while in a pixel.
    """
    figure.set_dpi(mpl.rcParams["savefig.dpi"])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position([round(value, 6) for value in axes.get_position(original=True).bounds])


def save(figure: Figure, stem: Path) -> None:
    """Write <stem>.png (300 dpi) and <stem>.pdf; neither holds a date or a version."""
    lay_out(figure)
    with atomic_path(stem.with_suffix(".png")) as path:
        figure.savefig(path, format="png", metadata={"Software": None})
    with atomic_path(stem.with_suffix(".pdf")) as path:
        figure.savefig(path, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
