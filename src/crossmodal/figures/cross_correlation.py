"""Barlow Twins' cross-correlation between teacher and student, at the start and the end of training."""

import re

import numpy as np

from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.figures.style import ONE_COLUMN, Drawing, new_figure
from crossmodal.wording import method_label, modalities_label, number

TITLE = "Cross-correlation of teacher and student"
CATEGORY = "Training"
MOST_ROWS = 3
TIMES = {"start": "Start", "end": "End of training"}


def draw(results: Results) -> Drawing:
    """A row for each method that has the matrices (at most three), start at the left, end at the right."""
    found = []
    for path in sorted((results.folder / "figure_data").glob("correlation_*.npz")):
        method, modalities = re.fullmatch(r"correlation_(.+)_([^_]+)", path.stem).groups()
        arrays = results.arrays(path.stem)
        if all(t in arrays and arrays[t].ndim == 2 and arrays[t].size for t in TIMES):
            found.append((method, modalities, {t: arrays[t].astype(float) for t in TIMES}))
    if not found:
        raise MissingDataError("no network was trained with Barlow Twins, or its matrices were not kept.")
    order = {m: i for i, m in enumerate(results.config.methods)}
    # The subset in focus first, then the config's order of methods: three rows can be read in one column.
    found.sort(key=lambda f: (f[1] != results.focus_subset, order.get(f[0], 99), f[0]))
    shown = found[:MOST_ROWS]
    figure = new_figure(ONE_COLUMN, 1.75 * len(shown) + 0.25)
    panels = figure.subplots(len(shown), 2, squeeze=False)
    for row, (method, modalities, arrays) in zip(panels, shown, strict=True):
        for axes, (time, label) in zip(row, TIMES.items(), strict=True):
            matrix = arrays[time]
            image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
            on, off = diagonal(matrix)
            axes.set_title(label, loc="center")
            axes.set_xlabel(f"diagonal {number(on, 2)}, |off| {number(off, 2)}")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(f"{method_label(method)}\n{modalities_label(modalities)}")
    bar = figure.colorbar(image, ax=panels, shrink=0.6, aspect=25, pad=0.02, ticks=[-1, 0, 1])
    bar.set_label("Correlation")
    bar.outline.set_linewidth(0)
    return Drawing(figure, caption(shown, len(found)), alt(shown))


def diagonal(matrix: np.ndarray) -> tuple[float, float]:
    """Mean of the diagonal, and mean absolute value off it."""
    on = np.eye(*matrix.shape, dtype=bool)
    off = np.abs(matrix[~on])
    return float(np.nanmean(matrix[on])), float(np.nanmean(off)) if off.size else 0.0


def caption(shown: list, count: int) -> str:
    width = shown[0][2]["start"].shape[0]
    text = (
        f"Cross-correlation between {width} channels of the student (rows) and of the teacher (columns) on the same "
        "voxels, first seed and fold. The loss pulls the diagonal to 1 and the rest to 0."
    )
    if count > len(shown):
        text += f" {len(shown)} of {count} networks are shown."
    return text


def alt(shown: list) -> str:
    parts = []
    for method, modalities, arrays in shown:
        (a, b), (c, d) = diagonal(arrays["start"]), diagonal(arrays["end"])
        parts.append(
            f"{method_label(method)} from {modalities_label(modalities)}: mean diagonal {number(a, 2)} to "
            f"{number(c, 2)}, mean absolute value off the diagonal {number(b, 2)} to {number(d, 2)}"
        )
    return f"Correlation matrices at start and end. {'; '.join(parts)}."
