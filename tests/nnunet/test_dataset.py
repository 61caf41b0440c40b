"""The raw dataset: links to the cohort's files, and copies of those whose background is not 0."""

from collections.abc import Callable
from pathlib import Path

import blosc2
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from crossmodal.cohort.background import zero_background
from crossmodal.cohort.cases_csv import read_cases
from crossmodal.domain import MODALITIES
from crossmodal.errors import UserError
from crossmodal.nnunet.dataset import NAME, build
from tests.conftest import tiny_budget


def whole_z_score(source: Path, out: Path) -> None:
    image = nib.load(source)
    voxels = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image((voxels - voxels.mean()) / voxels.std(), image.affine), out)


def shifted_by_its_header(source: Path, out: Path) -> None:
    """The same stored numbers, which stand for others: a quarter, less 31.5."""
    content = source.read_bytes()
    out.write_bytes(content[:112] + np.array([0.25, -31.5], "<f4").tobytes() + content[120:])


def nan_around(source: Path, out: Path) -> None:
    image = nib.load(source)
    voxels = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(np.where(voxels == 0, np.nan, voxels), image.affine), out)


def with_changed(cases: pd.DataFrame, modality: str, change: Callable[[Path, Path], None], folder: Path) -> str:
    """Point the first case's modality to a changed copy of its file, and return that."""
    row = cases.index[0]
    copy = folder / f"{modality}.nii"
    change(Path(cases.loc[row, modality]), copy)
    cases.loc[row, modality] = str(copy)
    return str(copy)


@pytest.fixture
def cases(tiny_cases: Path) -> pd.DataFrame:
    return read_cases(tiny_cases)


def test_a_background_that_is_not_0_is_set_to_0_in_a_copy(
    cases: pd.DataFrame, tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = cases["case"].iloc[0]
    changed = {
        "t1ce": with_changed(cases, "t1ce", whole_z_score, tmp_path),
        "flair": with_changed(cases, "flair", shifted_by_its_header, tmp_path),
    }
    originals = {path: Path(path).read_bytes() for path in changed.values()}
    build(cases, tmp_path / "nnunet", tiny_budget())
    said = capsys.readouterr().err.splitlines()
    for modality, path in changed.items():
        assert f"warning: {path}: has a constant background that is not 0; nothing to do: it is subtracted" in str(said)
        copy = tmp_path / "nnunet/raw" / NAME / f"imagesTr/{case}_{MODALITIES.index(modality):04d}.nii"
        assert not copy.is_symlink()
        assert Path(path).read_bytes() == originals[path]
        in_training, where = SimpleITKIO().read_images([str(copy)])
        in_prediction, there = SimpleITKIO().read_images([path])
        assert where == there
        assert np.array_equal(in_training[0], zero_background(in_prediction[0]))
    images = list((tmp_path / "nnunet/raw" / NAME / "imagesTr").iterdir())
    assert sum(path.is_symlink() for path in images) == len(images) - len(changed) == 14
    arrays = sorted((tmp_path / "nnunet/preprocessed" / NAME).glob("*/*.b2nd"))
    assert len(arrays) == 8
    for path in arrays:
        found, expected = (blosc2.open(str(file))[:] for file in (path, next(tiny_dataset.rglob(path.name))))
        if path.stem == case:
            np.testing.assert_allclose(found, expected, atol=1e-4)
        else:
            assert np.array_equal(found, expected)


def test_a_background_of_nan_is_refused(cases: pd.DataFrame, tmp_path: Path) -> None:
    path = with_changed(cases, "t2", nan_around, tmp_path)
    with pytest.raises(UserError, match=rf"{path}: has a background that is NaN or infinite .*; set them to 0, or"):
        build(cases, tmp_path / "nnunet", tiny_budget())
