"""Score the predictions of a folder against the references of a cohort: one row a case and region."""

import zlib
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.domain import labels_of, regions_of
from crossmodal.errors import UserError, nearest
from crossmodal.evaluate.lesions import lesion_scores
from crossmodal.evaluate.metrics import bounding_box, dice, one_empty_mm, surface_metrics, volume_ml
from crossmodal.evaluate.per_case import SCORES, write_table
from crossmodal.progress import track

ENDING = ".nii.gz"

# Enhancing tumour below 200 voxels is relabelled necrosis: the value and the rule of nnU-Net's BraTS 2020
# entry (Isensee et al. 2020, arXiv 2011.00848). In mm³, which at BraTS's 1 mm is the same.
SMALLEST_ET_MM3 = 200.0


@dataclass(frozen=True)
class Job:
    """One case to score."""

    case: str
    release: str
    reference: Path
    prediction: Path


def score_folder(
    predictions: Path, cases: Path, out: Path, cohort: str | None = None, workers: int = 1
) -> pd.DataFrame:
    """Score every `<case>.nii.gz` of a folder that has a reference, and write one CSV.

    Args:
        predictions: folder of label maps in native geometry and the release's own labels.
        cases: the cohort's cases.csv.
        out: the CSV to write: case, region and `SCORES`, sorted by case, then WT, TC, ET.
        cohort: take only this cohort's cases; needed where two cohorts share a case's name.
        workers: processes.

    Raises:
        UserError: a prediction is of an unknown case, cannot be read, or has another geometry than its reference or
            labels that the release does not use; or there is nothing to score.
    """
    jobs = find_jobs(predictions, cases, cohort)
    rows = [row for case_rows in _in_parallel(jobs, workers) for row in case_rows]
    table = pd.DataFrame(rows, columns=["case", "region", *SCORES])
    write_table(table, out)
    return table


def find_jobs(predictions: Path, cases: Path, cohort: str | None = None) -> list[Job]:
    """The cases of a folder of predictions that can be scored, sorted by name; arguments as in `score_folder`."""
    if not predictions.is_dir():
        raise UserError(f"{predictions}: no such folder of predictions")
    table = read_cases(cases)
    if cohort is not None:
        if cohort not in set(table["cohort"]):
            raise UserError(f"{cases}: has no cohort '{cohort}': {nearest(cohort, table['cohort'].unique())}")
        table = table[table["cohort"] == cohort]
    by_case = dict(iter(table.groupby("case")))
    jobs = []
    for path in sorted(predictions.glob(f"[!.]*{ENDING}")):  # a dot begins a file that is still being written
        name = path.name.removesuffix(ENDING)
        if name not in by_case:
            raise UserError(f"{path}: {cases} has no case '{name}'; {nearest(name, by_case)}")
        if len(by_case[name]) > 1:
            cohorts = ", ".join(by_case[name]["cohort"])
            raise UserError(f"{path}: the case '{name}' is in several cohorts ({cohorts}); choose one by --cohort")
        row = by_case[name].iloc[0]
        if row["seg"]:
            jobs.append(Job(name, row["release"], Path(row["seg"]), path))
    if not jobs:
        raise UserError(f"{predictions}: no {ENDING} file of a case with a segmentation, so nothing to score")
    return jobs


def score_case(job: Job) -> list[dict]:
    """Scores of one case, one row (case, region and `SCORES`) for each region.

    Raises:
        UserError: a file cannot be read, or the prediction has another geometry or other labels than the reference.
    """
    reference, spacing, axes = read_labels(job.reference, job.release)
    prediction, its_spacing, its_axes = read_labels(job.prediction, job.release)
    if prediction.shape != reference.shape:
        raise UserError(
            f"{job.prediction}: has the shape {prediction.shape}, the reference {job.reference} has "
            f"{reference.shape}; predictions are scored in the reference's own geometry"
        )
    if its_axes != axes or not np.allclose(its_spacing, spacing, rtol=1e-3):
        raise UserError(
            f"{job.prediction}: voxels run {its_axes} at {_mm(its_spacing)}, those of the reference "
            f"{job.reference} {axes} at {_mm(spacing)}; export it in the geometry of the case"
        )
    box = bounding_box((reference != 0) | (prediction != 0))
    reference, prediction = (np.ascontiguousarray(volume[box]) for volume in (reference, prediction))
    return [
        {"case": job.case, "region": region}
        | score_region(
            np.isin(reference, values), np.isin(prediction, values), spacing, region, one_empty_mm(job.release)
        )
        for region, values in regions_of(job.release).items()
    ]


