"""The one four-channel nnU-Net dataset of an experiment: raw files, plans, preprocessed arrays.

What `nnUNetv2_plan_and_preprocess` does, through nnU-Net's own classes, in this process or a small pool:
the command spends most of its time starting processes.
"""

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners as residual
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from crossmodal.cohort.background import sound_image
from crossmodal.cohort.volumes import image_of
from crossmodal.domain import MODALITIES, to_internal
from crossmodal.errors import UserError, nearest
from crossmodal.experiment.budget import Budget
from crossmodal.files import sha256_of, write_json
from crossmodal.nnunet.environment import environment
from crossmodal.nnunet.plans import CONFIGURATION, apply_budget, dataset_json
from crossmodal.progress import track

NAME = "Dataset001_Crossmodal"
PLANS = "nnUNetPlans"
PLANNERS = {
    "plain": ExperimentPlanner,
    "resenc_m": residual.nnUNetPlannerResEncM,
    "resenc_l": residual.nnUNetPlannerResEncL,
}
FILES = [*MODALITIES, "seg"]  # columns of cases.csv
# nnU-Net samples 10e7 foreground voxels for intensity statistics that z-score normalisation never reads.
FOREGROUND_VOXELS_OF_SMALL_BUDGETS = 1e6
# Starting a pool costs seconds: below this many voxels one process is done sooner.
VOXELS_THAT_PAY_FOR_A_POOL = 5e8


def read_dataset(dataset: Path) -> tuple[dict, dict, dict]:
    """Plans, dataset.json and manifest of an experiment's dataset.

    Raises:
        UserError: the dataset is not there or not whole.
    """
    folder = dataset / "preprocessed" / NAME
    files = (folder / f"{PLANS}.json", folder / "dataset.json", dataset / "manifest.json")
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: missing: build the dataset first (crossmodal dataset, or snakemake)")
    plans, dataset_json, manifest = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    arrays = folder / plans["configurations"][CONFIGURATION]["data_identifier"]
    found = len(list(arrays.glob("*.pkl")))
    if found < manifest["cases"]:
        raise UserError(
            f"{arrays}: {found} of {manifest['cases']} preprocessed cases are there: build the dataset again "
            f"(crossmodal dataset, or snakemake --forcerun preprocess_dataset)"
        )
    return plans, dataset_json, manifest


def build(cases: pd.DataFrame, out: Path, budget: Budget, backbone: str = "plain", workers: int = 1) -> None:
    """Write raw/, preprocessed/ and manifest.json under `out` for the training cases.

    Args:
        cases: rows of cases.csv; those with split "train" are used.
        out: the experiment's nnunet/ folder.
        budget: the budget.
        backbone: plain, resenc_m or resenc_l.
        workers: processes that preprocess cases.

    Raises:
        UserError: the backbone is unknown, there is no training case, or an image is missing or cannot be used.
    """
    if backbone not in PLANNERS:
        raise UserError(f"--backbone {backbone}: no such backbone; {nearest(backbone, PLANNERS)}")
    train = cases[cases["split"] == "train"].sort_values("case")
    if train.empty:
        raise UserError("the cohort has no training cases: see the split in cases.csv")
    train = train.assign(fold=pd.to_numeric(train["fold"]))
    folds = sorted({int(fold) for fold in train["fold"].dropna()})
    _require_files(train)
    raw, preprocessed = out / "raw" / NAME, out / "preprocessed" / NAME
    (out / "manifest.json").unlink(missing_ok=True)
    # nnU-Net rewrites its JSON files in place, and published ones share their bytes with DVC's cache.
    shutil.rmtree(preprocessed, ignore_errors=True)
    folders = {"nnUNet_raw": raw.parent, "nnUNet_preprocessed": preprocessed.parent}
    with environment(**folders, nnUNet_n_proc_DA="1", nnUNet_def_n_proc="1"):
        _write_raw(train, raw)
        extractor = DatasetFingerprintExtractor(NAME, num_processes=1)
        _write_fingerprint(extractor, preprocessed, budget)
        _plan(preprocessed, budget, backbone)
        _preprocess(extractor, preprocessed, workers)
    splits = [
        {
            "train": train.loc[train["fold"] != fold, "case"].tolist(),
            "val": train.loc[train["fold"] == fold, "case"].tolist(),
        }
        for fold in folds
    ]
    write_json(preprocessed / "splits_final.json", splits)
    used = train[["case", "fold", "release", "sha256"]].astype(str).values.tolist()
    manifest = {
        "dataset_sha256": sha256_of([used, budget.dataset_fields(), backbone]),
        "budget": budget.dataset_fields(),
        "cases": len(train),
        "folds": folds,
        "backbone": backbone,
    }
    write_json(out / "manifest.json", manifest)


def _require_files(cases: pd.DataFrame) -> None:
    files = [str(path).partition("#")[0] for path in cases[FILES].to_numpy().ravel()]
    missing = [path for path in files if not Path(path).is_file()]
    if missing:
        more = f", nor are {len(missing) - 1} other files of cases.csv" if len(missing) > 1 else ""
        raise UserError(
            f"{missing[0]}: is not there{more}: put the images where cases.csv says; an experiment that was restored "
            "on another machine is trained further only with its images"
        )


