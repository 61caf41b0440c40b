"""The background of one sequence's image: found, set to 0 where it has another value, or refused.

nnU-Net takes the voxels that are not 0 for the brain, and normalises their intensities to mean 0 and standard
deviation 1. An image whose background has another value (because mean and standard deviation of the whole volume were
taken out before, for instance) is therefore normalised over brain and background. Subtracting that value from all
voxels gives the background 0, and leaves the normalised brain as it was, since z-scores do not depend on a shift.

Negative intensities in a brain with a background of 0 are sound. A brain voxel of exactly 0 does no harm either:
nnU-Net fills the holes of its mask.
"""

import numpy as np

from crossmodal.cohort.headers import DOWNLOAD_AGAIN, WRITE_AGAIN
from crossmodal.cohort.problems import BadFileError
from crossmodal.errors import UserError
from crossmodal.progress import say

LARGEST_INTENSITY = 1e9  # a damaged float can be this large, a scanner's value cannot
# A brain has 1.4 to 2.0 litres; a head that is not skull-stripped has much more, or fills the volume.
LARGEST_BRAIN_ML, LARGEST_BRAIN_SHARE = 2500, 0.75
# Of the largest intensity: a constant that was resampled in single precision differs by its rounding.
ROUNDING = 1e-6

STRIP = "strip the skull (with HD-BET, for instance) and set the background to 0"
NOT_ZERO = "has a constant background that is not 0", "nothing to do: it is subtracted for training and prediction"
NO_BACKGROUND = "has no background: the voxels in its corners differ", STRIP
HEAD = "has more than a brain beside its background (a skull, or a background of two values)", STRIP


def sound_image(volume: np.ndarray, voxel_ml: float, name: object) -> np.ndarray:
    """A sequence's image as training and prediction hand it to nnU-Net; what is odd about it is said on stderr.

    Args:
        volume: three axes, in any order.
        voxel_ml: volume of a voxel in ml.
        name: the file, for messages.

    Raises:
        UserError: see `remarks_on_background`.
    """
    try:
        remarks = remarks_on_background(volume, voxel_ml)
    except BadFileError as fault:
        raise UserError(f"{name}: {'; '.join(fault.args)}") from None
    for problem, remedy in remarks:
        say(f"warning: {name}: {problem}; {remedy}")
    return zero_background(volume)


def remarks_on_background(volume: np.ndarray, voxel_ml: float) -> list[tuple[str, str]]:
    """What is odd about an image's background, each with its remedy.

    Args:
        volume, voxel_ml: as for `sound_image`.

    Raises:
        BadFileError: voxels that are NaN, infinite or beyond any scanner's range, or the same value everywhere.
    """
    require_finite(volume)
    largest = _largest(volume)
    if largest > LARGEST_INTENSITY:
        raise BadFileError(f"has intensities up to {largest:.3g}, as damaged files have", DOWNLOAD_AGAIN)
    zeroed = zero_background(volume)
    brain = int(np.count_nonzero(zeroed))
    if brain == 0:
        raise BadFileError("has the same value everywhere", "export this sequence again")
    remarks = [] if zeroed is volume else [NOT_ZERO]
    if brain > LARGEST_BRAIN_SHARE * volume.size or brain * voxel_ml > LARGEST_BRAIN_ML:
        remarks.append(NO_BACKGROUND if _constant(volume) is None else HEAD)
    return remarks


def zero_background(volume: np.ndarray) -> np.ndarray:
    """The image less its background's value, as float32; `volume` itself if that value is 0, or there is none.

    The background is what has the value of all eight corners, which differ by rounding at most.

    Args:
        volume: three axes, in any order.
    """
    value = _constant(volume)
    if not value:
        return volume
    shifted = volume.astype(np.float32) - value
    shifted[np.abs(shifted) <= ROUNDING * _largest(volume)] = 0
    return shifted if np.count_nonzero(shifted) <= LARGEST_BRAIN_SHARE * volume.size else volume


def require_finite(volume: np.ndarray) -> None:
    """Raise a BadFileError if voxels are NaN or infinite."""
    if volume.dtype.kind == "f" and not np.isfinite(volume).all():
        count = int(volume.size - np.isfinite(volume).sum())
        what = f"has {count} voxels that are NaN or infinite"
        if not np.isfinite(_corners(volume)).all():
            what = f"has a background that is NaN or infinite ({count} voxels)"
        raise BadFileError(what, f"set them to 0, or {WRITE_AGAIN}")


def _constant(volume: np.ndarray) -> np.float32 | None:
    """The value of the eight corners; None if they differ."""
    corners = _corners(volume)
    if not corners.any():
        return np.float32(0)  # almost every image: no other voxel is looked at
    alike = np.ptp(corners) <= ROUNDING * _largest(volume)
    return corners[0, 0, 0] if alike else None


def _corners(volume: np.ndarray) -> np.ndarray:
    return volume[np.ix_((0, -1), (0, -1), (0, -1))].astype(np.float32)  # as nnU-Net's readers give it


def _largest(volume: np.ndarray) -> float:
    return max(-float(volume.min()), float(volume.max()))
