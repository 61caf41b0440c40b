"""What is wrong with a patient's images: what stops their segmentation, and what deserves a warning."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from pathlib import Path

import nibabel
import numpy as np

from crossmodal.cohort.background import NOT_ZERO, STRIP, remarks_on_background, zero_background
from crossmodal.cohort.headers import GEOMETRY_TOLERANCE, Header, read_header
from crossmodal.cohort.problems import BadFileError
from crossmodal.cohort.volumes import split_spec
from crossmodal.domain import MODALITY_LABELS
from crossmodal.errors import UserError
from crossmodal.predict.sequences import coarsened, doubt
from crossmodal.predict.skull import has_skull

SMALLEST_BRAIN_ML = 600  # a grown-up's brain has 1.0 to 2.0 litres
OBLIQUE_DEGREES = 20
LARGEST_TUMOUR = 0.35  # of the brain: 250 ml, the largest in BraTS, are less than a fifth
COARSER = 1.5  # times the side of the training voxels
SAME_BRAIN = 0.8  # Dice of two sequences' brains
DICOM_MARK = 128, b"DICM"  # where it stands in a file, and what
LOOKED_AT = 20  # files of a folder that are opened to see whether it holds DICOM
CONVERT = "convert the series with dcm2niix (dcm2niix -z y -o OUT FOLDER) and give its .nii.gz"


@dataclass
class Images:
    """A patient's images whose headers are sound.

    Args:
        files: modality to file, or `file#channel`, in the fixed order.
        headers: modality to header.
        warnings: what was found so far, each naming file and remedy.
        off_grid: modalities that are on another grid than the first one.
    """

    files: dict[str, str]
    headers: dict[str, Header]
    warnings: list[str] = field(default_factory=list)
    off_grid: list[str] = field(default_factory=list)

    @property
    def first(self) -> str:
        """The modality on whose grid the segmentation is written."""
        return next(iter(self.files))

    @property
    def axes(self) -> str:
        """The axes of the first image as they are stored, such as LPS."""
        return "".join(nibabel.aff2axcodes(self.headers[self.first].affine))


def check_headers(files: Mapping[str, str | Path], resample: bool) -> Images:
    """Look at everything that can be known without reading voxels.

    Args:
        files: modality to file, or `file#channel`, in the fixed order; at least one.
        resample: whether images on other grids than the first one's are accepted.

    Raises:
        UserError: a file is missing, is no NIfTI image or not 3D; or two images are on different grids.
    """
    images = Images({name: str(spec) for name, spec in files.items()}, {})
    for name, spec in images.files.items():
        path, channel = split_spec(spec)
        _require_file(path)
        try:
            header = read_header(path)
        except BadFileError as fault:
            raise UserError(f"{path}: {'; '.join(fault.args)}") from None
        if len(header.shape) != (3 if channel is None else 4):
            raise UserError(
                f"{path}: is {len(header.shape)}D ({_times(header.shape)}) where 3D is expected; split it into 3D files"
            )
        images.headers[name] = header
        images.warnings += [f"{path}: {problem}; {remedy}" for problem, remedy in header.remarks]
    _require_different_files(images.files)
    _compare_grids(images, resample)
    tilt = _degrees_from_axes(images.headers[images.first].affine)
    if tilt > OBLIQUE_DEGREES:
        images.warnings.append(
            f"{images.files[images.first]}: its axes are {tilt:.0f}° away from the body's; resample it to axial slices "
            "(registration to an atlas does that)"
        )
    return images


def check_voxels(images: Images, volumes: Mapping[str, np.ndarray], spacing: Iterable[float]) -> dict[str, np.ndarray]:
    """The volumes with a background of 0; what is odd about them is added to `images.warnings`.

    Args:
        images: their files.
        volumes: modality to image, three axes in the reader's order, all of one shape.
        spacing: mm along each of these axes.

    Raises:
        UserError: voxels that are not finite, an image that is the same everywhere, or two that are the same image.
    """
    spacing = tuple(float(side) for side in spacing)
    voxel_ml = float(np.prod(spacing)) / 1000
    sound, coarse = {}, {}
    for name, volume in volumes.items():
        file = images.files[name]
        try:
            remarks = remarks_on_background(volume, voxel_ml)
        except BadFileError as fault:
            raise UserError(f"{file}: {'; '.join(fault.args)}") from None
        images.warnings += [f"{file}: {problem}; {remedy}" for problem, remedy in remarks]
        sound[name] = zero_background(volume)
        coarse[name] = coarsened(sound[name], spacing)
        if remarks in ([], [NOT_ZERO]) and has_skull(*coarse[name]):
            images.warnings.append(f"{file}: has a dark layer below its rim, as bone is; {STRIP}")
        brain_ml = np.count_nonzero(sound[name]) * voxel_ml
        if brain_ml < SMALLEST_BRAIN_ML:
            images.warnings.append(
                f"{file}: only {brain_ml:.0f} ml are not 0, where a brain has 1000 to 2000; check that it is whole, "
                "and its voxel sizes"
            )
    for one, other in combinations(sound, 2):
        if np.array_equal(sound[one], sound[other]):
            raise UserError(
                f"{images.files[other]}: is the same image as {images.files[one]}; give each sequence its own"
            )
    _compare_brains(images, {name: image != 0 for name, (image, _) in coarse.items()})
    found = doubt(coarse)
    if found:
        images.warnings.append(
            f"{found.said(images.files)}, by the contrasts of its tissues; look at the images and give each under its "
            "own name (this check is wrong in up to one of a hundred patients)"
        )
    return sound


def check_spacing(images: Images, trained_mm: Iterable[float]) -> None:
    """Warn of slices or voxels that are much larger than those of the training images.

    Args:
        images: the patient's.
        trained_mm: the voxel sides at which the network works, and the median ones of its training images.
    """
    sides = np.linalg.norm(images.headers[images.first].affine[:3, :3], axis=0)
    largest = max(trained_mm)
    if sides.max() > COARSER * largest:
        size = " × ".join(f"{side:g}" for side in sides.round(2))
        images.warnings.append(
            f"{images.files[images.first]}: has voxels of {size} mm, where "
            f"the network was trained on at most {largest:g} mm; expect a worse segmentation, or give a finer scan"
        )


def check_tumour(images: Images, tumour_ml: float, brain_ml: float) -> None:
    """Warn of a segmentation that is empty, or larger than tumours are.

    Args:
        images: the patient's.
        tumour_ml, brain_ml: volumes of the segmented whole tumour and of the brain.
    """
    file = images.files[images.first]
    if not tumour_ml:
        images.warnings.append(f"{file}: no tumour was found; look at the images")
    elif tumour_ml > LARGEST_TUMOUR * brain_ml:
        share = f"{tumour_ml / brain_ml:.0%}"
        images.warnings.append(
            f"{file}: what is segmented as tumour has {share} of the brain's volume; look at the picture (--picture), "
            "and whether these images are as the network's training images are"
        )


def check_axes(images: Images, trained: str | None) -> bool:
    """Whether the images must be turned for the network; what is unclear is added to the warnings.

    Args:
        images: the patient's.
        trained: axes of the training images, such as LPS; None where they are not known.
    """
    file = images.files[images.first]
    if trained is None:
        if images.axes != "LPS":
            images.warnings.append(
                f"{file}: is stored as {images.axes}, and how the network's training images were stored is not known; "
                "if they were not, reorient it to theirs (BraTS: LPS)"
            )
        return False
    return images.axes != trained


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM."""
    start, mark = DICOM_MARK
    try:
        with path.open("rb") as stream:
            return stream.read(start + len(mark))[start:] == mark
    except OSError:
        return False


