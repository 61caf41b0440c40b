"""Heavy artefacts of a made-up experiment, in small: a cohort of tiny images, predictions, training logs."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import synthetic

SHAPE = (24, 28, 16)
SPACING = (2.0, 2.0, 3.0)


def build(folder: Path, cases: int = 3, methods=("teacher", "student", "choi2023")) -> Path:
    """An experiment with cohort/, models/, predictions/ and tables/, without figure_data/.

    Label values are those of BraTS 2020 (1 NCR, 2 ED, 4 ET); test case k's student misses more the larger k is.
    """
    synthetic.build(folder, methods=methods, cohorts=("brats2020",), seeds=(0,), cases=cases, figure_data=False)
    rng = np.random.default_rng(3)
    rows = [
        case_row(folder, rng, f"BraTS20_Training_{i:03d}", "train" if i < 3 else "test") for i in range(1, cases + 3)
    ]
    table = pd.DataFrame(rows)
    table.to_csv(folder / "cohort" / "cases.csv", index=False)
    write_scores(folder, table[table.split == "test"].case.tolist(), methods)
    write_models(folder / "models", methods)
    write_predictions(folder, table[table.split == "test"], methods)
    return folder


def labels_at(offset: int = 0) -> np.ndarray:
    """Nested boxes: oedema around necrosis around enhancing tumour, shifted by `offset` voxels along x."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[6 + offset : 16 + offset, 8:20, 4:12] = 2
    labels[8 + offset : 14 + offset, 10:18, 6:11] = 1
    labels[9 + offset : 12 + offset, 12:16, 7:10] = 4
    return labels


def save(path: Path, data: np.ndarray) -> str:
    """Write NIfTI in the LPS orientation that BraTS has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])), path)
    return str(path)


def case_row(folder: Path, rng, case: str, split: str) -> dict:
    """Write one case's five files and return its row of cases.csv."""
    labels = labels_at()
    brain = np.zeros(SHAPE, dtype=bool)
    brain[2:-2, 2:-2, 1:-1] = True
    place = folder / "cohort" / "images" / case
    row = {"cohort": "brats2020", "case": case, "patient": case, "release": "brats2020", "split": split}
    row["fold"] = 0 if split == "train" else ""
    for modality in synthetic.MODALITIES:
        image = brain * (100 + 20.0 * labels + rng.normal(0, 3, SHAPE))
        row[modality] = save(place / f"{case}_{modality}.nii.gz", image.astype(np.int16))
    return row | {"seg": save(place / f"{case}_seg.nii.gz", labels), "sha256": "0" * 64}


def write_scores(folder: Path, cases: list[str], methods) -> None:
    """per_case.csv for these very cases: Dice falls from the first to the last."""
    rows = []
    for method in methods:
        modalities = synthetic.given_to(method, "t1ce+flair")
        for k, case in enumerate(cases):
            for region in synthetic.REGIONS:
                dice = 0.9 - 0.2 * k + (0.05 if method != "student" else 0)
                rows.append(("brats2020", case, method, modalities, 0, 0, region, *[dice] * 5, 10.0, 9.0))
    columns = "cohort,case,method,modalities,fold,seed,region,dice,dice_present,hd95_mm,lesion_dice,lesion_hd95_mm"
    columns += ",volume_ref_ml,volume_pred_ml"
    pd.DataFrame(rows, columns=columns.split(",")).to_csv(folder / "tables" / "per_case.csv", index=False)


def write_models(models: Path, methods) -> None:
    """progress.csv with a resumed epoch and an empty cell; correlation.npz for Barlow Twins."""
    for method in methods:
        modalities = synthetic.given_to(method, "t1ce+flair")
        folder = models / method / modalities / "seed0" / "fold_0"
        folder.mkdir(parents=True)
        lines = [
            "epoch,step,resumed_from,time,loss_total,loss_seg_student,distill_0_barlow_twins@bottleneck,val_dice_WT"
        ]
        lines += ["0,10,,1.0,1.5,0.5,1.0,", "1,20,,2.0,9.0,9.0,9.0,", "1,20,1,2.5,1.0,0.25,0.75,0.5"]
        (folder / "progress.csv").write_text("\n".join(lines) + "\n")
        if method == "choi2023":
            np.savez(folder / "correlation.npz", start=np.zeros((8, 8)), end=np.eye(8))


def write_predictions(folder: Path, cases: pd.DataFrame, methods) -> None:
    """The student misses by more voxels from case to case; the others hit."""
    for k, case in enumerate(cases.case):
        for method in methods:
            modalities = synthetic.given_to(method, "t1ce+flair")
            place = folder / "predictions" / "brats2020" / method / modalities / "seed0" / "fold_0"
            save(place / f"{case}.nii.gz", labels_at(k + 1 if method == "student" else 0))
