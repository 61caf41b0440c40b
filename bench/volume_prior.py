"""How well patients are segmented without a look at their images: by where tumours of phantoms lie, and by chance.

    python bench/volume_prior.py PHANTOMS OUT.csv

The prior of a region is how often phantoms have it at each place of the box around the brain; it is taken where that
is above the threshold that gives phantoms the highest mean Dice. Chance is the expected Dice of as many voxels of the
brain as the region has, drawn at random: the region's share of the brain. The patients are those of
`real_patients.py`.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import typer
from real_patients import RELEASE, patients
from scipy import ndimage

from crossmodal.domain import MODALITIES, regions_of
from crossmodal.evaluate.metrics import dice
from crossmodal.files import atomic_path

GRID = (64, 80, 64)  # of the box around the brain
THRESHOLDS = np.arange(0.02, 0.6, 0.02)


def brain_and_labels(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The brain, which is where any sequence is not 0, and the labels (x, y, z)."""
    files = {kind: next(folder.glob(f"{folder.name}_{kind}.nii*")) for kind in (*MODALITIES, "seg")}
    read = {kind: np.asanyarray(nib.load(path).dataobj) for kind, path in files.items()}
    return np.any([read[m] != 0 for m in MODALITIES], axis=0), np.rint(read["seg"]).astype(int)


def in_box(mask: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """A mask as it lies in the box around the brain, sampled on GRID."""
    box = mask[ndimage.find_objects(brain.astype(int))[0]]
    places = np.ix_(*(np.round(np.linspace(0, n - 1, m)).astype(int) for n, m in zip(box.shape, GRID, strict=True)))
    return box[places]


def out_of_box(prior: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """A prior on GRID, linearly interpolated in the box around a brain; 0 outside the brain."""
    box = ndimage.find_objects(brain.astype(int))[0]
    shape = tuple(part.stop - part.start for part in box)
    places = np.meshgrid(*(np.linspace(0, m - 1, n) for n, m in zip(shape, GRID, strict=True)), indexing="ij")
    found = np.zeros(brain.shape)
    found[box] = ndimage.map_coordinates(prior, places, order=1)
    return found * brain


def main(phantoms: Path, out: Path) -> None:
    """Write Dice of the prior and of chance by case and region.

    PHANTOMS: a cohort in the layout of BraTS 2020. OUT: the CSV.
    """
    regions = regions_of("brats2020")
    boxes: dict[str, list[np.ndarray]] = {region: [] for region in regions}
    for folder in sorted(phantoms.glob("BraTS20_*")):
        brain, labels = brain_and_labels(folder)
        for region, values in regions.items():
            boxes[region].append(in_box(np.isin(labels, values), brain))
    rows = []
    for region, values in regions_of(RELEASE).items():
        prior = np.mean(boxes[region], axis=0)
        mean = [np.mean([dice(box, prior > threshold) for box in boxes[region]]) for threshold in THRESHOLDS]
        threshold = THRESHOLDS[int(np.argmax(mean))]
        for folder in patients():
            brain, labels = brain_and_labels(folder)
            there = np.isin(labels, values)
            found = {"volume prior": dice(there, out_of_box(prior, brain) > threshold)}
            found["chance"] = there.sum() / brain.sum()
            rows += [{"case": folder.name, "guess": name, "region": region, "dice": v} for name, v in found.items()]
    table = pd.DataFrame(rows)
    with atomic_path(out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4f")
    print(table.pivot_table(index="guess", columns="region", values="dice", sort=False).round(2))


if __name__ == "__main__":
    typer.run(main)
