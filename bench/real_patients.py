"""How a trained network segments real patients, from each subset of the sequences that it can take.

    python bench/real_patients.py MODEL OUT.csv [--subsets t1ce+flair,flair]

The patients are those of CROSSMODAL_BRATS_SAMPLE, a folder of BraTS 2021 cases, else of ../shared/brats2021-sample.
Dice is of the native geometry (1 mm). Only numbers are written: no voxel of a patient, and no picture.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import typer
from measure import REPOSITORY, markdown_table

from crossmodal.device import keep_freed_memory
from crossmodal.domain import REGIONS, all_subsets, from_internal, parse_subset, regions_of
from crossmodal.evaluate.metrics import dice
from crossmodal.evaluate.score import read_labels
from crossmodal.files import atomic_path
from crossmodal.nnunet.predict import Predictor
from crossmodal.progress import track

RELEASE = "brats2021"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SAMPLE = REPOSITORY.parent / "shared" / "brats2021-sample"


def patients() -> list[Path]:
    """Folders of the real cases.

    Raises:
        SystemExit: there are none.
    """
    root = Path(os.environ.get("CROSSMODAL_BRATS_SAMPLE", SAMPLE))
    found = sorted(path for path in root.glob("BraTS2021_*") if path.is_dir())
    if not found:
        raise SystemExit(f"{root}: no real patients there: set CROSSMODAL_BRATS_SAMPLE to a folder of BraTS 2021 cases")
    return found


def dice_of_subsets(
    model: Path, fold: int, subsets: Sequence[str], folders: Sequence[Path] | None = None
) -> pd.DataFrame:
    """One row for each case, subset and region, with its Dice; of all patients, or of these folders."""
    predictor = Predictor(model, [fold], DEVICE)
    theirs = np.zeros(4, np.uint8)
    for ours, value in from_internal(RELEASE).items():
        theirs[ours] = value
    rows = []
    for folder in track(folders or patients(), "patients segmented"):
        reference, _, _ = read_labels(folder / f"{folder.name}_seg.nii.gz", RELEASE)
        for subset in subsets:
            images = {m: folder / f"{folder.name}_{m}.nii.gz" for m in parse_subset(subset)}
            labels = theirs[predictor.segment(images)[0]].T  # nnU-Net's reader has z first
            for region, values in regions_of(RELEASE).items():
                value = dice(np.isin(reference, values), np.isin(labels, values))
                rows.append({"case": folder.name, "subset": subset, "region": region, "dice": value})
    return pd.DataFrame(rows)


def main(model: Path, out: Path, subsets: str = "all", fold: int = 0, threads: int = 1) -> None:
    """Write Dice by case, subset and region; print the means over the patients.

    MODEL: a model folder. OUT: the CSV. --subsets: separated by commas; all 15 by default.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    names = list(all_subsets()) if subsets == "all" else subsets.split(",")
    table = dice_of_subsets(model, fold, names)
    with atomic_path(out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4f")
    means = table.pivot_table(index="subset", columns="region", values="dice", sort=False)
    rows = [[name, *(f"{means.loc[name, region]:.2f}" for region in REGIONS)] for name in names]
    print(markdown_table(["subset", *REGIONS], rows))


if __name__ == "__main__":
    typer.run(main)