def dicom_in(folder: Path) -> bool:
    """Whether a folder, or a folder in it, holds DICOM files; a few files are opened."""
    try:
        files = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
        deeper = [entry for place in files if place.is_dir() for entry in sorted(place.iterdir())]
    except OSError:
        return False
    return any(is_dicom(path) for path in [*files, *deeper][:LOOKED_AT] if path.is_file())


def _require_file(path: Path) -> None:
    if path.is_dir() and dicom_in(path):
        raise UserError(f"{path}: is a folder of DICOM files; {CONVERT}")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the image's file, or --patients for a folder of patients")
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if is_dicom(path):
        raise UserError(f"{path}: is DICOM, not NIfTI; {CONVERT}")
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise UserError(f"{path}: is not a NIfTI file by its name (.nii or .nii.gz); convert it, or rename it")


def _require_different_files(files: Mapping[str, str]) -> None:
    first: dict[str, str] = {}
    for name, spec in files.items():
        path, channel = split_spec(spec)
        twin = first.setdefault(f"{path.resolve()}#{channel}", name)
        if twin != name:
            raise UserError(
                f"{spec}: is given as {MODALITY_LABELS[twin]} and as {MODALITY_LABELS[name]}; give each its own"
            )


def _compare_grids(images: Images, resample: bool) -> None:
    reference = images.headers[images.first]
    for name, header in images.headers.items():
        same_shape = header.shape[:3] == reference.shape[:3]
        if same_shape and np.allclose(header.affine, reference.affine, rtol=1e-5, atol=GEOMETRY_TOLERANCE):
            continue
        what = (
            "has the same number of voxels, shifted or turned"
            if same_shape
            else f"{_times(header.shape[:3])} where that has {_times(reference.shape[:3])}"
        )
        if not resample:
            raise UserError(
                f"{images.files[name]}: is on another grid than {images.files[images.first]} ({what}); register all "
                "sequences to one, or, if they lie in one space already, add --resample"
            )
        images.off_grid.append(name)
        images.warnings.append(
            f"{images.files[name]}: was resampled to the grid of {images.files[images.first]} ({what}); check in a "
            "viewer that both show the same anatomy in the same place"
        )


def _compare_brains(images: Images, brains: Mapping[str, np.ndarray]) -> None:
    for one, other in pairwise(brains):
        both = np.count_nonzero(brains[one] & brains[other])
        total = np.count_nonzero(brains[one]) + np.count_nonzero(brains[other])
        if total and 2 * both / total < SAME_BRAIN:
            dice = f"{2 * both / total:.2f}"
            images.warnings.append(
                f"{images.files[other]}: its brain overlaps that of {images.files[one]} by a Dice of {dice} only; "
                "check that both are registered and skull-stripped alike"
            )


def _degrees_from_axes(affine: np.ndarray) -> float:
    """The largest angle between an axis of the voxels and the axis of the body that is nearest to it."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0), 0, 1))).max())


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
