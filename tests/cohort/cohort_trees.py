"""Tiny folders laid out as each release is, and their check."""

import csv
import json
from pathlib import Path

import nibabel
import numpy as np

from crossmodal.cohort.check import Options, check_cohort

SHAPE = (10, 11, 12)
LPS = np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1.0]])
RAS = np.diag([1.0, 1, 1, 1])
BRATS, GLI = ("t1", "t1ce", "t2", "flair"), ("t1n", "t1c", "t2w", "t2f")
UNTIL_2021, SINCE_2023 = (1, 2, 4), (1, 2, 3)


def image(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A brain of random intensities, 0 around it, so that no two seeds give the same."""
    volume = np.zeros(shape, np.int16)
    inside = tuple(slice(2, side - 2) for side in shape[:3])
    volume[inside] = np.random.default_rng(seed).integers(1, 2000, volume[inside].shape)
    return volume


def segmentation(labels: tuple[int, ...], shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    volume = np.zeros(shape, np.uint8)
    for row, label in enumerate(labels):
        volume[3 + row, 3:6, 3:6] = label
    return volume


def write(path: Path, volume: np.ndarray, affine: np.ndarray = LPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume, affine), path)


def write_case(
    folder: Path, seed: int, suffixes=BRATS, labels=UNTIL_2021, join: str = "_", ending: str = ".nii.gz"
) -> Path:
    for number, suffix in enumerate(suffixes):
        write(folder / f"{folder.name}{join}{suffix}{ending}", image(10 * seed + number))
    if labels is not None:
        write(folder / f"{folder.name}{join}seg{ending}", segmentation(labels))
    return folder


def write_cases(root: Path, names: list[str], seed: int, *layout, **options) -> Path:
    for k, name in enumerate(names):
        write_case(root / name, seed + k, *layout, **options)
    return root


def brats2018(root: Path, count: int = 4, prefix: str = "Brats18", seed: int = 0) -> Path:
    names = [f"{('LGG', 'HGG')[k % 2]}/{prefix}_TCIA{k:02d}_{k}_1" for k in range(count)]
    return write_cases(root, names, seed)


def brats2020(root: Path, count: int = 4, first: int = 1) -> Path:
    write_cases(root, [f"BraTS20_Training_{k:03d}" for k in range(first, first + count)], 200 + first, ending=".nii")
    for file in root.glob("*_355/*_seg.nii"):
        file.rename(file.with_name("W39_1998.09.19_Segm.nii"))
    return root


def brats2021(root: Path, count: int = 4) -> Path:
    return write_cases(root, [f"BraTS2021_{k:05d}" for k in range(count)], 600)


def brats2023(root: Path, count: int = 4) -> Path:
    return write_cases(root, [f"BraTS-GLI-{k:05d}-000" for k in range(count)], 700, GLI, SINCE_2023, "-")


def brats2024(root: Path, count: int = 4) -> Path:
    names = [f"BraTS-GLI-{k:05d}-{visit}" for k in range(count) for visit in (100, 101)]
    return write_cases(root, names, 800, GLI, (1, 2, 3, 4), "-")


def msd(root: Path, count: int = 4, unlabelled: int = 2) -> Path:
    for part, start, number in (("imagesTr", 1, count), ("imagesTs", 500, unlabelled)):
        for k in range(start, start + number):
            channels = [image(50_000 + 10 * k + c).astype(np.float32) for c in range(4)]
            write(root / part / f"BRATS_{k:03d}.nii.gz", np.stack(channels, axis=-1))
            if part == "imagesTr":
                write(root / "labelsTr" / f"BRATS_{k:03d}.nii.gz", segmentation((1, 2, 3)))
    names = [f"BRATS_{k:03d}.nii.gz" for k in range(1, count + 1)]
    description = {
        "name": "BRATS",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def table(root: Path, count: int = 4, release: str = "", labels: tuple[int, ...] = UNTIL_2021) -> Path:
    lines = ["case,patient,t1,t1ce,t2,flair,seg,release,grade"]
    for k in range(count):
        name = f"visit {k}; touch x" if k == 0 else f"Möller-{k}"
        files = []
        for number, suffix in enumerate(BRATS):
            write(root / f"scans/{k}/{suffix}.nii.gz", image(60_000 + 10 * k + number))
            files.append(f"scans/{k}/{suffix}.nii.gz")
        write(root / f"scans/{k}/mask.nii.gz", segmentation(labels))
        lines.append(",".join([name, f"p{k // 2}", *files, f"scans/{k}/mask.nii.gz", release, "HGG"]))
    (root / "cases.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


TREES = {
    "brats2018": brats2018,
    "brats2019": lambda root: brats2018(root, 4, "BraTS19", 100),
    "brats2020": brats2020,
    "brats2021": brats2021,
    "brats2023-gli": brats2023,
    "brats2024-gli": brats2024,
    "msd-task01": msd,
    "table": table,
}


def read(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def problems_of(out: Path) -> list[dict]:
    return read(out / "problems.csv")


def check(path, out, **options) -> tuple[list[dict], list[dict]]:
    """Rows of cases.csv and of problems.csv."""
    check_cohort(Path(path), Path(out), Options(**{"workers": 2} | options))
    return read(Path(out) / "cases.csv"), problems_of(Path(out))