def score_region(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: tuple, region: str, one_empty: float
) -> dict[str, float]:
    """All metrics (`SCORES`) of one region; NaN where one does not apply.

    Args:
        reference, prediction: boolean masks of one shape (x, y, z).
        spacing_mm: voxel size along x, y, z.
        region: WT, TC or ET.
        one_empty: HD95 in mm when exactly one mask is empty.
    """
    overlap, surfaces = dice(reference, prediction), surface_metrics(reference, prediction, spacing_mm, one_empty)
    lesions = lesion_scores(reference, prediction, spacing_mm, whole_hd95_mm=surfaces.hd95_mm)
    scores = {
        "dice": overlap,
        "dice_present": overlap if reference.any() else np.nan,
        "hd95_mm": surfaces.hd95_mm,
        "nsd_1mm": surfaces.nsd,
        "lesion_dice": lesions.dice,
        "lesion_hd95_mm": lesions.hd95_mm,
        "volume_ref_ml": volume_ml(reference, spacing_mm),
        "volume_pred_ml": volume_ml(prediction, spacing_mm),
        "dice_et_postprocessed": np.nan,
        "hd95_et_postprocessed_mm": np.nan,
    }
    if region == "ET":
        if 1000.0 * scores["volume_pred_ml"] < SMALLEST_ET_MM3:
            prediction = np.zeros_like(prediction)
            overlap = dice(reference, prediction)
            surfaces = surface_metrics(reference, prediction, spacing_mm, one_empty)
        scores |= {"dice_et_postprocessed": overlap, "hd95_et_postprocessed_mm": surfaces.hd95_mm}
    return scores


def read_labels(path: Path, release: str) -> tuple[np.ndarray, tuple, str]:
    """A label map as uint8 of shape (x, y, z), its voxel size in mm, and its axes such as "LPS".

    Args:
        path: a NIfTI file.
        release: the release whose label values the file uses.

    Raises:
        UserError: the release is unknown; the file cannot be read, is not 3D or holds another value.
    """
    labels = sorted(labels_of(release))
    try:
        image = nibabel.load(path)
        values = np.asanyarray(image.dataobj)
        spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
        axes = "".join(axis or "?" for axis in nibabel.aff2axcodes(image.affine))
    except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise UserError(f"{path}: cannot be read as a NIfTI image ({error})") from error
    if values.ndim != 3 or values.dtype.kind not in "biuf":
        raise UserError(
            f"{path}: has the shape {values.shape} and the type {values.dtype}; it should be a 3D label map"
        )
    foreign = np.isin(values, labels, invert=True, kind="sort")  # for so few labels the fastest kind
    if foreign.any():
        odd = np.unique(values[foreign])
        shown = ", ".join(f"{value:g}" for value in odd[:5])
        raise UserError(
            f"{path}: holds {shown}{', …' if len(odd) > 5 else ''}, but the labels of {release} are "
            f"{', '.join(map(str, labels))}; write it in the release's own labels"
        )
    return values.astype(np.uint8), spacing, axes


def _mm(spacing: tuple) -> str:
    return " × ".join(f"{size:g}" for size in spacing) + " mm"


def _in_parallel(jobs: list[Job], workers: int) -> list[list[dict]]:
    """`score_case` of every job, in the order of the jobs."""
    workers = min(workers, len(jobs))
    if workers <= 1:
        return [score_case(job) for job in track(jobs, "cases scored")]
    try:
        with ProcessPoolExecutor(workers) as pool:
            return list(track(pool.map(score_case, jobs), "cases scored", len(jobs)))
    except BrokenProcessPool as error:
        raise UserError("a scoring process was killed, most likely for memory: use fewer --workers") from error
