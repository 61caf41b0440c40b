"""Whole commands beside nnU-Net's own: preparing a dataset, predicting a folder of cases; and scoring one case."""

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from measure import Party, compare, entry, run_command, take_turns
from parties import SEED, budget_of, recipe_of

NAME = "Dataset001_Crossmodal"


def preprocess(cases: Path, dataset: Path, budget: str, scratch: Path, times: int) -> dict:
    """`crossmodal dataset` against `nnUNetv2_plan_and_preprocess` on the same raw files, the same arrays coming out.

    Ours makes the raw dataset as well. Neither does the 2D configuration, which nobody here trains.
    """
    scratch.mkdir()
    settings = budget_of(budget, "cpu")
    out, theirs = scratch / "ours", scratch / "theirs"
    environment = {"nnUNet_raw": str(dataset / "raw"), "nnUNet_preprocessed": str(theirs)}
    environment |= {"nnUNet_results": str(scratch / "results")}
    command = ["nnUNetv2_plan_and_preprocess", "-d", "1", "-np", "2", "-npfp", "2", "-c", "3d_fullres", "--no_pbar"]
    command += ["-overwrite_target_spacing", *map(str, settings["spacing"])]

    def ours(_run: int) -> tuple[float, float]:
        shutil.rmtree(out, ignore_errors=True)
        build = ["crossmodal", "dataset", "--cases", str(cases), "--out", str(out), "--budget", budget]
        return run_command([*build, "--workers", "2"], {}, scratch / "ours.log")

    def peer(_run: int) -> tuple[float, float]:
        shutil.rmtree(theirs, ignore_errors=True)
        theirs.mkdir()
        return run_command(command, environment, scratch / "theirs.log")

    found = compare(ours, peer, times)
    number = _same_arrays(out / "preprocessed" / NAME, theirs / NAME)
    return found | {"cases": number}


def _same_arrays(ours: Path, theirs: Path) -> int:
    """The number of cases, all of whose arrays are equal to the last bit.

    Raises:
        SystemExit: they are not.
    """
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    found = [nnUNetDatasetBlosc2(str(folder / "nnUNetPlans_3d_fullres")) for folder in (ours, theirs)]
    if sorted(found[0].identifiers) != sorted(found[1].identifiers):
        raise SystemExit("preprocess_vs_nnunet: not the same cases")
    for case in found[0].identifiers:
        (data, seg, _, properties), (data2, seg2, _, properties2) = (dataset.load_case(case) for dataset in found)
        alike = np.array_equal(data[:], data2[:]) and np.array_equal(seg[:], seg2[:])
        places, places2 = properties["class_locations"], properties2["class_locations"]
        if not alike or not all(np.array_equal(places[key], places2[key]) for key in {*places, *places2}):
            raise SystemExit(f"preprocess_vs_nnunet: the arrays of {case} are not nnU-Net's: nothing was measured")
    return len(found[0].identifiers)


def predict(
    rows: pd.DataFrame, cases: Path, dataset: Path, subset: str, budget: str, folder: Path, epochs: int, times: int
) -> dict:
    """`crossmodal predict-cases` against `nnUNetv2_predict_from_modelfolder` on the subset's files alone.

    Both use every core: nnU-Net's command does so by itself. The segmentations must be the same, once labels are
    mapped to the release's.
    """
    import torch
    from crossmodal.domain import from_internal
    from crossmodal.train.job import Training, train

    model, out, theirs, shown = folder / "model", folder / "ours", folder / "theirs", folder / "shown"
    settings = budget_of(budget, "cpu", epochs=epochs)
    train(Training("student", recipe_of("student"), subset, 0, SEED, settings, dataset, model), torch.device("cpu"))
    test = rows[rows["split"] == "test"]
    ending = json.loads((model / "dataset.json").read_text(encoding="utf-8"))["file_ending"]
    shown.mkdir()
    for row in test.itertuples():
        for channel, modality in enumerate(subset.split("+")):
            target = shown / f"{row.case}_{channel:04d}{ending}"
            target.symlink_to(Path(getattr(row, modality)).resolve())
    cores = str(os.cpu_count())
    ours_command = ["crossmodal", "predict-cases", "--model", str(model), "--cases", str(cases), "--cohort", "bench"]
    ours_command += ["--modalities", subset, "--out", str(out), "--device", "cpu", "--threads", cores]
    command = ["nnUNetv2_predict_from_modelfolder", "-i", str(shown), "-o", str(theirs), "-m", str(model)]
    command += ["-f", "0", "-device", "cpu", "--disable_progress_bar"]

    def ours(_run: int) -> tuple[float, float]:
        shutil.rmtree(out, ignore_errors=True)
        return run_command(ours_command, {}, folder / "ours.log")

    def peer(_run: int) -> tuple[float, float]:
        shutil.rmtree(theirs, ignore_errors=True)
        return run_command(command, {}, folder / "theirs.log")

    found = compare(ours, peer, times)
    for row in test.itertuples():
        stock = np.asarray(nib.load(theirs / f"{row.case}{ending}").dataobj)
        mapped = np.zeros_like(stock)
        for internal, value in from_internal(row.release).items():
            mapped[stock == internal] = value
        if not np.array_equal(mapped, np.asarray(nib.load(out / f"{row.case}.nii.gz").dataobj)):
            raise SystemExit(f"predict_vs_nnunet: {row.case} is not segmented as stock nnU-Net does: nothing measured")
    return found | {"cases": len(test)}


def score(scratch: Path, spacing: float, times: int) -> dict:
    """All metrics of one case of 240×240×155 voxels against surface-distance called plainly for its three regions."""
    from crossmodal.phantom import write_cohort

    write_cohort(scratch / "phantoms", 1, spacing, SEED, "A", 1)
    reference = next((scratch / "phantoms").glob("*/*_seg.nii*"))
    image = nib.load(reference)
    labels = np.asarray(image.dataobj).astype(np.uint8)
    moved = np.roll(labels, (2, -1), (0, 1))  # a prediction that is near but not right
    nib.save(nib.Nifti1Image(moved, image.affine), scratch / "prediction.nii.gz")
    files = {"reference": str(reference), "prediction": str(scratch / "prediction.nii.gz")}
    ours, peer = (Party(kind, "scoring.py", files | {"kind": kind}, scratch) for kind in ("ours", "plain"))
    take_turns([ours, peer], 1, times)
    for party in (ours, peer):
        party.end()
    if not np.allclose(ours.values, peer.values, rtol=1e-12):
        raise SystemExit(f"score_vs_surface_distance: HD95 differs: {ours.values[0]} and {peer.values[0]}")
    peaks = {"ours_peak_mb": round(ours.peak_mb), "peer_peak_mb": round(peer.peak_mb)}
    return entry(ours.times, peer.times, **peaks)
