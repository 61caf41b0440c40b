"""Measure contrasts, brain variation, volumes and components of cohorts in the BraTS layout, for docs/phantom.md.

    python bench/phantom_contrast.py --real FOLDER --write docs/phantom.md

Only the files are read, so phantoms and patients are measured by the same code. Contrast = (mean of the label − mean
of normal brain) / SD of the brain. Normal brain lies 4 to 15 mm from the tumour and more than 4 mm below the
brain's surface; the brain is where any sequence is not 0.
"""

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import typer
from measure import markdown_table
from scipy import ndimage

from crossmodal.domain import MODALITIES, MODALITY_LABELS
from crossmodal.files import replace_between
from crossmodal.phantom import write_cohort
from crossmodal.phantom.tumour import ED, ET, NCR
from crossmodal.progress import track

LABELS = {"necrosis": NCR, "oedema": ED, "enhancing": ET}
RING_MM = (4.0, 15.0)
SURFACE_MM = 4.0
SMALLEST_LABEL_ML = 0.3  # fewer voxels have no stable mean
SMALLEST_COMPONENT_ML = 0.05

# Mean, lowest and highest of four BraTS 2021 patients, measured in the same way. The phantom was fitted to them.
REAL = {
    "necrosis_t1": (-0.95, -1.23, -0.63),
    "oedema_t1": (-0.35, -0.68, -0.12),
    "enhancing_t1": (-0.45, -0.68, -0.20),
    "necrosis_t1ce": (-0.59, -1.29, 0.19),
    "oedema_t1ce": (-0.48, -0.79, -0.20),
    "enhancing_t1ce": (1.74, 1.18, 2.27),
    "necrosis_t2": (1.44, 0.47, 3.11),
    "oedema_t2": (0.82, 0.40, 1.74),
    "enhancing_t2": (0.63, 0.15, 1.36),
    "necrosis_flair": (2.00, 1.80, 2.42),
    "oedema_flair": (2.11, 1.59, 2.38),
    "enhancing_flair": (1.80, 1.24, 2.79),
    "cv_t1": (None, 0.23, 0.44),
    "cv_t1ce": (None, 0.18, 0.42),
    "cv_t2": (None, 0.36, 0.78),
    "cv_flair": (None, 0.29, 0.51),
    "brain_ml": (None, 1362, 1973),
    "wt_ml": (None, 52, 182),
    "necrosis_ml": (None, 0.5, 40),
    "oedema_ml": (None, 43, 140),
    "enhancing_ml": (None, 8, 29),
    "components": (None, 1, 3),
    "largest_share": (None, 0.86, 1.0),
}


def read(folder: Path, kind: str) -> tuple[np.ndarray, tuple[float, ...]]:
    """One file of a case: voxels and voxel edges in mm."""
    image = nib.load(next(folder.glob(f"{folder.name}_{kind}.nii*")))
    return np.asanyarray(image.dataobj), image.header.get_zooms()


def measure(folder: Path) -> dict[str, float]:
    """One case: `necrosis_t1` and so on, `cv_t1`, volumes in ml (`wt_ml`), components of the whole tumour."""
    seg, zooms = read(folder, "seg")
    seg = np.rint(seg).astype(int)
    images = {m: read(folder, m)[0].astype(float) for m in MODALITIES}
    brain = np.any([image != 0 for image in images.values()], axis=0)
    box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in ndimage.find_objects(brain.astype(int))[0])
    brain, seg, images = brain[box], seg[box], {m: image[box] for m, image in images.items()}
    ml = float(np.prod(zooms)) / 1000
    distance = ndimage.distance_transform_edt(seg == 0, sampling=zooms)
    depth = ndimage.distance_transform_edt(brain, sampling=zooms)
    ring = (depth > SURFACE_MM) & (distance >= RING_MM[0]) & (distance <= RING_MM[1])
    row = {"brain_ml": brain.sum() * ml, "wt_ml": (seg > 0).sum() * ml}
    for name, label in LABELS.items():
        row[f"{name}_ml"] = (seg == label).sum() * ml
    sizes = np.bincount(ndimage.label(seg > 0, np.ones((3, 3, 3)))[0].ravel())[1:] * ml
    row["components"] = (sizes >= SMALLEST_COMPONENT_ML).sum()
    row["largest_share"] = sizes.max() / sizes.sum()
    for m, image in images.items():
        inside = image[brain]
        row[f"cv_{m}"] = inside.std() / inside.mean()
        for name, label in LABELS.items():
            if row[f"{name}_ml"] >= SMALLEST_LABEL_ML:
                row[f"{name}_{m}"] = (image[seg == label].mean() - image[ring].mean()) / inside.std()
    return row


