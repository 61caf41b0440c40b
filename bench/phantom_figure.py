"""Draw docs/img/phantom.png: one phantom in four sequences, and the contrasts of many beside those of patients.

python bench/phantom_figure.py [--cases 50] [--workers 2] [--out docs/img/phantom.png]
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import typer
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from phantom_contrast import LABELS, REAL, generated, read

from crossmodal.domain import MODALITIES, MODALITY_LABELS
from crossmodal.phantom import write_cohort

OUT = Path("docs/img/phantom.png")
COLOURS = {"necrosis": "#0072b2", "oedema": "#009e73", "enhancing": "#d55e00"}
NAMES = {"necrosis": "necrosis (1)", "oedema": "oedema (2)", "enhancing": "enhancing tumour (4)"}


def draw_case(axes, folder: Path) -> None:
    """Four sequences and the labels, in the axial slice with the most necrosis and rim together."""
    seg, _ = read(folder, "seg")
    z = int(np.minimum((seg == 1).sum((0, 1)), (seg == 4).sum((0, 1))).argmax())
    images = {m: read(folder, m)[0][:, :, z].T.astype(float) for m in MODALITIES}
    rows, columns = (np.flatnonzero(images["t1"].any(axis)) for axis in (1, 0))
    window = (slice(rows[0] - 4, rows[-1] + 5), slice(columns[0] - 4, columns[-1] + 5))
    for ax, (modality, image) in zip(axes, images.items(), strict=False):
        ax.imshow(image[window], cmap="gray", vmin=0, vmax=np.percentile(image[image > 0], 99.5))
        ax.set_title(MODALITY_LABELS[modality])
    labels = np.select([value == seg[:, :, z].T for value in LABELS.values()], [1, 2, 3], 0)[window]
    axes[4].imshow(images["t1"][window], cmap="gray", vmax=2 * images["t1"].max())
    colours = ListedColormap(list(COLOURS.values()))
    axes[4].imshow(np.ma.masked_equal(labels, 0), cmap=colours, vmin=1, vmax=3, interpolation="nearest")
    axes[4].set_title("labels")
    for ax in axes:
        ax.axis("off")


def draw_contrasts(axes, table) -> None:
    """A histogram of each label's contrast; below it the range and mean of four patients."""
    for ax, modality in zip(axes, MODALITIES, strict=True):
        bins = np.linspace(-2, 4, 41)
        top = 0
        for label, colour in COLOURS.items():
            counts, *_ = ax.hist(table[f"{label}_{modality}"].dropna(), bins, color=colour, alpha=0.55)
            top = max(top, counts.max())
        for place, (label, colour) in enumerate(COLOURS.items()):
            mean, low, high = REAL[f"{label}_{modality}"]
            y = -top * (0.08 + 0.09 * place)
            ax.plot([low, high], [y, y], color=colour, linewidth=5, solid_capstyle="butt")
            ax.plot(mean, y, "D", color="black", markersize=4)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_ylim(-top * 0.36, top * 1.05)
        ax.set_yticks([])
        ax.set_xlim(-2, 4)
        ax.set_xticks(range(-2, 4))
        ax.set_title(MODALITY_LABELS[modality])
        ax.spines[["left", "right", "top"]].set_visible(False)


def main(cases: int = 50, workers: int = 2, out: Path = OUT) -> None:
    """Draw one phantom in four sequences, and the contrasts of many beside those of patients."""
    plt.rcParams.update({"font.size": 12, "axes.titlesize": 13})
    figure = plt.figure(figsize=(12, 6.9))
    above = figure.add_gridspec(1, 5, left=0.01, right=0.99, top=0.90, bottom=0.50, wspace=0.03)
    below = figure.add_gridspec(1, 4, left=0.02, right=0.98, top=0.37, bottom=0.16, wspace=0.10)
    with tempfile.TemporaryDirectory() as folder:
        case = write_cohort(Path(folder), 4, 1, 2023, "A", workers)[3]
        draw_case([figure.add_subplot(above[i]) for i in range(5)], case)
    draw_contrasts([figure.add_subplot(below[i]) for i in range(4)], generated("A", cases, 3, workers))
    figure.text(0.02, 0.972, "A phantom at 1 mm (simulated, no patient)", fontsize=14, weight="bold", va="center")
    title = f"Contrast with normal brain, in SD of the brain: histograms of {cases} phantoms at 3 mm"
    figure.text(0.02, 0.445, title, fontsize=14, weight="bold", va="center")
    handles = [Patch(color=colour, alpha=0.75, label=NAMES[label]) for label, colour in COLOURS.items()]
    handles.append(plt.Line2D([], [], color="grey", linewidth=5, marker="D", markersize=4, markerfacecolor="black"))
    handles[-1].set(label="range and mean of four patients", markeredgecolor="black")
    figure.legend(handles=handles, loc="lower center", ncol=4, frameon=False, bbox_to_anchor=(0.5, 0.01))
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    typer.run(main)
