"""Reading the images that cases.csv names: a 3D file, or one channel of a 4D file.

MSD Task01 keeps a case's four modalities in one 4D file. Its cells are written `imagesTr/BRATS_001.nii.gz#2`; the
number after `#` is the channel, counted from 0. Any other name is a file's name as it is, even with a `#`.
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
    """A cell as (file, channel); the channel is None for a 3D file."""
    match = _CHANNEL.fullmatch(str(spec))
    if match is None:
        return Path(spec), None
    return Path(match["path"]), int(match["channel"])


def image_of(spec: str) -> "nibabel.Nifti1Image":
    """The 3D image that a cell of cases.csv names; its voxels are not read yet.

    Raises:
        UserError: the file cannot be read, or is not 3D after the channel is selected.
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
        raise UserError(f"{spec}: is {image.ndim}D where 3D is expected; run `crossmodal cohort check` on its cohort")
    return image


def load_volume(spec: str) -> "tuple[np.ndarray, np.ndarray]":
    """Voxels (x, y, z) in the file's own type and order, and the affine (4, 4) in mm, of a cell of cases.csv.

    Raises:
        UserError: see `image_of`.
    """
    import numpy as np

    image = image_of(spec)
    return np.asanyarray(image.dataobj), image.affine
