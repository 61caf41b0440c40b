"""Training curves: each loss term over the epochs, a line a method."""

import re
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from crossmodal.domain import ALL
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.figures.style import (
    LEGEND_ROW_IN,
    ONE_COLUMN,
    TWO_COLUMNS,
    Drawing,
    legend_below,
    look,
    method_handles,
    new_figure,
)
from crossmodal.wording import enumerate_words, method_label, modalities_label, number

TITLE = "Training curves by loss term"
CATEGORY = "Training"
KINDS = {
    "student": "Segmentation loss, student",
    "teacher": "Segmentation loss, teacher",
    "distillation": "Distillation, relative to first",
    "validation": "Validation Dice",
    "gradient": "Distillation/segmentation gradient",
}
STYLES = ("-", "--", ":", "-.")
TOGETHER, GROUPS = 8, 4  # methods in one panel at most; more of them are drawn in so many groups


def kind_of(term: str, terms: set[str]) -> str | None:
    """Which panel a column of progress.csv belongs in; None for what is not drawn (learning rate, sums)."""
    if term.startswith("gradient_ratio:"):
        return "gradient"
    if re.search("val.*dice|dice.*val", term):
        return "validation"
    if "@" in term or term.startswith("distill"):
        return "distillation"
    segmentation = re.match(r"(?:loss_)?seg_(teacher|student)", term)
    if segmentation:
        return segmentation[1]
    # A network that only segments may log one loss, under the name of the sum.
    return "student" if term in ("loss", "loss_total") and not any("seg_" in t for t in terms) else None


def draw(results: Results) -> Drawing:
    """Panels are kinds of terms; lines are methods (mean over seeds and folds, band from lowest to highest)."""
    curves = results.data("curves").dropna(subset=["value"])
    curves = curves[np.isfinite(curves.value)]
    subset = results.focus_subset
    if subset not in set(curves.modalities):
        subset = next((s for s in curves.modalities if s != ALL), ALL)
    # Teachers and any-subset networks have one training, under all four modalities, whatever students are given.
    elsewhere = ~curves.method.isin(curves[curves.modalities == subset].method)
    own = (curves.modalities == subset) | (elsewhere & (curves.modalities == ALL))
    lines = collect_lines(curves[own])
    if not lines:
        raise MissingDataError("figure_data/curves.csv holds no loss term.")
    kinds = [k for k in KINDS if any(line["kind"] == k for line in lines)]
    drawn = {line["method"] for line in lines}
    # Networks that only teach are no method of the config and come last.
    methods = results.roles.in_order(m for m in results.config.methods if m in drawn)
    methods += sorted(drawn - set(methods))
    grouped = len(methods) > TOGETHER
    layout = draw_groups if grouped else draw_kinds
    given = modalities_label(subset) + results.seeing_all(methods)
    return Drawing(layout(lines, kinds, methods), caption(lines, given, grouped), alt(lines, kinds))


