"""Prediction with nnU-Net's own predictor, from the files of the modalities that are there."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from nibabel.filebasedimages import ImageFileError
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor

from crossmodal.cohort.background import sound_image
from crossmodal.cohort.cases_csv import left_out
from crossmodal.cohort.volumes import image_of
from crossmodal.device import fix_arithmetic
from crossmodal.domain import NUMBER_OF_LABELS, from_internal, parse_subset, subset_name
from crossmodal.errors import UserError
from crossmodal.files import atomic_path, only_process, resumable_directory
from crossmodal.nnunet.export import hash_of_weights, read_checkpoint, read_manifest
from crossmodal.nnunet.plans import CONFIGURATION, require_known_classes
from crossmodal.progress import track


class PairPredictor(nnUNetPredictor):
    """nnU-Net's predictor, whose network sees two tiles at a time.

    On a CPU, PyTorch leaves a small convolution of a single sample to a routine that is many times slower than
    oneDNN's, which it takes for two. Order and weighting of the tiles stay nnU-Net's.
    """

    def _internal_predict_sliding_window_return_logits(
        self, data: Tensor, slicers: list[tuple], do_on_device: bool = True
    ) -> Tensor:
        self._predictions = self._of_pairs(data, slicers)
        return super()._internal_predict_sliding_window_return_logits(data, slicers, do_on_device)

    def _internal_maybe_mirror_and_predict(self, x: Tensor) -> Tensor:
        return next(self._predictions)

    def _of_pairs(self, data: Tensor, slicers: list[tuple]) -> Iterator[Tensor]:
        for first in range(0, len(slicers), 2):
            tiles = torch.stack([data[tile] for tile in slicers[first : first + 2]]).to(self.device)
            yield from super()._internal_maybe_mirror_and_predict(tiles)[:, None]


class Predictor:
    """A trained model folder, ready to segment cases.

    Args:
        model: model folder with plans.json, dataset.json and fold_<k>/checkpoint_final.pth.
        folds: folds whose outputs are averaged, before the sigmoid, as nnU-Net does; None for all that are there.
        device: where to run.
    """

    def __init__(self, model: Path, folds: list[int] | None, device: torch.device) -> None:
        plans, self.dataset_json = _read(model / "plans.json"), _read(model / "dataset.json")
        require_known_classes(plans, str(model / "plans.json"))
        # Plain data: stock nnU-Net's model folders have no recipe, and those of other versions may have other keys.
        recipe = plans.get("distillation", {}).get("recipe", {})
        if recipe.get("input") == "class_mean":
            raise UserError(f"{model}: this network reads the ground truth (class-mean images): it predicts no case")
        self.any_subset = recipe.get("modalities") == "any"
        self.modalities = parse_subset("+".join(name.lower() for name in self.dataset_json["channel_names"].values()))
        if folds is None:
            there = model.glob("fold_*/checkpoint_final.pth")
            folds = sorted(int(path.parent.name.removeprefix("fold_")) for path in there)
            if not folds:
                raise UserError(f"{model}: no fold_<k>/checkpoint_final.pth in it: is this a model folder?")
        checkpoints = [read_checkpoint(model, fold) for fold in folds]
        self.plans = PlansManager(plans)
        self.configuration = self.plans.get_configuration(CONFIGURATION)
        self.labels = self.plans.get_label_manager(self.dataset_json)
        # What stock nnUNetTrainer builds; the trainer itself would bring seaborn along, two seconds of every start.
        network = get_network_from_plans(
            self.configuration.network_arch_class_name,
            self.configuration.network_arch_init_kwargs,
            self.configuration.network_arch_init_kwargs_req_import,
            len(self.modalities),
            self.labels.num_segmentation_heads,
            allow_init=False,
            deep_supervision=False,
        )
        with redirect_stdout(None):
            self.predictor = PairPredictor(device=device, allow_tqdm=False)
        weights = [checkpoint["network_weights"] for checkpoint in checkpoints]
        self.folds, self.weights_sha256 = list(folds), [hash_of_weights(one) for one in weights]
        axes = checkpoints[0]["inference_allowed_mirroring_axes"]
        self.predictor.manual_initialization(
            network, self.plans, self.configuration, weights, self.dataset_json, "nnUNetTrainer", axes
        )

    def segment(self, images: dict[str, str | Path]) -> tuple[np.ndarray, dict]:
        """Internal labels (0, 1 ED, 2 NCR, 3 ET) in the reader's axis order, and the reader's properties.

        Args:
            images: modality to file (or `file#channel`), for each modality of the model; an any-subset model
                takes those that are there and is given zeros for the others.

        Raises:
            UserError: a modality is missing, or an image cannot be used.
        """
        volumes, properties = self.read(images)
        voxel_ml = float(np.prod(properties["spacing"])) / 1000
        sound = {name: sound_image(volume, voxel_ml, images[name]) for name, volume in volumes.items()}
        return self.segment_volumes(sound, properties), properties

    def read(self, images: dict[str, str | Path]) -> tuple[dict[str, np.ndarray], dict]:
        """The images that the network uses, as nnU-Net's reader gives them, and the reader's properties.

        Args:
            images: as for `segment`.

        Raises:
            UserError: a modality is missing.
        """
        missing = [name for name in self.modalities if name not in images]
        if not images or (missing and not self.any_subset):
            raise UserError(
                f"this model needs the modalities {subset_name(self.modalities)}: missing {', '.join(missing)}"
            )
        reader = self.plans.image_reader_writer_class()
        given = [name for name in self.modalities if name in images]
        with tempfile.TemporaryDirectory() as scratch:
            data, properties = reader.read_images([as_file(images[name], Path(scratch), name) for name in given])
        return dict(zip(given, data, strict=True)), properties

    def segment_volumes(
        self, volumes: dict[str, np.ndarray], properties: dict, probabilities: bool = False
    ) -> np.ndarray:
        """Internal labels (0, 1 ED, 2 NCR, 3 ET), or with `probabilities` those of the network's outputs.

        Args:
            volumes: modality to image, three axes in the reader's order, as `read` gives them, background 0.
            properties: the reader's; its "spacing" (mm) is used, and what preprocessing notes is added.
            probabilities: whether to give float32 (outputs, three axes) instead, outputs being WT, TC, ET.
        """
        shape = next(iter(volumes.values())).shape
        full = np.zeros((len(self.modalities), *shape), np.float32)
        for name, volume in volumes.items():
            full[self.modalities.index(name)] = volume
        preprocessor = self.configuration.preprocessor_class(verbose=False)
        arrays, _, properties = preprocessor.run_case_npy(
            full, None, properties, self.plans, self.configuration, self.dataset_json
        )
        with redirect_stdout(None):
            logits = self.predictor.predict_logits_from_preprocessed_data(torch.from_numpy(arrays)).cpu()
            found = convert_predicted_logits_to_segmentation_with_correct_shape(
                logits,
                self.plans,
                self.configuration,
                self.labels,
                properties,
                return_probabilities=probabilities,
                num_threads_torch=torch.get_num_threads(),
            )
        return found[1].astype(np.float32, copy=False) if probabilities else found

    def write(self, images: dict[str, str | Path], out: Path, release: str | None) -> None:
        """Segment a case into a file, in native geometry.

        Args:
            images: as for `segment`.
            out: the file.
            release: release whose label values it uses; None for BraTS 1, 2, 4.

        Raises:
            UserError: a modality is missing, an image cannot be used, or the file cannot be written whole.
        """
        labels, properties = self.segment(images)
        self.write_labels(labels, properties, out, release)

    def write_labels(self, labels: np.ndarray, properties: dict, out: Path, release: str | None) -> None:
        """Write a segmentation of `segment` in native geometry; arguments and errors are those of `write`."""
        theirs = np.zeros(NUMBER_OF_LABELS, np.uint8)
        for ours, value in from_internal(release or "brats2021").items():
            theirs[ours] = value
        with atomic_path(out) as temporary:
            self.plans.image_reader_writer_class().write_seg(theirs[labels], str(temporary), properties)
            _require_whole(temporary, out)


def predict_cases(
    model: Path,
    fold: int,
    cases: pd.DataFrame,
    modalities: str,
    out: Path,
    device: torch.device,
    deterministic: bool = False,
) -> None:
    """Segment the cases into out/<case>.nii.gz; the folder appears only when all are done.

    An interrupted call leaves its cases beside it in `.<name>.partial`, and the next call goes on from there.

    Args:
        model: model folder.
        fold: whose weights.
        cases: rows of cases.csv.
        modalities: the subset that is shown to the network.
        out: the folder.
        device: where to run.
        deterministic: the same bits every time on a GPU too.

    Raises:
        UserError: the model is of another subset or was changed, or another process predicts into `out`.
    """
    predictor = Predictor(model, [fold], device)
    shown = parse_subset(modalities)
    if not predictor.any_subset and shown != predictor.modalities:
        raise UserError(f"{model}: is a model of {subset_name(predictor.modalities)}, not of {modalities}")
    manifest = read_manifest(model / f"fold_{fold}" / "manifest.json")
    made_for = {"model": manifest, "modalities": modalities, "cases": cases.astype(str).to_numpy().tolist()}
    lock = only_process(out, out.with_name(f".{out.name}.lock"), "predicted")
    # The predictor's constructor has chosen the fastest kernels.
    with lock, fix_arithmetic(device, deterministic), resumable_directory(out, made_for) as folder:
        for row in track(list(cases.itertuples()), "cases predicted"):
            segmentation = folder / f"{row.case}.nii.gz"
            if not segmentation.exists():
                predictor.write({name: getattr(row, name) for name in shown}, segmentation, row.release)


def cases_to_predict(cases: pd.DataFrame, cohort: str, fold: int) -> pd.DataFrame:
    """The cases on which a fold's network is scored.

    Of the training cohort: the held-out test cases and those that can only be predicted; where no test set was
    held out, the fold's own validation cases. Of an external cohort: all its cases.

    Args:
        cases: rows of cases.csv.
        cohort: name of the cohort.
        fold: the fold whose network is scored.

    Raises:
        UserError: there is no such cohort.
    """
    rows = cases[cases["cohort"] == cohort]
    if rows.empty:
        raise UserError(f"cases.csv has no cohort '{cohort}'")
    counted = rows[~left_out(rows)]
    return counted[(counted["split"] != "train") | (counted["fold"] == str(fold))]


def _require_whole(written: Path, out: Path) -> None:
    """Read a segmentation back: SimpleITK cuts it short on a full disk, and does not say so."""
    try:
        np.asarray(nib.load(written).dataobj)
    except (OSError, EOFError, ValueError, ImageFileError):
        raise UserError(
            f"{out}: could not be written whole: is the disk full? Free some space, then run the same command again"
        ) from None


def as_file(spec: str | Path, scratch: Path, name: str) -> str:
    """A file that nnU-Net's reader opens: the file itself, or one volume of a 4D file written out."""
    if "#" not in str(spec):
        return str(spec)
    path = scratch / f"{name}.nii.gz"
    nib.save(image_of(str(spec)), path)
    return str(path)


def _read(path: Path) -> dict:
    if not path.is_file():
        raise UserError(f"{path}: missing: is {path.parent} a model folder that finished training?")
    return json.loads(path.read_text(encoding="utf-8"))
