"""Intensities of class-mean images beside the originals, by class and sequence (as figure 3 of Dong et al. 2025)."""

from crossmodal.domain import MODALITIES, MODALITY_LABELS
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.figures.style import TWO_COLUMNS, Drawing, legend_below, new_figure
from crossmodal.wording import number, plural

TITLE = "Intensities of class-mean images"
CATEGORY = "Training"
CLASSES = {
    "background": ("Rest of the brain", "#999999", "-"),
    "ED": ("Oedema", "#009E73", "-"),
    "NCR": ("Necrosis", "#0072B2", "--"),
    "ET": ("Enhancing tumour", "#D55E00", "-."),
}
IMAGES = {"original": "Original", "class_mean": "Class-mean"}


def draw(results: Results) -> Drawing:
    """Columns are sequences; the upper row shows the originals, the lower one the class-mean images."""
    table = results.data("class_mean_histograms")
    modalities = [m for m in MODALITIES if m in set(table.modality)]
    if not modalities:
        raise MissingDataError("figure_data/class_mean_histograms.csv holds no sequence.")
    figure = new_figure(TWO_COLUMNS, 3.1, legend_rows=1)
    panels = figure.subplots(2, len(modalities), squeeze=False, sharex=True, sharey="row")
    for j, modality in enumerate(modalities):
        for i, image in enumerate(IMAGES):
            draw_panel(panels[i, j], table[(table.modality == modality) & (table.image == image)])
        panels[0, j].set_title(MODALITY_LABELS[modality])
        panels[1, j].set_xlabel("Intensity (SD of the brain)")
    shown = table[table.fraction > 0.002]
    panels[0, 0].set_xlim(shown.bin_low.min(), shown.bin_high.max())
    for i, label in enumerate(IMAGES.values()):
        panels[i, 0].set_ylabel(f"{label}:\nshare of the class")
    handles = [panels[0, 0].plot([], [], color=c, linestyle=s, label=label)[0] for label, c, s in CLASSES.values()]
    legend_below(figure, handles, 4)
    return Drawing(figure, caption(table), alt(table, modalities))


def draw_panel(axes, rows) -> None:
    """One line a class; bins that are not in the file are empty."""
    for name, (_, colour, line) in CLASSES.items():
        own = rows[rows.label == name].sort_values("bin_low")
        if own.empty:
            continue
        width = (own.bin_high - own.bin_low).median()
        corners = []
        for _, run in own.groupby((own.bin_low - own.bin_high.shift() > width / 2).cumsum()):
            corners.append((run.bin_low.iloc[0], 0))
            for low, high, share in run[["bin_low", "bin_high", "fraction"]].to_numpy():
                corners += [(low, share), (high, share)]
            corners.append((run.bin_high.iloc[-1], 0))
        axes.plot(*zip(*corners, strict=True), color=colour, linestyle=line, lw=1)
    axes.set_ylim(bottom=0)
    axes.grid(axis="x")


def caption(table) -> str:
    cases = plural(int(table.cases.max()), "training case")
    return (
        f"Share of each class's brain voxels by intensity in {cases}, each image "
        "with mean 0 and standard deviation 1 within the brain. In a class-mean image every voxel has the mean of its "
        "class, so each case gives one value a class (the mean of the background includes the air around the brain): "
        "the teacher of Dong et al. 2025 learns shapes from such images. Another line style for each class."
    )


def alt(table, modalities: list[str]) -> str:
    parts = []
    for modality in modalities:
        rows = table[(table.modality == modality) & (table.image == "original")]
        middle = (rows.bin_low + rows.bin_high) / 2 * rows.fraction
        means = middle.groupby(rows.label).sum() / rows.fraction.groupby(rows.label).sum()
        words = ", ".join(f"{CLASSES[c][0]} {number(means[c], 1, sign=True)}" for c in CLASSES if c in means)
        parts.append(f"{MODALITY_LABELS[modality]}: {words}")
    return f"Histograms by class. Mean intensity in the originals, in SD: {'; '.join(parts)}."
