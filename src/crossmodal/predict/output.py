"""What a patient's segmentation comes with: its record (JSON), the regions' probabilities, and a picture."""

from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.cohort.volumes import image_of
from crossmodal.domain import INTERNAL_REGIONS, MODALITY_LABELS, REGION_LABELS, REGIONS
from crossmodal.files import atomic_path
from crossmodal.wording import enumerate_words

NOTICE = "Research use only. Not a medical device."
BASE = ("flair", "t1ce", "t2", "t1")  # the image in the picture: the first of these that was given
SLICES = 5
DPI = 150
WIDTHS = {"WT": 1.2, "TC": 2.4, "ET": 0.9}  # both are seen where the outlines of TC and ET are the same
PERCENTILES = 1, 99.5  # of the brain's intensities: black and white


def stem_of(out: Path) -> str:
    """A segmentation's name without .nii.gz or .nii."""
    return out.name.removesuffix(".gz").removesuffix(".nii")


def beside(out: Path, ending: str) -> Path:
    """A file beside a segmentation, such as SEG.json beside SEG.nii.gz."""
    return out.with_name(f"{stem_of(out)}{ending}")


def volumes_ml(labels: np.ndarray, spacing: Any) -> dict[str, float]:
    """Volume of each region in ml, to a microlitre.

    Args:
        labels: internal labels, three axes.
        spacing: mm along each axis.
    """
    voxel_ml = float(np.prod(np.asarray(spacing, float))) / 1000
    return {region: round(int(np.isin(labels, INTERNAL_REGIONS[region]).sum()) * voxel_ml, 3) for region in REGIONS}


def write_probabilities(probabilities: np.ndarray, properties: dict, reader: Any, out: Path) -> None:
    """Write probabilities as a 4D NIfTI file in the input's geometry: x, y, z and WT, TC, ET, float32.

    Args:
        probabilities: (WT, TC, ET; three axes in the reader's order).
        properties: the reader's.
        reader: nnU-Net's reader and writer of the network.
        out: the file, .nii.gz.
    """
    import nibabel

    with atomic_path(out) as temporary:
        # The geometry is that of a segmentation which the reader itself writes.
        reader.write_seg(np.zeros(probabilities.shape[1:], np.uint8), str(temporary), properties)
        header = nibabel.load(temporary).header.copy()
        affine = nibabel.load(temporary).affine
        header.set_data_dtype(np.float32)
        volume = np.ascontiguousarray(probabilities.transpose(3, 2, 1, 0))
        nibabel.save(nibabel.Nifti1Image(volume, affine, header), temporary)


def draw(segmentation: Path, values: dict[str, tuple[int, ...]], images: dict[str, str], title: str, out: Path) -> None:
    """A picture for a quick look: one row of axial slices with the regions' outlines, the patient's right at the left.

    Args:
        segmentation: the file.
        values: region to its label values in that file.
        images: modality to file; one of them is shown, resampled to the segmentation's grid where it is on another.
        title: the first line.
        out: the PNG.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from nibabel import as_closest_canonical, load
    from nibabel.processing import resample_from_to

    from crossmodal.figures.style import REGION_COLOURS, settings

    base = next(name for name in BASE if name in images)
    labels, image = load(segmentation), image_of(images[base])
    if image.shape != labels.shape or not np.allclose(image.affine, labels.affine, atol=1e-3):
        image = resample_from_to(image, labels, order=1)
    labels, image = as_closest_canonical(labels), as_closest_canonical(image)
    drawn, grey = np.asarray(labels.dataobj), np.asarray(image.dataobj, np.float32)
    masks = {region: np.isin(drawn, values[region]) for region in REGIONS}
    sides = labels.header.get_zooms()
    brain = grey != grey[0, 0, 0]
    low, high = np.percentile(grey[brain], PERCENTILES) if brain.any() else (0, 1)
    columns, rows = (_extent(brain, axis) for axis in (0, 1))
    with settings():
        ratio = (rows.stop - rows.start) * sides[1] / ((columns.stop - columns.start) * sides[0])
        panel = 1.9
        figure = Figure(figsize=(panel * SLICES, panel * ratio + 0.75), facecolor="white")
        height = panel * ratio / figure.get_figheight()
        for place, position in enumerate(_slices(masks["WT"], brain)):
            axes = figure.add_axes((place / SLICES + 0.003, 0.34 / figure.get_figheight(), 1 / SLICES - 0.006, height))
            part = np.s_[columns, rows, position]
            extent = {"aspect": sides[1] / sides[0], "origin": "lower", "interpolation": "nearest"}
            # Columns run from right to left of the patient in RAS+, shown as radiologists look: right at the left.
            axes.imshow(grey[part].T[:, ::-1], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), **extent)
            for region in REGIONS:
                mask = masks[region][part].T[:, ::-1].astype(float)
                if mask.any() and not mask.all():
                    axes.contour(mask, levels=[0.5], colors=[REGION_COLOURS[region]], linewidths=WIDTHS[region])
            axes.set_axis_off()
            where = labels.affine[2] @ (0, 0, position, 1) if labels.affine[2, 2] else position
            axes.set_title(f"z = {where:.0f} mm", loc="center", fontsize=7, pad=2)
        head = 1 - 0.16 / figure.get_figheight()
        figure.text(0.005, head, title, fontsize=9, va="center")
        handles = [Line2D([], [], color=REGION_COLOURS[r], lw=WIDTHS[r], label=REGION_LABELS[r]) for r in REGIONS]
        figure.legend(handles=handles, loc="lower left", ncols=3, fontsize=8, borderpad=0.1, bbox_to_anchor=(0, 0))
        foot = f"On {MODALITY_LABELS[base]}; right of the patient at the left. {NOTICE}"
        figure.text(0.995, 0.13 / figure.get_figheight(), foot, fontsize=7, ha="right", va="center", color="#a03000")
        with atomic_path(out) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})


def title_of(name: str, volumes: dict[str, float]) -> str:
    """A case and its volumes in one line."""
    return f"{name}: {enumerate_words([f'{region} {value:.1f} ml' for region, value in volumes.items()])}"


def _slices(tumour: np.ndarray, brain: np.ndarray) -> list[int]:
    """Slices spread over the tumour, the one with the most of it in the middle; over the brain where there is none."""
    share = (tumour if tumour.any() else brain).sum((0, 1))
    heights = np.flatnonzero(share)
    if not heights.size:
        return [tumour.shape[2] // 2] * SLICES
    middle = int(share.argmax()) if tumour.any() else int(heights.mean())
    half = SLICES // 2
    below = np.linspace(heights[0], middle, half + 2)[1:-1]
    above = np.linspace(middle, heights[-1], half + 2)[1:-1]
    return [round(float(height)) for height in (*below, middle, *above)]


def _extent(brain: np.ndarray, axis: int) -> slice:
    """The brain's extent along an axis with a margin of 3 voxels."""
    inside = np.flatnonzero(brain.any(axis=tuple(other for other in range(3) if other != axis)))
    if not inside.size:
        return slice(0, brain.shape[axis])
    return slice(max(0, int(inside[0]) - 3), min(brain.shape[axis], int(inside[-1]) + 4))
