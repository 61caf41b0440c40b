"""What a patient's images can have wrong with them: refused or warned of, each with its file and a remedy."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crossmodal.cohort.headers import Header
from crossmodal.domain import MODALITIES
from crossmodal.errors import UserError
from crossmodal.predict.checks import Images, check_axes, check_headers, check_spacing, check_tumour
from crossmodal.predict.choose import Networks
from crossmodal.predict.segment import Segmenter, Wanted
from crossmodal.predict.sequences import Doubt, coarsened, contrasts, doubt
from crossmodal.predict.skull import darkest_layer, has_skull

CPU = torch.device("cpu")
Files = dict[str, Path]


def changed(path: Path, out: Path, change: Callable[[np.ndarray], np.ndarray] = lambda v: v, affine=None) -> Path:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine if affine is None else affine), out)
    return out


def shifted(path: Path, out: Path) -> Path:
    affine = nib.load(path).affine.copy()
    affine[0, 3] += 5
    return changed(path, out, affine=affine)


def dicom(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + bytes(400))
    return path


def text(path: Path) -> Path:
    path.write_text("t1ce")
    return path


REFUSED = {
    "missing": (lambda p, d: {"t1": d / "t1.nii"}, "t1.nii: no such file"),
    "a text": (lambda p, d: {"t1": text(d / "t1.nii")}, "t1.nii: is not a NIfTI file.*write the file again"),
    "another ending": (lambda p, d: {"t1": text(d / "t1.mha")}, "t1.mha: is not a NIfTI file by its name"),
    "a DICOM file": (lambda p, d: {"t1": dicom(d / "IM0001")}, "IM0001: is DICOM, not NIfTI; convert .*dcm2niix -z y"),
    "DICOM by the name of NIfTI": (lambda p, d: {"t1": dicom(d / "t1.nii")}, "t1.nii: is DICOM.*dcm2niix"),
    "a folder of DICOM": (
        lambda p, d: {"t1": dicom(d / "s" / "1.dcm").parent},
        "is a folder of DICOM files; .*dcm2niix",
    ),
    "a folder": (lambda p, d: {"t1": d}, "is a folder; give the image's file, or --patients"),
    "4D": (
        lambda p, d: {"t1": changed(p["t1"], d / "t1.nii", lambda v: np.stack([v] * 2, -1))},
        r"is 4D \(80×80×52×2\) where 3D is expected; split it",
    ),
    "one file twice": (lambda p, d: {"t1": p["t1"], "t2": p["t1"]}, "is given as T1 and as T2; give each its own"),
    "another shape": (
        lambda p, d: {"t1": p["t1"], "t2": changed(p["t2"], d / "t2.nii", lambda v: v[:, :, :-4])},
        r"t2.nii: is on another grid than .*_t1.nii \(80×80×48 where that has 80×80×52\); register .* --resample",
    ),
    "another place": (
        lambda p, d: {"t1": p["t1"], "t2": shifted(p["t2"], d / "t2.nii")},
        r"t2.nii: is on another grid than .*_t1.nii \(has the same number of voxels, shifted or turned\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_voxel_is_read(case: str, patient: Files, tmp_path: Path) -> None:
    files, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        check_headers(files(patient, tmp_path), resample=False)


@pytest.fixture(scope="module")
def segmenter(any_subset: Path) -> Segmenter:
    return Segmenter(Networks(None, shipped=any_subset), CPU, Wanted(resample=True))


def skulled(volume: np.ndarray) -> np.ndarray:
    """Bone of 6 mm and a scalp of 6 mm around a brain."""
    brain = ndimage.binary_closing(volume != 0, iterations=4)
    away = ndimage.distance_transform_edt(~brain)
    inner = np.median(volume[volume != 0])
    scalp = np.where((away > 0) & (away <= 2), 0.1 * inner, np.where((away > 2) & (away <= 4), 1.4 * inner, 0))
    return np.where(volume != 0, volume, scalp).astype(np.float32)


WARNED = {
    "nothing": (lambda p, d: {"t1ce": p["t1ce"], "flair": p["flair"]}, None),
    "exchanged": (
        lambda p, d: {"t1ce": p["flair"], "flair": p["t1ce"]},
        "_flair.nii, given as T1ce, looks like FLAIR and .*_t1ce.nii, given as FLAIR, looks like T1ce, by the",
    ),
    "one wrong": (lambda p, d: {"flair": p["t2"]}, "_t2.nii, given as FLAIR, looks like T2"),
    "background": (
        lambda p, d: {"t2": changed(p["t2"], d / "t2.nii", lambda v: v.astype(np.float32) - 7)},
        "t2.nii: has a constant background that is not 0; nothing to do",
    ),
    "skull": (
        lambda p, d: {"t1": changed(p["t1"], d / "t1.nii", skulled)},
        "t1.nii: has a dark layer .*strip the skull",
    ),
    "no background": (
        lambda p, d: {
            "t1": changed(
                p["t1"], d / "t1.nii", lambda v: v + np.random.default_rng(0).integers(1, 9, v.shape, np.int16)
            )
        },
        "t1.nii: has no background.*strip the skull",
    ),
    "half a brain": (
        lambda p, d: {"t2": changed(p["t2"], d / "t2.nii", lambda v: np.where(np.arange(52) < 12, v, 0))},
        r"t2.nii: only \d+ ml are not 0",
    ),
    "not registered": (
        lambda p, d: {"t1": p["t1"], "t2": changed(p["t2"], d / "t2.nii", lambda v: np.roll(v, 14, 1))},
        r"t2.nii: its brain overlaps that of .*_t1.nii by a Dice of 0\.\d\d only; check that both are registered",
    ),
    "resampled": (
        lambda p, d: {"t1": p["t1"], "t2": changed(p["t2"], d / "t2.nii", lambda v: v[:, :, :-4])},
        "t2.nii: was resampled to the grid of .*_t1.nii .*check in a viewer",
    ),
}


@pytest.mark.parametrize("case", WARNED)
def test_warned_of_and_segmented(case: str, segmenter: Segmenter, patient: Files, tmp_path: Path) -> None:
    files, message = WARNED[case]
    record = segmenter.segment(files(patient, tmp_path), tmp_path / "seg.nii.gz")
    warnings = [warning for warning in record["warnings"] if "tumour" not in warning]  # the network has learnt nothing
    if message is None:
        assert warnings == []
    else:
        assert any(re.search(message, warning) for warning in warnings), warnings
    assert nib.load(tmp_path / "seg.nii.gz").shape == (80, 80, 52)


def test_one_image_twice_under_two_names_is_refused(segmenter: Segmenter, patient: Files, tmp_path: Path) -> None:
    copy = changed(patient["t1"], tmp_path / "t1ce.nii")
    with pytest.raises(UserError, match=r"t1ce.nii: is the same image as .*_t1.nii; give each sequence its own"):
        segmenter.segment({"t1": patient["t1"], "t1ce": copy}, tmp_path / "seg.nii.gz")


def test_an_image_resampled_from_a_finer_grid_is_where_it_was(
    segmenter: Segmenter, patient: Files, tmp_path: Path
) -> None:
    """Voxels of 1.5 mm that repeat those of 3 mm: linear resampling to 3 mm gives the original back."""
    image = nib.load(patient["t2"])
    fine = np.asarray(image.dataobj).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = image.affine @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] -= image.affine[:3, :3] @ np.full(3, 0.25)
    nib.save(nib.Nifti1Image(fine, affine), tmp_path / "t2.nii")
    expected = segmenter.segment({"t1": patient["t1"], "t2": patient["t2"]}, tmp_path / "expected.nii.gz")
    found = segmenter.segment({"t1": patient["t1"], "t2": tmp_path / "t2.nii"}, tmp_path / "found.nii.gz")
    one, two = (np.asarray(nib.load(tmp_path / f"{name}.nii.gz").dataobj) for name in ("expected", "found"))
    assert np.mean(one != two) < 1e-3 and expected["volumes_ml"] == pytest.approx(found["volumes_ml"], rel=1e-2)


def images(affine: np.ndarray, path: str = "t1.nii") -> Images:
    return Images({"t1": path}, {"t1": Header((80, 80, 52), np.dtype("<i2"), affine, 352, 1.0, 0.0)})


@pytest.mark.parametrize(("slice_mm", "warned"), [(1.0, False), (3.0, False), (6.5, True)])
def test_thick_slices_are_warned_of(slice_mm: float, warned: bool) -> None:
    found = images(np.diag([-1.0, -1, slice_mm, 1]))
    check_spacing(found, [3.0, 3, 3])
    assert [warning for warning in found.warnings if "trained on at most 3 mm" in warning] == found.warnings
    assert bool(found.warnings) == warned


def test_axes_are_warned_of_where_those_of_training_are_unknown() -> None:
    lps, ras = images(np.diag([-1.0, -1, 1, 1])), images(np.diag([1.0, 1, 1, 1]))
    assert (check_axes(lps, "LPS"), check_axes(ras, "LPS"), check_axes(ras, None)) == (False, True, False)
    assert lps.warnings == [] and "t1.nii: is stored as RAS" in ras.warnings[0]


def test_oblique_slices_are_warned_of(patient: Files, tmp_path: Path) -> None:
    turn, radians = np.eye(4), np.deg2rad(30)
    turn[1:3, 1:3] = [[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]]
    path = changed(patient["t1"], tmp_path / "t1.nii", affine=turn @ nib.load(patient["t1"]).affine)
    assert any("30° away from the body's" in one for one in check_headers({"t1": path}, False).warnings)


def test_no_tumour_and_more_tumour_than_there_can_be_are_warned_of() -> None:
    found = images(np.eye(4))
    for tumour_ml in (0, 200, 900):
        check_tumour(found, tumour_ml, 1500)
    assert len(found.warnings) == 2 and "no tumour" in found.warnings[0] and "60%" in found.warnings[1]


def volumes(patient: Files) -> dict[str, np.ndarray]:
    return {name: np.asarray(nib.load(patient[name]).dataobj, np.float32) for name in MODALITIES}


def doubted(images: dict[str, np.ndarray]) -> Doubt | None:
    return doubt({name: coarsened(image, (3, 3, 3)) for name, image in images.items()})


@settings(max_examples=8)
@given(scale=st.floats(0.01, 1000), names=st.sets(st.sampled_from(MODALITIES), min_size=1))
def test_right_names_are_not_doubted_whatever_the_unit(scale: float, names: set[str], patient: Files) -> None:
    assert doubted({name: scale * volume for name, volume in volumes(patient).items() if name in names}) is None


@pytest.mark.parametrize(
    ("one", "other"), [("t1", "t2"), ("t1", "flair"), ("t1ce", "t2"), ("t1ce", "flair"), ("t2", "flair")]
)
def test_exchanged_names_are_doubted_and_named(one: str, other: str, patient: Files) -> None:
    loaded = volumes(patient)
    found = doubted({one: loaded[other], other: loaded[one]})
    assert found is not None and found.better == {one: other, other: one} and found.odds > 3


def test_the_contrasts_do_not_depend_on_the_order_of_axes(patient: Files) -> None:
    volume = volumes(patient)["flair"]
    expected = contrasts(*coarsened(volume, (3, 3, 3)))
    found = contrasts(*coarsened(volume.transpose(2, 0, 1)[::-1], (3, 3, 3)))
    np.testing.assert_allclose(found, expected, atol=0.03)  # equal depths are ordered as they are stored


def test_a_skull_is_seen_and_a_brain_has_none(patient: Files) -> None:
    for volume in volumes(patient).values():
        assert not has_skull(*coarsened(volume, (3, 3, 3))) and has_skull(*coarsened(skulled(volume), (3, 3, 3)))
    assert darkest_layer(np.ones((5, 5, 5)), [3, 3, 3]) == 1.0


def test_an_unreadable_file_is_refused(patient: Files, tmp_path: Path) -> None:
    path = changed(patient["t1"], tmp_path / "t1.nii")
    os.truncate(path, 5000)
    with pytest.raises(UserError, match=r"t1.nii: is truncated .*download or copy"):
        check_headers({"t1": path}, False)
