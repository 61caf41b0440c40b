"""The one four-channel nnU-Net dataset of an experiment: raw files, plans, preprocessed arrays.

What `nnUNetv2_plan_and_preprocess` does, through nnU-Net's own classes, in this process or a small pool:
the command spends most of its time starting processes.
"""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from crossmodal.cohort.volumes import image_of
from crossmodal.domain import MODALITIES, to_internal
from crossmodal.errors import UserError
from crossmodal.experiment.budget import Budget
from crossmodal.files import sha256_of, write_json
from crossmodal.nnunet.environment import environment
from crossmodal.nnunet.plans import CONFIGURATION, PLANNERS, apply_budget, dataset_json
from crossmodal.progress import track

NAME = "Dataset001_Crossmodal"
PLANS = "nnUNetPlans"
# nnU-Net samples 10e7 foreground voxels for intensity statistics that z-score normalisation never reads.
FOREGROUND_VOXELS_OF_SMALL_BUDGETS = 1e6
# Starting a pool costs seconds: below this many voxels one process is done sooner.
VOXELS_THAT_PAY_FOR_A_POOL = 5e8


def build(cases: pd.DataFrame, out: Path, budget: Budget, backbone: str = "plain", workers: int = 1) -> None:
    """Write raw/, preprocessed/ and manifest.json under `out` for the training cases.

    Args:
        cases: rows of cases.csv; those with split "train" are used.
        out: the experiment's nnunet/ folder.
        budget: the budget.
        backbone: plain, resenc_m or resenc_l.
        workers: processes that preprocess cases.

    Raises:
        UserError: there is no training case, or an image is missing.
    """
    train = cases[cases["split"] == "train"].sort_values("case")
    if train.empty:
        raise UserError("the cohort has no training cases: see the split in cases.csv")
    train = train.assign(fold=pd.to_numeric(train["fold"]))
    _require_files(train)
    (out / "manifest.json").unlink(missing_ok=True)
    # nnU-Net rewrites its JSON files in place, and published ones share their bytes with DVC's cache.
    shutil.rmtree(out / "preprocessed" / NAME, ignore_errors=True)
    folders = {"nnUNet_raw": out / "raw", "nnUNet_preprocessed": out / "preprocessed"}
    with environment(**folders, nnUNet_n_proc_DA="1", nnUNet_def_n_proc="1"):
        write_raw(train, out / "raw" / NAME)
        plan(out, budget, backbone)
        preprocess(out, workers)
    write_splits(train, out)
    write_json(
        out / "manifest.json",
        {
            "dataset_sha256": sha256_of(
                [
                    train[["case", "fold", "release", "sha256"]].astype(str).values.tolist(),
                    budget.dataset_fields(),
                    backbone,
                ]
            ),
            "budget": budget.dataset_fields(),
            "cases": len(train),
            "folds": sorted({int(fold) for fold in train["fold"].dropna()}),
            "backbone": backbone,
        },
    )


def _require_files(cases: pd.DataFrame) -> None:
    files = [str(path).partition("#")[0] for path in cases[[*MODALITIES, "seg"]].to_numpy().ravel()]
    missing = [path for path in files if not Path(path).is_file()]
    if missing:
        more = f", nor are {len(missing) - 1} other files of cases.csv" if len(missing) > 1 else ""
        raise UserError(
            f"{missing[0]}: is not there{more}: put the images where cases.csv says; an experiment that was restored "
            "on another machine is trained further only with its images"
        )


def write_raw(train: pd.DataFrame, folder: Path) -> None:
    """Raw nnU-Net dataset: images as links to the cohort's files, labels written anew as 1 ED, 2 NCR, 3 ET.

    Files in several formats, or volumes inside a 4D file, are written as .nii.gz instead of linked.

    Args:
        train: the training cases of cases.csv.
        folder: the raw dataset, e.g. raw/Dataset001_Crossmodal; its old images and labels are deleted.
    """
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for old in (folder / part).iterdir():
            old.unlink()
    columns = [*MODALITIES, "seg"]
    endings = {_ending(path) for path in train[columns].to_numpy().ravel()}
    linkable = len(endings) == 1 and None not in endings
    ending = endings.pop() if linkable else ".nii.gz"
    for row in track(list(train.itertuples()), "cases linked"):
        for channel, modality in enumerate(MODALITIES):
            source = getattr(row, modality)
            target = folder / "imagesTr" / f"{row.case}_{channel:04d}{ending}"
            if linkable:
                target.symlink_to(Path(source).resolve())
            else:
                nib.save(image_of(source), target)
        nib.save(_internal_labels(image_of(row.seg), row.release), folder / "labelsTr" / f"{row.case}{ending}")
    write_json(folder / "dataset.json", dataset_json(ending, len(train)))