def measure_cohort(root: Path) -> pd.DataFrame:
    """One row a case, one column a quantity; the contrasts of a label that a case does not have are empty."""
    folders = sorted(f for f in root.iterdir() if f.is_dir() and list(f.glob("*_seg.nii*")))
    table = pd.DataFrame({f.name: measure(f) for f in track(folders, f"cases of {root.name} measured")}).T
    table["enhancing_ml"] = table["enhancing_ml"].where(table["enhancing_ml"] > 0)  # counted as "without ET"
    return table


def summary(table: pd.DataFrame, spread: tuple[float, float] = (0.05, 0.95)) -> dict[str, str]:
    """Mean [low, high] of each quantity as text; `spread` are the two quantiles."""
    low, high = table.quantile(spread[0]), table.quantile(spread[1])
    text = {}
    for key in REAL:
        digits = 0 if key.endswith("_ml") else 2
        text[key] = f"{table[key].mean():.{digits}f} [{low[key]:.{digits}f}, {high[key]:.{digits}f}]"
    return text | {"without_et": f"{table['enhancing_ml'].isna().sum()} of {len(table)}"}


def markdown(columns: dict[str, dict[str, str]]) -> str:
    """The table of docs/phantom.md: a row for each quantity, a column for each cohort."""
    names = {f"{n}_{m}": f"{n}, {MODALITY_LABELS[m]}" for n in LABELS for m in MODALITIES}
    names |= {f"cv_{m}": f"brain SD/mean, {MODALITY_LABELS[m]}" for m in MODALITIES}
    names |= {"brain_ml": "brain, ml", "wt_ml": "whole tumour, ml"} | {f"{n}_ml": f"{n}, ml" for n in LABELS}
    names |= {"components": "components of WT", "largest_share": "share of the largest"}
    patients = {"without_et": "0 of 4"}
    for key, (mean, low, high) in REAL.items():
        patients[key] = f"[{low:g}, {high:g}]" if mean is None else f"{mean:.2f} [{low:.2f}, {high:.2f}]"
    columns = {"four patients": patients} | columns
    rows = [
        [name, *(column[key] for column in columns.values())]
        for key, name in (names | {"without_et": "cases without ET"}).items()
    ]
    return markdown_table(["", *columns], rows)


def generated(site: str, cases: int, spacing: float, workers: int) -> pd.DataFrame:
    """Measurements of phantoms with the demo's seed, which are deleted again."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / f"site-{site}-{spacing:g}mm"
        write_cohort(root, cases, spacing, 2023, site, workers)
        return measure_cohort(root)


def main(
    cases: int = 50, cases_1mm: int = 8, workers: int = 2, real: Path | None = None, write: Path | None = None
) -> None:
    """Contrasts, brain variation, volumes and components of cohorts in the BraTS layout.

    --cases: phantoms of each site at 3 mm. --cases-1mm: of site A at 1 mm. --real: cases in the layout of BraTS 2021.
    --write: Markdown file for the table, between its markers.
    """
    columns = {}
    if real:
        table = measure_cohort(real)
        columns[f"{len(table)} of them, this script"] = summary(table, (0, 1))
    for site, spacing, number in (("A", 3, cases), ("A", 1, cases_1mm), ("B", 3, cases)):
        columns[f"{site}, {spacing} mm, {number}"] = summary(generated(site, number, spacing, workers))
    text = markdown(columns)
    print(text)
    if write:
        replace_between(write, "measured", text)


if __name__ == "__main__":
    typer.run(main)
