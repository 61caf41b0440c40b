"""Dice of every method for every subset of the four sequences: the field's table as a picture."""

import numpy as np
import pandas as pd

from crossmodal.domain import ALL, MODALITIES, MODALITY_LABELS, REGION_LABELS, REGIONS
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.figures.style import GREY, INK, PALE, TWO_COLUMNS, Drawing, new_figure
from crossmodal.wording import enumerate_words, method_label, number, plural

TITLE = "Dice for every subset of sequences"
CATEGORY = "Accuracy"
FEWEST = 2  # subsets
ROWS_IN = 8.0  # inches of all rows at most, so that the figure fits on a page


def draw(results: Results) -> Drawing:
    """Columns are subsets (dots: the sequences given), rows are methods, a panel each for WT, TC and ET."""
    summary = results.summary_of()
    subsets = [s for s in results.subsets if s in set(summary.modalities)]
    if len(subsets) < FEWEST:
        raise MissingDataError(f"only {plural(len(subsets), 'subset')} was run; the matrix compares several.")
    methods = [m for m in results.methods if m in set(summary.method)]
    tables = {r: matrix(summary[summary.region == r], methods, subsets) for r in REGIONS}
    columns = list(tables["WT"].columns[:-1])
    values = np.concatenate([t.to_numpy().ravel() for t in tables.values()])
    low, high = np.floor(np.nanmin(values) * 10) / 10, np.ceil(np.nanmax(values) * 10) / 10
    dots_in, panel_in = 0.62, 0.3 + min(0.19, ROWS_IN / 3 / len(methods)) * len(methods)
    figure = new_figure(TWO_COLUMNS, dots_in + 3 * panel_in + 0.55)
    dots, *panels = figure.subplots(4, 1, height_ratios=[dots_in, *[panel_in] * 3])
    draw_dots(dots, columns)
    for axes, region in zip(panels, REGIONS, strict=True):
        image = draw_matrix(axes, tables[region], low, high)
        axes.set_title(REGION_LABELS[region])
    bar = figure.colorbar(image, ax=[dots, *panels], location="right", shrink=0.5, aspect=30, pad=0.01)
    bar.set_label("Mean Dice")
    bar.outline.set_linewidth(0)
    return Drawing(figure, caption(results, subsets), alt(tables))


def matrix(summary: pd.DataFrame, methods: list[str], subsets: list[str]) -> pd.DataFrame:
    """Mean Dice in one cohort and region, methods × subsets, and in a last column their mean where all are there.

    All four sequences have a column too where only methods that always see them were given them.
    """
    table = summary.pivot_table(index="method", columns="modalities", values="dice_mean")
    own = table.reindex(index=methods, columns=subsets)
    mean = own.mean(axis=1).where(own.notna().all(axis=1))
    if ALL not in subsets and ALL in table:
        own = own.assign(**{ALL: table[ALL].reindex(methods)})
    return own.assign(mean=mean)


def draw_dots(axes, subsets: list[str]) -> None:
    """Which sequences each column was given: full dots, joined; pale dots are missing sequences."""
    for x, subset in enumerate(subsets):
        given = [MODALITIES.index(m) for m in subset.split("+")]
        axes.plot([x] * 4, range(4), "o", ms=4, color=PALE, zorder=1)
        axes.plot([x] * len(given), given, "o-", ms=4, lw=1, color=INK, zorder=2)
    axes.set_yticks(range(4), [MODALITY_LABELS[m] for m in MODALITIES])
    axes.text(len(subsets), 1.5, "mean", ha="center", va="center", color=GREY)
    axes.set(xlim=(-0.5, len(subsets) + 0.5), ylim=(3.6, -0.6), xticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_matrix(axes, table: pd.DataFrame, low: float, high: float):
    """A heat map with the number in each cell; what was not run stays white."""
    values = table.to_numpy()
    image = axes.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.axvline(len(table.columns) - 1.5, color="white", lw=3)
    for y, x in np.argwhere(np.isfinite(values)):
        dark = (values[y, x] - low) / max(high - low, 1e-9) < 0.6
        axes.text(x, y, number(values[y, x]), ha="center", va="center", color="white" if dark else "black")
    axes.set_yticks(range(len(table)), [method_label(m) for m in table.index])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def caption(results: Results, subsets: list[str]) -> str:
    given = f"full dots: given to the network{results.seeing_all(results.methods)}"
    return (
        f"Mean Dice on {plural(results.count(), f'held-out {results.unit}')} of {results.cohort} for "
        f"{plural(len(subsets), 'subset')} of the sequences ({given}). "
        "The last column is the mean over these subsets, where a method has them all; white: not run."
    )


def alt(tables: dict[str, pd.DataFrame]) -> str:
    parts = []
    for region, table in tables.items():
        cells = table.drop(columns="mean").stack()
        worst, best = cells.idxmin(), cells.idxmax()
        parts.append(
            f"{region} from {number(cells.min())} ({method_label(worst[0])}, {worst[1]}) "
            f"to {number(cells.max())} ({method_label(best[0])}, {best[1]})"
        )
    methods = enumerate_words([method_label(method) for method in tables["WT"].index])
    return f"Matrix of mean Dice, methods ({methods}) by subsets: {'; '.join(parts)}."