def draw_kinds(lines: list[dict], kinds: list[str], methods: list[str]) -> Figure:
    """A panel a kind of term, with all methods."""
    columns = 3 if len(kinds) > 4 else min(2, len(kinds))
    rows = -(-len(kinds) // columns)
    legend_columns = 4 if columns > 1 else 2
    legend_rows = -(-len(methods) // legend_columns)
    width, height = TWO_COLUMNS if columns > 1 else ONE_COLUMN, 1.75 * rows + LEGEND_ROW_IN * legend_rows + 0.2
    figure = new_figure(width, height, legend_rows)
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes, kind in zip(panels, kinds, strict=False):
        draw_panel(axes, [line for line in lines if line["kind"] == kind], kind)
        axes.set_title(KINDS[kind])
        axes.set_xlabel("Epoch")
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    legend_below(figure, method_handles(methods, ls="-", ms=3), legend_columns)
    return figure


def draw_groups(lines: list[dict], kinds: list[str], methods: list[str]) -> Figure:
    """A row a kind of term and a column a group of methods, with the legend's columns below those of the panels."""
    legend_rows = -(-len(methods) // GROUPS)
    figure = new_figure(TWO_COLUMNS, 1.3 * len(kinds) + LEGEND_ROW_IN * legend_rows + 0.3, legend_rows)
    panels = figure.subplots(len(kinds), GROUPS, sharex=True, sharey="row", squeeze=False)
    for row, kind in zip(panels, kinds, strict=True):
        for axes, group in zip(row, np.array_split(methods, GROUPS), strict=True):
            draw_panel(axes, [line for line in lines if line["kind"] == kind and line["method"] in group], kind)
        row[0].set_title(KINDS[kind])
    for axes in panels[-1]:
        axes.set_xlabel("Epoch")
    legend_below(figure, method_handles(methods, ls="-", ms=3), GROUPS)
    return figure


def collect_lines(curves: pd.DataFrame) -> list[dict]:
    """One line a method and term: epoch, mean, lowest and highest over seeds and folds."""
    lines = []
    for method, rows in curves.groupby("method", sort=False):
        terms = list(rows.term.unique())
        for term in terms:
            kind = kind_of(term, set(terms))
            table = rows[rows.term == term].pivot_table(index="epoch", columns=["seed", "fold"], values="value")
            if kind is None or table.empty:
                continue
            if kind == "distillation":
                first = table.bfill().iloc[0]
                table = table / first.where(first.abs() > 0)
            lines.append({"method": method, "term": term, "kind": kind, "table": table})
    return lines


def draw_panel(axes, lines: list[dict], kind: str) -> None:
    """All lines of one kind; a second term of the same method is dashed, the third dotted."""
    seen: dict[str, int] = {}
    for line in lines:
        number = seen[line["method"]] = seen.get(line["method"], -1) + 1
        table, (colour, marker) = line["table"], look(line["method"])
        mean = table.mean(axis=1)
        # Markers at a few epochs, not the same for each line, so that colour is not the only sign.
        step = max(1, len(table) // 5)
        some = (len(seen) * 3 % step, step)
        style = {"ls": STYLES[number % 4], "color": colour, "marker": marker}
        axes.plot(table.index, mean, **style, lw=1, ms=3, markevery=some)
        if table.shape[1] > 1:
            axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.15, lw=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y")
    if kind == "distillation":
        axes.set_ylim(bottom=0)
    if kind == "gradient":
        values = np.concatenate([line["table"].to_numpy().ravel() for line in lines])
        values = values[np.isfinite(values) & (values > 0)]
        if values.size:  # whole decades, so that a flat line looks flat
            axes.set_yscale("log")
            axes.set_ylim(10 ** np.floor(np.log10(values.min())), 10 ** np.ceil(np.log10(values.max()) + 1e-9))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")


def caption(lines: list[dict], given: str, grouped: bool) -> str:
    terms = [f"{method_label(x['method'])}: {x['term']}" for x in lines if x["kind"] == "distillation"]
    runs = sorted({x["table"].shape[1] for x in lines})
    over = f"{runs[0]} to {runs[-1]}" if len(runs) > 1 else runs[0]
    several = runs[-1] > 1
    sentences = {
        f"Loss terms during training for {given}.": True,
        f"Lines are means over {over} runs (seeds and folds), bands reach from the lowest to the highest.": several,
        "Each column of panels has the methods of the legend's column below it.": grouped,
        "nnU-Net's segmentation loss is cross-entropy minus Dice, so it may fall below 0.": True,
        f"Distillation terms are divided by their first value: {enumerate_words(terms)}.": bool(terms),
        "The gradient's norm at the tap is that of the weighted term over that of the segmentation's.": any(
            x["kind"] == "gradient" for x in lines
        ),
        "A second term of one method in a panel is dashed, a third dotted.": any(
            x["method"] == y["method"] and x["kind"] == y["kind"] for x, y in pairwise(lines)
        ),
    }
    return " ".join(sentence for sentence, said in sentences.items() if said)


def alt(lines: list[dict], kinds: list[str]) -> str:
    parts = []
    for line in lines:
        mean = line["table"].mean(axis=1)
        change = f"from {number(mean.iloc[0], 2)} to {number(mean.iloc[-1], 2)}"
        parts.append(f"{method_label(line['method'])} {line['term']} {change}")
    return f"Training curves in {len(kinds)} panels: {'; '.join(parts)}."
