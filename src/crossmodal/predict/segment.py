"""One patient's segmentation: checked, segmented and written with all that comes with it."""

import hashlib
import tempfile
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

from crossmodal.cohort.volumes import split_spec
from crossmodal.domain import MODALITIES, from_internal, regions_of, subset_name
from crossmodal.files import write_json
from crossmodal.nnunet.predict import Predictor, as_file
from crossmodal.predict import checks, output
from crossmodal.predict.choose import Choice, Networks
from crossmodal.predict.find import UNTIL_2021
from crossmodal.progress import say


@dataclass(frozen=True)
class Wanted:
    """What is written, and how.

    Args:
        release: whose label values the segmentation uses; None for BraTS 1, 2, 4.
        resample: whether images on other grids are resampled to the first one's, rather than refused.
        probabilities: whether those of WT, TC, ET are written too.
        picture: whether a PNG is written.
    """

    release: str | None = None
    resample: bool = False
    probabilities: bool = False
    picture: bool = False


@dataclass
class Segmenter:
    """Networks, each loaded once, that segment patients.

    Args:
        networks: which network serves which sequences.
        device: where they run.
        wanted: what is written.
    """

    networks: Networks
    device: torch.device
    wanted: Wanted = field(default_factory=Wanted)

    def __post_init__(self) -> None:
        from_internal(self.wanted.release or UNTIL_2021)  # an unknown release is refused before any work
        self._axes = self.networks.axes
        self._loaded: dict[tuple, list[Predictor]] = {}

    def predictors(self, choice: Choice) -> list[Predictor]:
        """The networks of a choice."""
        key = choice.folders, choice.folds
        if key not in self._loaded:
            folds = None if choice.folds is None else list(choice.folds)
            self._loaded[key] = [Predictor(folder, folds, self.device) for folder in choice.folders]
        return self._loaded[key]

    def identity(self, choice: Choice) -> list[str]:
        """The hashes of the weights of a choice's networks."""
        return [weights for predictor in self.predictors(choice) for weights in predictor.weights_sha256]

    def segment(self, files: dict[str, str | Path], out: Path, name: str = "") -> dict[str, Any]:
        """Segment one patient into `out`; returns the record that is written beside it as JSON, last of all.

        Args:
            files: modality to file, or `file#channel`.
            out: the segmentation, .nii.gz or .nii.
            name: of the patient, for the record and the picture; by default the name of `out`.

        Raises:
            UserError: no network takes these sequences, or an image cannot be used; it names file and remedy.
        """
        files = {name: str(files[name]) for name in MODALITIES if name in files}
        choice = self.networks.choose(subset_name(tuple(files)))
        images = checks.check_headers(
            {one: files[one] for one in choice.modalities if one in files}, self.wanted.resample
        )
        predictors = self.predictors(choice)
        with tempfile.TemporaryDirectory() as scratch:
            read = {one: _resampled(images, one, Path(scratch)) for one in images.files}
            volumes, properties = predictors[0].read(read)
        sound = checks.check_voxels(images, volumes, properties["spacing"])
        plans = predictors[0].plans.plans
        checks.check_spacing(
            images, [*predictors[0].configuration.spacing, *plans["original_median_spacing_after_transp"]]
        )
        turns = self._turns(images)
        labels, probabilities = self._labels(predictors, sound, properties, turns)
        predictors[0].write_labels(labels, properties, out, self.wanted.release)
        volumes_ml = output.volumes_ml(labels, properties["spacing"])
        voxel_ml = float(np.prod(properties["spacing"])) / 1000
        brain_ml = max(np.count_nonzero(volume) for volume in sound.values()) * voxel_ml
        checks.check_tumour(images, volumes_ml["WT"], brain_ml)
        if probabilities is not None:
            reader = predictors[0].plans.image_reader_writer_class()
            output.write_probabilities(probabilities, properties, reader, output.beside(out, "_probabilities.nii.gz"))
        if self.wanted.picture:
            shown = output.title_of(name or output.stem_of(out), volumes_ml)
            output.draw(out, self._regions, images.files, shown, output.beside(out, ".png"))
        record = {
            "case": name or output.stem_of(out),
            "segmentation": out.name,
            "labels": {region: list(values) for region, values in self._regions.items()},
            "volumes_ml": volumes_ml,
            "sequences": images.files,
            "sequences_not_used": [one for one in files if one not in images.files],
            "model": {
                "method": choice.method,
                "trained_on": subset_name(choice.modalities),
                "folders": [str(folder) for folder in choice.folders],
                "folds": [predictor.folds for predictor in predictors],
                "weights_sha256": self.identity(choice),
                "why": choice.why,
            },
            "warnings": images.warnings,
            "made_from": self.made_from(files, choice),
            "version": version("crossmodal"),
            "notice": output.NOTICE,
        }
        write_json(output.beside(out, ".json"), record)
        return record

    @property
    def _regions(self) -> dict[str, tuple[int, ...]]:
        return regions_of(self.wanted.release or UNTIL_2021)

    def made_from(self, files: dict[str, str | Path], choice: Choice) -> str:
        """A hash of all that a segmentation depends on: images, weights, options, version."""
        digest = hashlib.sha256(repr((self.wanted, self.identity(choice), version("crossmodal"))).encode())
        for name in MODALITIES:
            if name in files:
                path, channel = split_spec(str(files[name]))
                digest.update(f"{name} {channel} {_sha256(path, path.stat().st_mtime_ns)}".encode())
        return digest.hexdigest()

    def _turns(self, images: checks.Images) -> tuple[np.ndarray, np.ndarray] | None:
        """How the stored axes become those of the training images and back, for `_turned`; None if equal."""
        if not checks.check_axes(images, self._axes):
            return None
        images.warnings.append(
            f"{images.files[images.first]}: is stored as {images.axes} and was turned to {self._axes}, as the "
            "network's training images are, and its segmentation back; nothing to do if the header is right"
        )
        stored, trained = (axcodes2ornt(tuple(axes)) for axes in (images.axes, self._axes))
        return ornt_transform(stored, trained), ornt_transform(trained, stored)

    def _labels(
        self,
        predictors: list[Predictor],
        volumes: dict[str, np.ndarray],
        properties: dict,
        turns: tuple[np.ndarray, np.ndarray] | None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Internal labels, and probabilities where they are wanted or several networks are averaged."""
        given = dict(properties)
        if turns:
            volumes = {name: _turned(volume, turns[0]) for name, volume in volumes.items()}
            order = np.argsort(turns[0][:, 0])  # the stored axis (x, y, z) that comes to each place
            given["spacing"] = [properties["spacing"][::-1][axis] for axis in order][::-1]
        averaged = len(predictors) > 1 or self.wanted.probabilities
        found = [one.segment_volumes(volumes, dict(given), probabilities=averaged) for one in predictors]
        if not averaged:
            return (_turned(found[0], turns[1]) if turns else found[0]), None
        probabilities = np.mean(found, axis=0, dtype=np.float32)
        labels = np.asarray(predictors[0].labels.convert_probabilities_to_segmentation(probabilities))
        if turns:
            labels = _turned(labels, turns[1])
            probabilities = np.stack([_turned(one, turns[1]) for one in probabilities])
        return labels, probabilities if self.wanted.probabilities else None


def show_warnings(record: dict[str, Any]) -> None:
    """The warnings of a record, one a line, on stderr."""
    for warning in record["warnings"]:
        say(f"warning: {warning}")


def _resampled(images: checks.Images, name: str, scratch: Path) -> str:
    """The image's file; or one with it resampled linearly to the first image's grid, where it is on another."""
    if name not in images.off_grid:
        return images.files[name]
    import SimpleITK as sitk  # noqa: N813 - as all who use it call it

    fixed, moving = (sitk.ReadImage(as_file(images.files[one], scratch, one)) for one in (images.first, name))
    outside = float(moving[0, 0, 0])
    moved = sitk.Resample(sitk.Cast(moving, sitk.sitkFloat32), fixed, sitk.Transform(), sitk.sitkLinear, outside)
    path = scratch / f"{name}_resampled.nii.gz"
    sitk.WriteImage(moved, str(path))
    return str(path)


def _turned(volume: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """A volume in the reader's order (z, y, x) with its axes exchanged and flipped by a transform of x, y, z."""
    return np.ascontiguousarray(apply_orientation(volume.transpose(2, 1, 0), transform).transpose(2, 1, 0))


@cache
def _sha256(path: Path, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
