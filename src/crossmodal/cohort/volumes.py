"""Reading what a column of cases.csv points at: a 3D file, or one channel of a 4D file.

MSD Task01 keeps a case's four modalities in one 4D file; its columns read `imagesTr/BRATS_001.nii.gz#2`,
the number after `#` being the channel, counted from 0. Every other file name stands as it is, `#` included.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.errors import UserError

if TYPE_CHECKING:
    import nibabel
    import numpy as np

_CHANNEL = re.compile(r"(?P<path>.+\.nii(?:\.gz)?)#(?P<channel>\d+)", re.IGNORECASE | re.DOTALL)


def split_spec(spec: str) -> tuple[Path, int | None]:
    """A column's value as (file, channel); the channel is None for a file that is 3D by itself."""
    match = _CHANNEL.fullmatch(str(spec))
    if match is None:
        return Path(spec), None
    return Path(match["path"]), int(match["channel"])


def image_of(spec: str) -> "nibabel.Nifti1Image":
    """The 3D image behind a column of cases.csv, its voxels still unread.

    Raises:
        UserError: the file cannot be read, or is not 3D once the channel is taken.
    """
    import nibabel

    path, channel = split_spec(spec)
    try:
        image = nibabel.load(path)
        if channel is not None:
            image = image.slicer[..., channel]
    except (OSError, ValueError, IndexError, nibabel.filebasedimages.ImageFileError) as fault:
        raise UserError(f"{spec}: cannot be read ({fault}); run `crossmodal cohort check` on its cohort") from None
    if image.ndim != 3:
        raise UserError(f"{spec}: is {image.ndim}D where 3D is due; run `crossmodal cohort check` on its cohort")
    return image


def load_volume(spec: str) -> "tuple[np.ndarray, np.ndarray]":
    """Voxels (x, y, z) in the file's own type and order, and the 4×4 affine in mm, of a column of cases.csv."""
    import numpy as np

    image = image_of(spec)
    return np.asanyarray(image.dataobj), image.affine
