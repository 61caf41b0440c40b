"""Whatever was done to an image's intensities, nnU-Net is given the brain that it shows, or the image is named."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.cohort.background import HEAD, NO_BACKGROUND, NOT_ZERO, remarks_on_background, zero_background
from crossmodal.cohort.cases_csv import read_cases

VOXEL_ML = 0.216


@pytest.fixture(scope="module")
def flair(tiny_cases: Path) -> np.ndarray:
    """A phantom's FLAIR: int16, skull-stripped, 0 around the brain."""
    return np.asarray(nibabel.load(read_cases(tiny_cases)["flair"].iloc[0]).dataobj)


def whole_z_score(image: np.ndarray) -> np.ndarray:
    return (image - image.mean()) / image.std()


def brain_z_score(image: np.ndarray) -> np.ndarray:
    """Mean 0 and standard deviation 1 in the brain, 0 around it: what nnU-Net makes of a sound image."""
    brain = image != 0
    return np.where(brain, (image - image[brain].mean()) / image[brain].std(), 0)


def resampled(image: np.ndarray) -> np.ndarray:
    """A constant in single precision, after sums of weights that are 1 to within rounding."""
    noise = np.random.default_rng(0).uniform(1 - 1e-7, 1 + 1e-7, image.shape)
    return (whole_z_score(image) * noise).astype(np.float32)


def noise_around(image: np.ndarray) -> np.ndarray:
    return np.where(image == 0, np.random.default_rng(0).integers(1, 30, image.shape), image)


def padded(image: np.ndarray) -> np.ndarray:
    return np.pad(whole_z_score(image)[1:-1, 1:-1, 1:-1], 1)


def tissue_in_a_corner(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image[-1, 0, -1] = 300
    return image


def box(image: np.ndarray) -> np.ndarray:
    return image[tuple(slice(index.min(), index.max() + 1) for index in np.nonzero(image))]


SOUND = {
    "as it is": lambda image: image,
    "normalised within the brain": brain_z_score,
    "normalised and made single precision": lambda image: brain_z_score(image).astype(np.float32),
    "cropped to the brain": box,
    "with tissue in a corner": tissue_in_a_corner,
    "minus 0 around": lambda image: np.where(image == 0, -0.0, image),
}
SET_RIGHT = {
    "shifted": lambda image: image + np.int16(100),
    "unsigned": lambda image: (image + 1).astype(np.uint16),
    "normalised as a whole": whole_z_score,
    "in single precision": lambda image: whole_z_score(image).astype(np.float32),
    "then resampled": resampled,
    "to the range from -1 to 1": lambda image: 2 * image / image.max() - 1,
    "-1000 around, as in CT": lambda image: np.where(image == 0, np.int16(-1000), image),
    "below normalised brain": lambda image: np.where(image == 0, -9, brain_z_score(image)),
    "almost 0": lambda image: np.where(image == 0, 1e-9, image),
}
ODD = {
    "noise around": (noise_around, NO_BACKGROUND),
    "other values below and above": (
        lambda image: np.pad(whole_z_score(image), [(0, 0), (0, 0), (0, 1)]),
        NO_BACKGROUND,
    ),
    "two backgrounds": (padded, HEAD),
    "a head": (lambda image: noise_around(image) * (np.pad(image[1:-1, 1:-1, 1:-1] + 1, 1) > 0), HEAD),
}


@pytest.mark.parametrize("what", SOUND)
def test_a_sound_image_is_left_as_it_is(what: str, flair: np.ndarray) -> None:
    image = SOUND[what](flair)
    assert remarks_on_background(image, VOXEL_ML) == []
    assert zero_background(image) is image


@pytest.mark.parametrize("what", SET_RIGHT)
def test_a_constant_background_becomes_0_and_the_brain_stays(what: str, flair: np.ndarray) -> None:
    image = SET_RIGHT[what](flair)
    before = image.copy()
    assert remarks_on_background(image, VOXEL_ML) == [NOT_ZERO]
    found = zero_background(image)
    assert np.array_equal(found != 0, flair != 0)
    np.testing.assert_allclose(brain_z_score(found), brain_z_score(flair), atol=1e-3)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("what", ODD)
def test_what_cannot_be_set_right_is_left_and_said(what: str, flair: np.ndarray) -> None:
    change, remark = ODD[what]
    image = change(flair)
    assert remarks_on_background(image, VOXEL_ML) == [remark]
    assert zero_background(image) is image


@given(scale=st.floats(1e-4, 1e4), shift=st.floats(-10, 10), dtype=st.sampled_from([np.float32, np.float64]))
def test_no_linear_change_of_intensities_moves_the_brain(
    scale: float, shift: float, dtype: type, flair: np.ndarray
) -> None:
    image = (scale * (flair + shift * flair.max())).astype(dtype)
    as_read = zero_background(image).astype(np.float32)  # by nnU-Net: what is closer to 0 than 1e-45 is 0
    assert np.array_equal(as_read != 0, flair != 0)
