"""Damaged and odd files of a case: each is named with what is wrong and what to do, or read right."""

import gzip
import os
import re
import shutil
from pathlib import Path

import cohort_trees as trees
import nibabel
import numpy as np
import pytest
from cohort_trees import check, problems_of

from crossmodal.cohort.volumes import load_volume
from crossmodal.errors import UserError

CASE = "BraTS2021_00001"


def file_of(root: Path, what: str = "t1") -> Path:
    return root / CASE / f"{CASE}_{what}.nii.gz"


def packed(change, what: str = "t1"):
    """Replace a file's bytes by change(bytes)."""
    return lambda root: file_of(root, what).write_bytes(change(file_of(root, what).read_bytes()))


def unpacked(change, what: str = "t1"):
    """Replace a file by a plain .nii with change(unpacked bytes)."""

    def damage(root: Path) -> None:
        content = gzip.decompress(file_of(root, what).read_bytes())
        file_of(root, what).unlink()
        file_of(root, what).with_suffix("").write_bytes(change(content))

    return damage


def patch(offset: int, data: bytes, what: str = "t1"):
    """A plain .nii, damaged at a known byte."""
    return unpacked(lambda content: content[:offset] + data + content[offset + len(data) :], what)


def instead(make):
    """Put what make(path) creates in the place of a file."""

    def damage(root: Path) -> None:
        file_of(root).unlink()
        make(file_of(root))

    return damage


def moved(name: str):
    return lambda root: file_of(root).rename(root / CASE / name)


def rewrite(what: str, change, affine=trees.LPS):
    """Replace a file by change(voxels)."""

    def damage(root: Path) -> None:
        voxels = np.asanyarray(nibabel.load(file_of(root, what)).dataobj)
        trees.write(file_of(root, what), change(voxels), affine)

    return damage


def with_value(value, dtype):
    def change(voxels):
        voxels = voxels.astype(dtype)
        voxels[4, 4, 4] = value
        return voxels

    return change


def noise_around(voxels: np.ndarray) -> np.ndarray:
    """The image with noise in the place of its background, as a scanner gives it."""
    return np.where(voxels == 0, np.random.default_rng(0).integers(1, 30, voxels.shape, voxels.dtype), voxels)


def head(voxels: np.ndarray) -> np.ndarray:
    """The image with something in the place of most of its background."""
    voxels = noise_around(voxels)
    voxels[:, 0, 0] = voxels[:, 0, -1] = voxels[:, -1, 0] = voxels[:, -1, -1] = 0
    return voxels


def sheared(by: float) -> np.ndarray:
    """An affine with voxels of 1 mm and a second axis that leans to the first."""
    affine = np.eye(4)
    affine[:2, 1] = by, np.sqrt(1 - by**2)
    return affine


def shape_bytes(*sides: int) -> bytes:
    return np.array([len(sides), *sides], "<i2").tobytes()


def real(value: float) -> bytes:
    return np.array(value, "<f4").tobytes()


def inside(change):
    """A sound gzip file around change(unpacked bytes)."""
    return packed(lambda content: gzip.compress(change(gzip.decompress(content))))


def copy_of_another_case(root: Path) -> None:
    for what in trees.BRATS:
        shutil.copy(root / "BraTS2021_00000" / f"BraTS2021_00000_{what}.nii.gz", file_of(root, what))


def flipped_copy_in_another_type(root: Path) -> None:
    """The T1 of another case, stored as float64 in RAS order: another file, the same content."""
    shutil.copy(root / "BraTS2021_00000" / "BraTS2021_00000_t1.nii.gz", file_of(root))
    for what in (*trees.BRATS, "seg"):
        turned = nibabel.as_closest_canonical(nibabel.load(file_of(root, what)))
        voxels = turned.get_fdata() if what == "t1" else np.asanyarray(turned.dataobj)
        trees.write(file_of(root, what), voxels, turned.affine)


