"""What the header check accepts, SimpleITK reads; a shear that SimpleITK refuses is refused before."""

from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from crossmodal.cohort.headers import read_header
from crossmodal.cohort.problems import BadFileError

SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)


def write(path: Path, shears, angles=(0, 0, 0), spacing=(1, 1, 1), with_qform: bool = False) -> Path:
    affine = np.eye(4)
    leaning = np.eye(3)
    leaning[[0, 0, 1], [1, 2, 2]] = shears
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ leaning @ np.diag(spacing)
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), affine)
    if with_qform:
        image.set_qform(affine, 1)
    nibabel.save(image, path)
    return path


def works(read, path: Path) -> bool:
    try:
        read(path)
    except (BadFileError, RuntimeError):
        return False
    return True


accepted, readable = partial(works, read_header), partial(works, SimpleITK.ReadImage)


@pytest.mark.parametrize(
    ("shear", "fine"), [(0, True), (1e-6, True), (1e-5, True), (9e-5, True), (1.01e-4, False), (1e-3, False)]
)
def test_a_shear_is_refused_where_simpleitk_refuses_it(shear, fine, tmp_path):
    path = write(tmp_path / "image.nii", (shear, 0, 0))
    assert (accepted(path), readable(path)) == (fine, fine)


def test_with_a_qform_simpleitk_reads_a_small_shear(tmp_path):
    path = write(tmp_path / "image.nii", (5e-4, 0, 0), with_qform=True)
    assert accepted(path)
    assert readable(path)
    assert not accepted(write(tmp_path / "image.nii", (2e-3, 0, 0), with_qform=True))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    shears=st.tuples(*[st.floats(-2e-4, 2e-4)] * 3),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    with_qform=st.booleans(),
)
def test_what_is_accepted_simpleitk_reads(shears, angles, spacing, with_qform, tmp_path_factory):
    path = write(tmp_path_factory.getbasetemp() / "any.nii", shears, angles, spacing, with_qform)
    assert readable(path) or not accepted(path)