def _write_raw(train: pd.DataFrame, folder: Path) -> None:
    """Images as links to the cohort's files, labels written anew as 1 ED, 2 NCR, 3 ET.

    Files in several formats, or volumes inside a 4D file, are written as .nii.gz instead of linked; so are, in the
    files' own format, images whose background is not 0.
    """
    for part in ("imagesTr", "labelsTr"):
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir(parents=True)
    endings = {_ending(path) for path in train[FILES].to_numpy().ravel()}
    linkable = len(endings) == 1 and None not in endings
    ending = endings.pop() if linkable else ".nii.gz"
    for row in track(list(train.itertuples()), "cases linked"):
        for channel, modality in enumerate(MODALITIES):
            source = getattr(row, modality)
            target = folder / "imagesTr" / f"{row.case}_{channel:04d}{ending}"
            image = image_of(source)
            sound = _with_zero_background(image, source)
            if linkable and sound is image:
                target.symlink_to(Path(source).resolve())
            else:
                nib.save(sound, target)
        nib.save(_internal_labels(image_of(row.seg), row.release), folder / "labelsTr" / f"{row.case}{ending}")
    write_json(folder / "dataset.json", dataset_json(ending, len(train)))


def _ending(path: str) -> str | None:
    """The file ending, or None for a volume inside a 4D file (`file#channel`)."""
    return next((ending for ending in (".nii.gz", ".nii") if path.endswith(ending)), None)


def _with_zero_background(image: nib.Nifti1Image, source: str) -> nib.Nifti1Image:
    """The image as `sound_image` makes it; the image itself if nothing is to be changed."""
    if image.dataobj[0, 0, 0] == 0:  # a background of another value begins in the first corner
        return image
    volume = np.asanyarray(image.dataobj)
    changed = sound_image(volume, float(np.prod(image.header.get_zooms())) / 1000, source)
    if changed is volume:
        return image
    header = image.header.copy()
    header.set_data_dtype(changed.dtype)
    return nib.Nifti1Image(changed, image.affine, header)


def _internal_labels(segmentation: nib.Nifti1Image, release: str) -> nib.Nifti1Image:
    values = np.asarray(segmentation.dataobj)
    labels = np.zeros(values.shape, np.uint8)
    for theirs, ours in to_internal(release).items():
        labels[values == theirs] = ours
    return nib.Nifti1Image(labels, segmentation.affine)


def _write_fingerprint(extractor: DatasetFingerprintExtractor, folder: Path, budget: Budget) -> None:
    """dataset_fingerprint.json as `extractor.run` writes it, with nnU-Net's analysis of each case in this process."""
    cases = list(extractor.dataset.values())
    with redirect_stdout(None):
        reader = determine_reader_writer_from_dataset_json(extractor.dataset_json, cases[0]["images"][0])
    small = budget.spacing is not None
    voxels = FOREGROUND_VOXELS_OF_SMALL_BUDGETS if small else extractor.num_foreground_voxels_for_intensitystats
    analysed = [
        extractor.analyze_case(case["images"], case["label"], reader, int(voxels // len(cases)))
        for case in track(cases, "cases analysed")
    ]
    shapes, spacings, intensities, _, sizes = zip(*analysed, strict=True)
    statistics = {}
    for channel, of_cases in enumerate(zip(*intensities, strict=True)):
        values = np.concatenate(of_cases)
        low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
        statistics[channel] = {
            "mean": float(values.mean()),
            "median": float(median),
            "std": float(values.std()),
            "min": float(values.min()),
            "max": float(values.max()),
            "percentile_99_5": float(high),
            "percentile_00_5": float(low),
        }
    fingerprint = {
        "spacings": spacings,
        "shapes_after_crop": shapes,
        "foreground_intensity_properties_per_channel": statistics,
        "median_relative_size_after_cropping": np.median(sizes, 0),
    }
    folder.mkdir(parents=True)
    save_json(fingerprint, str(folder / "dataset_fingerprint.json"))


def _plan(folder: Path, budget: Budget, backbone: str) -> None:
    """Plans by nnU-Net's own planner, then the budget's changes."""
    spacing = None if budget.spacing is None else [float(size) for size in budget.spacing]
    planner = PLANNERS[backbone](NAME, plans_name=PLANS, overwrite_target_spacing=spacing)
    with redirect_stdout(None):
        planner.plan_experiment()
    file = folder / f"{PLANS}.json"
    write_json(file, apply_budget(json.loads(file.read_text()), budget))


def _preprocess(extractor: DatasetFingerprintExtractor, folder: Path, workers: int) -> None:
    """Crop, normalise and resample each case with nnU-Net's preprocessor."""
    plans = PlansManager(str(folder / f"{PLANS}.json"))
    configuration = plans.get_configuration(CONFIGURATION)
    arrays = folder / configuration.data_identifier
    arrays.mkdir()
    run = configuration.preprocessor_class(verbose=False).run_case_save
    jobs = [
        (str(arrays / case), files["images"], files["label"], plans, configuration, extractor.dataset_json)
        for case, files in extractor.dataset.items()
    ]
    voxels = len(jobs) * int(np.prod(nib.load(jobs[0][1][0]).shape))
    if workers > 1 and voxels > VOXELS_THAT_PAY_FOR_A_POOL:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            done = [pool.submit(run, *job) for job in jobs]
            for future in track(done, "cases preprocessed"):
                future.result()
    else:
        for job in track(jobs, "cases preprocessed"):
            run(*job)