BAD_FILES = {
    # what: (damage, file it is reported for, message)
    "missing modality": (lambda r: file_of(r, "t2").unlink(), CASE, "has no t2"),
    "missing segmentation": (lambda r: file_of(r, "seg").unlink(), CASE, "has no segmentation"),
    "empty folder": (lambda r: [f.unlink() for f in (r / CASE).iterdir()], CASE, "has no t1, t1ce, t2, flair"),
    "dangling link": (instead(lambda f: f.symlink_to("nowhere")), "t1.nii.gz", "is a link to nowhere, which is miss"),
    "pipe": (instead(os.mkfifo), "t1.nii.gz", "is not a regular file"),
    "folder for a file": (instead(Path.mkdir), "t1.nii.gz", "is a folder where a NIfTI file is expected"),
    "two files for one": (lambda r: shutil.copy(file_of(r), r / CASE / f"{CASE}_t1.nii"), CASE, "has 2 files for t1"),
    "named after another": (moved("BraTS2021_9_t1.nii.gz"), "BraTS2021_9_t1.nii.gz", "is named after another case"),
    "0 bytes": (packed(lambda _: b""), "t1.nii.gz", r"is empty \(0 bytes\)"),
    "html": (packed(lambda _: b"<!DOCTYPE html><title>Sign in"), "t1.nii.gz", "is not a gzip file"),
    "html as nii": (unpacked(lambda _: b"<!DOCTYPE html><title>Sign in" * 50), "t1.nii", "is not a NIfTI file"),
    "dicom": (unpacked(lambda _: bytes(128) + b"DICM" + bytes(900)), "t1.nii", "is DICOM, not NIfTI"),
    "nifti-2": (instead(nibabel.Nifti2Image(trees.image(1), trees.LPS).to_filename), "t1.nii.gz", "is NIfTI-2"),
    "analyze": (patch(344, bytes(4)), "t1.nii", "is not a NIfTI-1 file"),
    "header of a pair": (patch(344, b"ni1\0"), "t1.nii", "is the header of a .hdr/.img pair"),
    "not zipped": (packed(gzip.decompress), "t1.nii.gz", "is named .gz and is not compressed"),
    "zipped as nii": (moved(f"{CASE}_t1.nii"), "t1.nii", "is gzip-compressed and is not named .gz"),
    "gzip cut in the header": (packed(lambda b: b[:20]), "t1.nii.gz", "is truncated within its header"),
    "gzip cut in the middle": (packed(lambda b: b[: len(b) * 6 // 10]), "t1.nii.gz", "is a truncated gzip file"),
    "gzip without its checksum": (packed(lambda b: b[:-8]), "t1.nii.gz", "is a truncated gzip file"),
    "gzip with a wrong checksum": (packed(lambda b: b[:-8] + bytes(8)), "t1.nii.gz", "is a damaged gzip file"),
    "gzip with rubbish behind": (packed(lambda b: b + b"rubbish"), "t1.nii.gz", "is a damaged gzip file"),
    "more inside than said": (inside(lambda b: b + bytes(9)), "t1.nii.gz", "is longer than its header says"),
    "less inside than said": (inside(lambda b: b[:-9]), "t1.nii.gz", "is truncated"),
    "nii cut": (unpacked(lambda b: b[: len(b) * 6 // 10]), "t1.nii", "is truncated"),
    "nii too long": (unpacked(lambda b: b + b"more"), "t1.nii", "is longer than its header says"),
    "4D": (rewrite("t1", lambda v: np.stack([v, v], -1)), "t1.nii.gz", "is 4D .* where 3D is expected"),
    "4D of one": (rewrite("t1", lambda v: v[..., None]), "t1.nii.gz", "is 4D .* where 3D is expected"),
    "2D": (patch(40, shape_bytes(110, 12)), "t1.nii", "is 2D .* where 3D is expected"),
    "one slice": (rewrite("t1", lambda v: v[:, :, :1]), "t1.nii.gz", "has impossible dimensions"),
    "side of 0": (patch(40, shape_bytes(10, 0, 12)), "t1.nii", "has a damaged header"),
    "negative side": (patch(40, shape_bytes(10, -11, 12)), "t1.nii", "has a damaged header"),
    "9 dimensions": (patch(40, np.array([9], "<i2").tobytes()), "t1.nii", r"has a damaged header \(9 dimensions\)"),
    "huge": (patch(40, shape_bytes(30000, 30000, 30000)), "t1.nii", "has impossible dimensions"),
    "gigabytes claimed": (patch(40, shape_bytes(1000, 1000, 1000)), "t1.nii", "is truncated"),
    "colour": (patch(70, np.array([128, 24], "<i2").tobytes()), "t1.nii", "has voxels of type RGB"),
    "complex": (patch(70, np.array([32, 64], "<i2").tobytes()), "t1.nii", "has voxels of type complex64"),
    "bits that do not fit": (patch(72, np.array([8], "<i2").tobytes()), "t1.nii", "has a damaged header"),
    "voxels inside the header": (patch(108, real(12)), "t1.nii", "voxels are said to start at byte 12"),
    "voxel size 0": (patch(80, real(0)), "t1.nii", "has impossible voxel sizes"),
    "voxel size NaN": (patch(80, real(np.nan)), "t1.nii", "has impossible voxel sizes"),
    "voxel size against the affine": (patch(80, real(2)), "t1.nii", "has voxel sizes that contradict its affine"),
    "metres": (patch(123, b"\x01"), "t1.nii", "in a unit that is not mm"),
    "affine NaN": (patch(280, real(np.nan)), "t1.nii", "has a damaged orientation"),
    "affine sheared": (rewrite("t1", lambda v: v, sheared(0.5)), "t1.nii.gz", "has a sheared affine"),
    "affine sheared a little": (rewrite("t1", lambda v: v, sheared(2e-4)), "t1.nii.gz", r"sheared .* by 2\.0e-04\)"),
    "scaling infinite": (patch(112, real(np.inf)), "t1.nii", "has a damaged intensity scaling"),
    "other shape": (rewrite("t2", lambda v: v[:, :, :-1]), "t2.nii.gz", "is 10×11×11, where .* are 10×11×12"),
    "segmentation of another shape": (rewrite("seg", lambda v: v[1:]), "seg.nii.gz", "is 9×11×12"),
    "other affine": (rewrite("t2", lambda v: v, trees.RAS), "t2.nii.gz", "has another affine than"),
    "NaN": (rewrite("t1", with_value(np.nan, np.float32)), "t1.nii.gz", "has 1 voxels that are NaN or infinite"),
    "infinite": (rewrite("t1", with_value(np.inf, np.float64)), "t1.nii.gz", "has 1 voxels that are NaN or infinite"),
    "absurd intensities": (rewrite("t1", with_value(3e38, np.float32)), "t1.nii.gz", "has intensities up to 3e.38"),
    "background NaN": (rewrite("t1", lambda v: np.where(v == 0, np.nan, v)),
        "t1.nii.gz", r"has a background that is NaN or infinite \(984 voxels\)"),
    "all zero": (rewrite("t1ce", np.zeros_like), "t1ce.nii.gz", "has the same value everywhere"),
    "all one value": (rewrite("t1ce", lambda v: np.full_like(v, 7)), "t1ce.nii.gz", "has the same value everywhere"),
    "the same file twice": (lambda r: shutil.copy(file_of(r, "t1ce"), file_of(r)), "t1ce", "t1ce and t1 are the same"),
    "labels of another release": (rewrite("seg", lambda v: np.where(v == 4, 3, v)),
        "seg.nii.gz", r"has labels \[3\], where brats2021 has 0, 1, 2, 4"),
    "negative labels": (rewrite("seg", lambda v: -v.astype(np.int16)), "seg.nii.gz", r"has labels \[-4, -2, -1\]"),
    "labels that are not whole": (rewrite("seg", lambda v: v.astype(np.float32) * 0.5),
        "seg.nii.gz", r"has labels that are not whole numbers \(0.5\)"),
    "labels NaN": (rewrite("seg", with_value(np.nan, np.float32)), "seg.nii.gz", "NaN or infinite"),
    "an image as segmentation": (lambda r: shutil.copy(file_of(r, "t2"), file_of(r, "seg")),
        "seg.nii.gz", "has labels .*, where brats2021 has"),
    "another case's images": (copy_of_another_case, CASE, r"is a duplicate of BraTS2021_00000 by content \(t1, t1ce"),
    "one image of another case, turned": (flipped_copy_in_another_type, CASE,
        r"is a duplicate of BraTS2021_00000 by content \(t1\)"),
    "line break in the name": (lambda r: (r / CASE).rename(r / f"{CASE}\n"), CASE, "with a name that is not of"),
    "dash in front": (lambda r: trees.write_case(r / "-rf", 77).rename(r / "-rf"),
        "-rf", "name that is not of brats2021"),
    "bytes that are no text": (lambda r: trees.write(r / os.fsdecode(b"\xff") / "t1.nii.gz", trees.image(5)),
        "\\udcff", "with a name that is not of brats2021"),
}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    return trees.brats2021(tmp_path / "data", 3)


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_named_with_what_is_wrong_and_what_to_do(what, root, tmp_path):
    damage, file, message = BAD_FILES[what]
    damage(root)
    out = tmp_path / "out"
    out.mkdir()
    (out / "cases.csv").write_text("from an earlier run")
    with pytest.raises(UserError, match=r"\d+ errors?, the first: .*cases.csv is not written"):
        check(root, out, folds=0)
    errors = [row for row in problems_of(out) if row["severity"] == "error"]
    assert any(re.search(message, row["problem"]) and file in row["file"] for row in errors), errors
    assert all(row["remedy"] and row["case"] for row in errors)
    assert sorted(path.name for path in out.iterdir()) == ["problems.csv"]  # nothing stale, nothing half-written


@pytest.mark.parametrize("name", ["-rf", "a\nb", " a", "a" * 130, "a\x7f", os.fsdecode(b"a\xff")])
def test_a_name_that_could_do_harm_is_refused(name, tmp_path):
    folder = tmp_path / "data" / name
    trees.write(folder / "t1.nii.gz", trees.image(1))
    with pytest.raises(UserError, match=r"the case's name (begins|has|is)"):
        check(tmp_path / "data", tmp_path / "out", release="brats2021")
    assert problems_of(tmp_path / "out")


@pytest.mark.parametrize("what", ["NaN", "missing modality", "gzip cut in the middle", "another case's images"])
def test_skip_leaves_the_bad_case_out_and_says_so(what, root, tmp_path):
    BAD_FILES[what][0](root)
    rows, problems = check(root, tmp_path / "out", folds=0, on_problem="skip")
    assert [row["case"] for row in rows] == ["BraTS2021_00000", "BraTS2021_00002"]
    assert {row["case"] for row in problems if row["problem"].endswith("(case left out)")} == {CASE}


WARNED = {
    "extra file": (lambda r: (r / CASE / "notes.txt").write_text(""), "notes.txt", "is an extra file"),
    "stray file": (lambda r: shutil.copy(file_of(r), r / "atlas.nii.gz"), "atlas.nii.gz", "outside every case folder"),
    "empty segmentation": (rewrite("seg", np.zeros_like), "seg.nii.gz", "is empty: no voxel of a tumour"),
    "background of 7": (rewrite("t1", lambda v: v + 7), "t1.nii.gz", "constant background that is not 0"),
    "z-scored as a whole": (rewrite("t2", lambda v: (v - v.mean()) / v.std()),
        "t2.nii.gz", "constant background that is not 0"),
    "shifted by its header": (patch(112, real(1) + real(5)), "t1.nii", "constant background that is not 0"),
    "no background": (rewrite("t1", noise_around), "t1.nii.gz", "has no background: the voxels in"),
    "a head": (rewrite("t1", head), "t1.nii.gz", "has more than a brain"),
    "scaled by its header": (patch(112, real(1.5)), "t1.nii", "has intensities scaled by its header"),
    "no orientation": (patch(252, bytes(4)), "t1.nii", "has no orientation"),
    "two orientations": (patch(252, np.array([1, 1], "<i2").tobytes() + bytes(12) + real(9)),
        "t1.nii", "has an sform and a qform that disagree"),
    "misnamed segmentation": (lambda r: file_of(r, "seg").rename(r / CASE / "manual_segm.nii.gz"),
        "manual_segm.nii.gz", "is misnamed, and is used as the segmentation"),
}  # fmt: skip


@pytest.mark.parametrize("what", WARNED)
def test_what_is_odd_is_a_warning_and_goes_on(what, root, tmp_path):
    damage, file, message = WARNED[what]
    damage(root)
    if what == "no orientation":  # so that the case agrees with itself
        for other in ("t1ce", "t2", "flair", "seg"):
            patch(252, bytes(4), other)(root)
    _, rows = check(root, tmp_path / "out", folds=0)
    assert {row["severity"] for row in rows} == {"warning"}
    assert any(re.search(message, row["problem"]) and file in row["file"] for row in rows), rows


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int16, np.float64])
@pytest.mark.parametrize("affine", [trees.LPS, trees.RAS], ids=["LPS", "RAS"])
def test_segmentation_types_and_orientations_are_read_right(dtype, affine, root, tmp_path):
    for what in trees.BRATS:
        rewrite(what, lambda v: v - np.int16(900) * (v > 0), affine)(root)  # some releases hold negative voxels
    rewrite("seg", lambda v: v.astype(dtype), affine)(root)
    assert check(root, tmp_path / "out", folds=0, test_fraction=0)[1] == []
    voxels, read_affine = load_volume(str(file_of(root, "seg")))
    assert voxels.dtype == dtype
    assert set(np.unique(voxels)) == {0, 1, 2, 4}
    assert np.array_equal(read_affine, affine)
    assert load_volume(str(file_of(root)))[0].min() < 0


def test_big_endian_multi_member_gzip_and_a_header_extension_are_read(root, tmp_path):
    swapped = nibabel.Nifti1Image(trees.image(90).astype(">i2"), trees.LPS, nibabel.Nifti1Header(endianness=">"))
    nibabel.save(swapped, file_of(root))
    content = gzip.decompress(file_of(root, "t2").read_bytes())
    file_of(root, "t2").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]) + bytes(512))
    image = nibabel.Nifti1Image(trees.image(91), trees.LPS)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"from the scanner"))
    nibabel.save(image, file_of(root, "flair"))
    assert check(root, tmp_path / "out", folds=0)[1] == []
