"""Whole commands compared with nnU-Net's own: preparing a dataset, predicting a folder of cases; and scoring a case."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import scoring
import torch
from measure import Usage, Worker, entry, run_command, take_turns
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from processes import SEED

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.device import available_cores
from crossmodal.domain import from_internal
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.budget import Budget, load_budget
from crossmodal.nnunet.dataset import NAME
from crossmodal.phantom import write_cohort
from crossmodal.train.job import TrainingJob, train


def again(out: Path, command: list[str], environment: dict | None = None, given: Path | None = None) -> Callable:
    """A function that empties the folder that a command writes into, and runs the command.

    Args:
        out: the folder.
        command: what is run.
        environment: variables that are added.
        given: a file of nnU-Net's dataset that is there before the command runs.
    """

    def run() -> Usage:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        if given:
            (out / NAME).mkdir()
            shutil.copy(given, out / NAME)
        return run_command(command, out.with_suffix(".log"), environment)

    return run


def preprocess(cases: Path, dataset: Path, budget: str, scratch: Path, tiny: bool) -> dict:
    """`crossmodal dataset` against `nnUNetv2_plan_and_preprocess` on the same raw files; the arrays must be equal.

    Ours makes the raw dataset as well. Neither does the 2D configuration, which is not trained here.
    """
    out, theirs, workers = scratch / "ours", scratch / "theirs", "1" if tiny else "2"
    spacing = map(str, load_budget(budget).spacing)
    ours = ["crossmodal", "dataset", "--cases", str(cases), "--out", str(out), "--budget", budget, "--workers", "2"]
    peer = ["nnUNetv2_plan_and_preprocess", "-d", "1", "-np", workers, "-npfp", workers, "-c", "3d_fullres"]
    peer += ["--no_pbar", "-overwrite_target_spacing", *spacing]
    environment = {"nnUNet_raw": str(dataset / "raw"), "nnUNet_preprocessed": str(theirs)}
    environment |= {"nnUNet_results": str(scratch / "results")}
    # However small the data, nnU-Net samples 10⁸ voxels for its fingerprint.
    given = dataset / "preprocessed" / NAME / "dataset_fingerprint.json" if tiny else None
    sides = {"ours": again(out, ours), "peer": again(theirs, peer, environment, given)}
    found = take_turns(sides, 1 if tiny else 3)
    return entry(*found.values(), cases=same_arrays(out / "preprocessed" / NAME, theirs / NAME))


def same_arrays(ours: Path, theirs: Path) -> int:
    """The number of cases.

    Raises:
        SystemExit: the arrays or sampling locations of a case are not equal to the last bit.
    """
    found = [nnUNetDatasetBlosc2(str(folder / "nnUNetPlans_3d_fullres")) for folder in (ours, theirs)]
    if sorted(found[0].identifiers) != sorted(found[1].identifiers):
        raise SystemExit("preprocess_vs_nnunet: not the same cases")
    for case in found[0].identifiers:
        (data, seg, _, properties), (data2, seg2, _, properties2) = (dataset.load_case(case) for dataset in found)
        same = np.array_equal(data[:], data2[:]) and np.array_equal(seg[:], seg2[:])
        places, places2 = properties["class_locations"], properties2["class_locations"]
        if not same or not all(np.array_equal(places[key], places2[key]) for key in {*places, *places2}):
            raise SystemExit(f"preprocess_vs_nnunet: the arrays of {case} are not nnU-Net's: nothing was measured")
    return len(found[0].identifiers)


def predict(cases: Path, dataset: Path, subset: str, budget: Budget, folder: Path, tiny: bool) -> dict:
    """`crossmodal predict-cases` against `nnUNetv2_predict_from_modelfolder` on the subset's files alone.

    Both use every core, as nnU-Net's command does by default. The segmentations must be equal once nnU-Net's labels
    are mapped to the release's.
    """
    model, out, theirs, shown = folder / "model", folder / "ours", folder / "theirs", folder / "shown"
    job = TrainingJob("student", recipes.load("student"), subset, 0, SEED, budget, dataset, model)
    train(job, torch.device("cpu"))
    rows = read_cases(cases)
    test = rows[rows["split"] == "test"]
    ending = json.loads((model / "dataset.json").read_text(encoding="utf-8"))["file_ending"]
    shown.mkdir()
    for row in test.itertuples():
        for channel, modality in enumerate(subset.split("+")):
            target = shown / f"{row.case}_{channel:04d}{ending}"
            target.symlink_to(Path(getattr(row, modality)).resolve())
    ours = ["crossmodal", "predict-cases", "--model", str(model), "--cases", str(cases), "--cohort", "bench"]
    ours += ["--modalities", subset, "--out", str(out), "--device", "cpu", "--threads", str(available_cores())]
    peer = ["nnUNetv2_predict_from_modelfolder", "-i", str(shown), "-o", str(theirs), "-m", str(model)]
    peer += ["-f", "0", "-device", "cpu", "--disable_progress_bar"]
    peer += ["-npp", "1", "-nps", "1"] if tiny else []
    found = take_turns({"ours": again(out, ours), "peer": again(theirs, peer)}, 1 if tiny else 3)
    for row in test.itertuples():
        stock = np.asarray(nib.load(theirs / f"{row.case}{ending}").dataobj)
        mapped = np.zeros_like(stock)
        for internal, value in from_internal(row.release).items():
            mapped[stock == internal] = value
        if not np.array_equal(mapped, np.asarray(nib.load(out / f"{row.case}.nii.gz").dataobj)):
            raise SystemExit(
                f"predict_vs_nnunet: {row.case} is not segmented as by stock nnU-Net: nothing was measured"
            )
    return entry(*found.values(), cases=len(test))


def score(scratch: Path, spacing: float, times: int) -> dict:
    """All metrics of a phantom against surface-distance's HD95 of its three regions; the HD95 must be equal.

    With a spacing of 1 mm the phantom has 240×240×155 voxels.
    """
    write_cohort(scratch / "phantoms", 1, spacing, SEED, "A", 1)
    reference, prediction = next((scratch / "phantoms").glob("*/*_seg.nii*")), scratch / "prediction.nii.gz"
    image = nib.load(reference)
    labels = np.asarray(image.dataobj).astype(np.uint8)
    moved = np.roll(labels, (2, -1), (0, 1))  # a prediction that is nearly right
    nib.save(nib.Nifti1Image(moved, image.affine), prediction)
    sides = {"ours": Worker(scoring.ours, reference, prediction), "peer": Worker(scoring.plain, reference, prediction)}
    ours, peer = take_turns(sides, 1 + times).values()
    if not np.allclose(ours[0].value, peer[0].value, rtol=1e-12):
        raise SystemExit(f"score_vs_surface_distance: HD95 differs: {ours[0].value} and {peer[0].value}")
    return entry(ours[1:], peer[1:])
