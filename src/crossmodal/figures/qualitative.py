"""Best, median and worst case: the sequences given, and the contours of reference and predictions."""

import numpy as np

from crossmodal.domain import MODALITIES, MODALITY_LABELS, REGION_LABELS, REGIONS
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.figures.style import REGION_COLOURS, SMALL, TWO_COLUMNS, Drawing, legend_below, new_figure
from crossmodal.wording import enumerate_words, method_label, modalities_label, number

TITLE = "Best, median and worst case"
CATEGORY = "Accuracy"
RANKS = ("best", "median", "worst", "only")
BASE = ("flair", "t1ce", "t2", "t1")  # the image under the contours: the first of these that was given


def draw(results: Results) -> Drawing:
    """Rows are cases; columns are the sequences given, the reference and each network's contours."""
    arrays, rows = results.arrays("panels"), results.data("panels")
    ranks = [r for r in RANKS if f"{r}_reference" in arrays]
    if not ranks:
        raise MissingDataError("figure_data/panels.npz holds no case.")
    given = [m for m in MODALITIES if f"{ranks[0]}_{m}" in arrays]
    roles = [role for role in rows.role.unique() if f"{ranks[0]}_{role}" in arrays]
    columns = [*given, "reference", *roles]
    height, width = arrays[f"{ranks[0]}_{given[0]}"].shape
    scale = rows.row_mm.iloc[0] / rows.column_mm.iloc[0]
    cell = (TWO_COLUMNS - 0.25) / len(columns)
    figure = new_figure(TWO_COLUMNS, len(ranks) * (cell * height * scale / width + 0.2) + 0.65, legend_rows=1)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    panels = figure.subplots(len(ranks), len(columns), squeeze=False)
    for i, rank in enumerate(ranks):
        networks = rows[rows["rank"] == rank].set_index("role")
        draw_row(panels[i], rank, columns, arrays, networks, scale)
        panels[i, 0].set_ylabel(rank.capitalize())
    networks = rows[rows["rank"] == ranks[0]].set_index("role")
    for axes, column in zip(panels[0], columns, strict=True):
        name = method_label(str(networks.at[column, "method"])) if column in networks.index else column.capitalize()
        axes.set_title(MODALITY_LABELS.get(column, name.replace(", ", ",\n")), loc="center", fontsize=SMALL + 0.5)
    handles = [panels[0, 0].plot([], [], color=REGION_COLOURS[r], label=REGION_LABELS[r])[0] for r in REGIONS]
    legend_below(figure, handles, 3)
    return Drawing(figure, caption(rows, given), alt(rows))


def draw_row(panels, rank: str, columns: list[str], arrays: dict, networks, scale: float) -> None:
    """One case: plain images of the sequences, then contours on one of them, each with its Dice."""
    base = next(arrays[f"{rank}_{m}"] for m in BASE if f"{rank}_{m}" in arrays)
    for axes, column in zip(panels, columns, strict=True):
        own = arrays.get(f"{rank}_{column}")
        if own is None:
            axes.set_axis_off()
        else:
            grey = own if column in MODALITIES else base
            axes.imshow(grey, cmap="gray", vmin=0, vmax=255, aspect=scale, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if column not in MODALITIES:
                contour(axes, own)
        if column in networks.index:
            axes.set_xlabel(" ".join(number(networks.at[column, f"dice_{r}"], 2) for r in REGIONS), labelpad=1.5)


def contour(axes, nested: np.ndarray) -> None:
    """Contours of WT, TC and ET, which lie inside one another."""
    for level, region in enumerate(REGIONS, start=1):
        mask = (nested >= level).astype(float)
        if mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=[REGION_COLOURS[region]], linewidths=0.9)


def caption(rows, given: list[str]) -> str:
    cases = rows.drop_duplicates("rank")
    named = enumerate_words([f"{r.rank} {r.case}" for r in cases.itertuples()])
    ranked_by = method_label(str(cases.ranked_by.iloc[0]))
    first = rows.iloc[0]
    return (
        f"Held-out cases of {first.cohort}, ranked by the mean Dice over WT, TC and ET of {ranked_by}: {named}. "
        f"Given: {modalities_label('+'.join(given))}. The axial slice with the most of all three regions in the "
        f"reference, the patient's right at the left; contours of seed {first.seed}, fold {first.fold}. Below each "
        "prediction: its Dice in the whole volume for WT, TC, ET."
    )


def alt(rows) -> str:
    parts = []
    for rank, own in rows.groupby("rank", sort=False):
        networks = [
            f"{method_label(str(r.method))} " + "/".join(number(getattr(r, f"dice_{x}")) for x in REGIONS)
            for r in own.itertuples()
        ]
        parts.append(f"{rank} case {own.case.iloc[0]}: {', '.join(networks)}")
    return f"Slices with contours; Dice for WT/TC/ET: {'; '.join(parts)}."