def _ending(path: str) -> str | None:
    """The file ending, or None for a volume inside a 4D file (`file#channel`)."""
    return next((ending for ending in (".nii.gz", ".nii") if path.endswith(ending)), None)


def _internal_labels(segmentation: nib.Nifti1Image, release: str) -> nib.Nifti1Image:
    values = np.asarray(segmentation.dataobj)
    labels = np.zeros(values.shape, np.uint8)
    for theirs, ours in to_internal(release).items():
        labels[values == theirs] = ours
    return nib.Nifti1Image(labels, segmentation.affine)


def plan(out: Path, budget: Budget, backbone: str) -> None:
    """Fingerprint and plans by nnU-Net's own planner, then the budget's changes.

    Args:
        out: the experiment's nnunet/ folder, to which nnU-Net's environment variables point.
        budget: the budget.
        backbone: plain, resenc_m or resenc_l.
    """
    import nnunetv2
    from batchgenerators.utilities.file_and_folder_operations import load_json
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    extract_fingerprint(None if budget.spacing is None else FOREGROUND_VOXELS_OF_SMALL_BUDGETS)
    planners = str(Path(nnunetv2.__path__[0]) / "experiment_planning")
    planner_class = recursive_find_python_class(planners, PLANNERS[backbone], "nnunetv2.experiment_planning")
    spacing = None if budget.spacing is None else [float(size) for size in budget.spacing]
    planner = planner_class(NAME, plans_name=PLANS, overwrite_target_spacing=spacing)
    with redirect_stdout(None):
        planner.plan_experiment()
    plans_file = out / "preprocessed" / NAME / f"{PLANS}.json"
    write_json(plans_file, apply_budget(load_json(str(plans_file)), budget))


def extract_fingerprint(foreground_voxels: float | None) -> None:
    """Write nnU-Net's dataset_fingerprint.json, with its own analysis of each case, in this process.

    Args:
        foreground_voxels: how many voxels the intensity statistics sample; None for nnU-Net's 10e7.
    """
    from batchgenerators.utilities.file_and_folder_operations import maybe_mkdir_p, save_json
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    extractor = DatasetFingerprintExtractor(NAME, num_processes=1)
    cases = list(extractor.dataset.values())
    with redirect_stdout(None):
        reader = determine_reader_writer_from_dataset_json(extractor.dataset_json, cases[0]["images"][0])
    voxels = int((foreground_voxels or extractor.num_foreground_voxels_for_intensitystats) // len(cases))
    analysed = [
        extractor.analyze_case(case["images"], case["label"], reader, voxels) for case in track(cases, "cases analysed")
    ]
    statistics = {}
    for channel in range(len(MODALITIES)):
        values = np.concatenate([case[2][channel] for case in analysed])
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
    folder = Path(os.environ["nnUNet_preprocessed"]) / NAME
    maybe_mkdir_p(str(folder))
    save_json(
        {
            "spacings": [case[1] for case in analysed],
            "shapes_after_crop": [case[0] for case in analysed],
            "foreground_intensity_properties_per_channel": statistics,
            "median_relative_size_after_cropping": np.median([case[4] for case in analysed], 0),
        },
        str(folder / "dataset_fingerprint.json"),
    )


def preprocess(out: Path, workers: int) -> None:
    """Crop, normalise and resample each case with nnU-Net's preprocessor.

    Args:
        out: the experiment's nnunet/ folder, with plans.
        workers: processes.
    """
    from batchgenerators.utilities.file_and_folder_operations import load_json
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    folder = out / "preprocessed" / NAME
    plans = PlansManager(load_json(str(folder / f"{PLANS}.json")))
    configuration = plans.get_configuration(CONFIGURATION)
    dataset = load_json(str(folder / "dataset.json"))
    arrays = folder / configuration.data_identifier
    shutil.rmtree(arrays, ignore_errors=True)
    arrays.mkdir(parents=True)
    run = configuration.preprocessor_class(verbose=False).run_case_save
    files = get_filenames_of_train_images_and_targets(str(out / "raw" / NAME), dataset)
    jobs = [
        (str(arrays / case), paths["images"], paths["label"], plans, configuration, dataset)
        for case, paths in files.items()
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


def write_splits(train: pd.DataFrame, out: Path) -> None:
    """nnU-Net's splits_final.json from the fold column: each case validates in its fold and trains in the others."""
    folds = sorted({int(fold) for fold in train["fold"].dropna()})
    splits = [
        {
            "train": train.loc[train["fold"] != fold, "case"].tolist(),
            "val": train.loc[train["fold"] == fold, "case"].tolist(),
        }
        for fold in folds
    ]
    write_json(out / "preprocessed" / NAME / "splits_final.json", splits)
