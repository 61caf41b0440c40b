"""Malformed cohorts, each with the message that it must give; and odd ones that must be read right."""

import csv
import gzip
import json
import os
import re
import shutil
from pathlib import Path

import cohort_trees as trees
import nibabel
import numpy as np
import pytest
from crossmodal.cohort.check import Options, check_cohort
from crossmodal.cohort.releases import load_volume
from crossmodal.errors import UserError

CASE = "BraTS2021_00001"


def file_of(root: Path, what: str = "t1") -> Path:
    return root / CASE / f"{CASE}_{what}.nii.gz"


def unpacked(root: Path, what: str = "t1") -> Path:
    """The file as plain .nii, for damage at a known byte."""
    packed = file_of(root, what)
    plain = packed.with_suffix("")
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    return plain


def patch(offset: int, data: bytes, what: str = "t1"):
    def damage(root: Path) -> None:
        plain = unpacked(root, what)
        content = bytearray(plain.read_bytes())
        content[offset : offset + len(data)] = data
        plain.write_bytes(content)

    return damage


def rewrite(what: str, change, affine=trees.LPS):
    """Replace a file by change(voxels)."""

    def damage(root: Path) -> None:
        voxels = np.asanyarray(nibabel.load(file_of(root, what)).dataobj)
        trees.write(file_of(root, what), change(voxels), affine)

    return damage


def replace(content: bytes, what: str = "t1"):
    return lambda root: file_of(root, what).write_bytes(content)


def with_value(value, dtype):
    def change(voxels):
        voxels = voxels.astype(dtype)
        voxels[4, 4, 4] = value
        return voxels

    return change


def shape_bytes(*sides: int) -> bytes:
    return np.array([len(sides), *sides], "<i2").tobytes()


def real(value: float) -> bytes:
    return np.array(value, "<f4").tobytes()


def truncate(path: Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def to_link(root: Path) -> None:
    file_of(root).unlink()
    file_of(root).symlink_to(root / "nowhere.nii.gz")


def to_pipe(root: Path) -> None:
    file_of(root).unlink()
    os.mkfifo(file_of(root))


def to_folder(root: Path) -> None:
    file_of(root).unlink()
    file_of(root).mkdir()


def copy_of_another_case(root: Path) -> None:
    for what in trees.BRATS:
        shutil.copy(root / "BraTS2021_00000" / f"BraTS2021_00000_{what}.nii.gz", file_of(root, what))


def flipped_copy_in_another_type(root: Path) -> None:
    """The same patient's T1, stored as float64 in RAS order and unzipped: another file, the same content."""
    image = nibabel.load(root / "BraTS2021_00000" / "BraTS2021_00000_t1.nii.gz")
    turned = nibabel.as_closest_canonical(image)
    for what in (*trees.BRATS, "seg"):
        ours = nibabel.as_closest_canonical(nibabel.load(file_of(root, what)))
        trees.write(file_of(root, what), np.asanyarray(ours.dataobj), turned.affine)
    trees.write(file_of(root), turned.get_fdata(), turned.affine)


BAD_FILES = {
    # what: (damage, file it is reported for, message)
    "missing modality": (lambda r: file_of(r, "t2").unlink(), CASE, "has no t2"),
    "missing segmentation": (lambda r: file_of(r, "seg").unlink(), CASE, "has no segmentation"),
    "empty folder": (lambda r: [f.unlink() for f in (r / CASE).iterdir()], CASE, "has no t1, t1ce, t2, flair"),
    "dangling link": (to_link, "t1.nii.gz", "is a link to .*nowhere.nii.gz, which is missing"),
    "pipe": (to_pipe, "t1.nii.gz", "is not a regular file"),
    "folder for a file": (to_folder, "t1.nii.gz", "is a folder where a NIfTI file is due"),
    "two files for one": (lambda r: shutil.copy(file_of(r), r / CASE / f"{CASE}_t1.nii"), CASE, "has 2 files for t1"),
    "named after another": (
        lambda r: file_of(r).rename(r / CASE / "BraTS2021_00009_t1.nii.gz"),
        "BraTS2021_00009_t1.nii.gz",
        "is named after another case",
    ),
    "0 bytes": (replace(b""), "t1.nii.gz", r"is empty \(0 bytes\)"),
    "html": (replace(b"<!DOCTYPE html><title>Sign in"), "t1.nii.gz", "is not a gzip file"),
    "html as nii": (
        lambda r: unpacked(r).write_bytes(b"<!DOCTYPE html><title>Sign in</title>" * 50),
        "t1.nii",
        "is not a NIfTI file",
    ),
    "dicom": (lambda r: unpacked(r).write_bytes(bytes(128) + b"DICM" + bytes(900)), "t1.nii", "is DICOM, not NIfTI"),
    "nifti-2": (
        lambda r: nibabel.save(nibabel.Nifti2Image(trees.image(1), trees.LPS), file_of(r)),
        "t1.nii.gz",
        "is NIfTI-2",
    ),
    "analyze": (patch(344, bytes(4)), "t1.nii", "is not a NIfTI-1 file"),
    "header of a pair": (patch(344, b"ni1\0"), "t1.nii", "is the header of a .hdr/.img pair"),
    "not zipped": (lambda r: unpacked(r).rename(file_of(r)), "t1.nii.gz", "is named .gz and is not compressed"),
    "zipped as nii": (
        lambda r: file_of(r).rename(r / CASE / f"{CASE}_t1.nii"),
        "t1.nii",
        "is gzip-compressed and is not named .gz",
    ),
    "gzip cut in the header": (lambda r: truncate(file_of(r), 0.01), "t1.nii.gz", "is truncated within its header"),
    "gzip cut in the middle": (lambda r: truncate(file_of(r), 0.6), "t1.nii.gz", "is a truncated gzip file"),
    "gzip without its checksum": (
        lambda r: file_of(r).write_bytes(file_of(r).read_bytes()[:-8]),
        "t1.nii.gz",
        "is a truncated gzip file",
    ),
    "gzip with a wrong checksum": (
        lambda r: file_of(r).write_bytes(file_of(r).read_bytes()[:-8] + bytes(8)),
        "t1.nii.gz",
        "is a damaged gzip file",
    ),
    "gzip with rubbish behind": (
        lambda r: file_of(r).write_bytes(file_of(r).read_bytes() + b"rubbish"),
        "t1.nii.gz",
        "is a damaged gzip file",
    ),
    "more inside than said": (
        lambda r: file_of(r).write_bytes(gzip.compress(gzip.decompress(file_of(r).read_bytes()) + bytes(9))),
        "t1.nii.gz",
        "is longer than its header says",
    ),
    "less inside than said": (
        lambda r: file_of(r).write_bytes(gzip.compress(gzip.decompress(file_of(r).read_bytes())[:-9])),
        "t1.nii.gz",
        "is truncated",
    ),
    "nii cut": (lambda r: truncate(unpacked(r), 0.7), "t1.nii", "is truncated"),
    "nii too long": (lambda r: unpacked(r).open("ab").write(b"more"), "t1.nii", "is longer than its header says"),
    "4D": (rewrite("t1", lambda v: np.stack([v, v], -1)), "t1.nii.gz", "is 4D .* where 3D is due"),
    "4D of one": (rewrite("t1", lambda v: v[..., None]), "t1.nii.gz", "is 4D .* where 3D is due"),
    "2D": (patch(40, shape_bytes(110, 12)), "t1.nii", "is 2D .* where 3D is due"),
    "one slice": (rewrite("t1", lambda v: v[:, :, :1]), "t1.nii.gz", "has impossible dimensions"),
    "side of 0": (patch(40, shape_bytes(10, 0, 12)), "t1.nii", "has a damaged header"),
    "negative side": (patch(40, shape_bytes(10, -11, 12)), "t1.nii", "has a damaged header"),
    "9 dimensions": (patch(40, np.array([9], "<i2").tobytes()), "t1.nii", r"has a damaged header \(9 dimensions\)"),
    "huge": (patch(40, shape_bytes(30000, 30000, 30000)), "t1.nii", "has impossible dimensions"),
    "gigabytes claimed": (patch(40, shape_bytes(1000, 1000, 1000)), "t1.nii", "is truncated"),
    "colour": (patch(70, np.array([128, 24], "<i2").tobytes()), "t1.nii", "has voxels of type RGB"),
    "complex": (patch(70, np.array([32, 64], "<i2").tobytes()), "t1.nii", "has voxels of type complex64"),
    "bits that do not fit": (patch(72, np.array([8], "<i2").tobytes()), "t1.nii", "has a damaged header"),
    "voxels inside the header": (patch(108, real(12)), "t1.nii", "voxels said to start at byte 12"),
    "voxel size 0": (patch(80, real(0)), "t1.nii", "has impossible voxel sizes"),
    "voxel size NaN": (patch(80, real(np.nan)), "t1.nii", "has impossible voxel sizes"),
    "voxel size against the affine": (patch(80, real(2)), "t1.nii", "has voxel sizes that contradict its affine"),
    "metres": (patch(123, b"\x01"), "t1.nii", "in a unit that is not mm"),
    "affine NaN": (patch(280, real(np.nan)), "t1.nii", "has a damaged orientation"),
    "affine sheared": (
        rewrite("t1", lambda v: v, np.array([[1, 0.5, 0, 0], [0, 0.866, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
        "t1.nii.gz",
        "has a sheared affine",
    ),
    "scaling infinite": (patch(112, real(np.inf)), "t1.nii", "has a damaged intensity scaling"),
    "other shape": (rewrite("t2", lambda v: v[:, :, :-1]), "t2.nii.gz", "is 10×11×11, where .* are 10×11×12"),
    "segmentation of another shape": (rewrite("seg", lambda v: v[1:]), "seg.nii.gz", "is 9×11×12"),
    "other affine": (rewrite("t2", lambda v: v, trees.RAS), "t2.nii.gz", "has another affine than"),
    "NaN": (rewrite("t1", with_value(np.nan, np.float32)), "t1.nii.gz", "has 1 voxels that are NaN or infinite"),
    "infinite": (rewrite("t1", with_value(np.inf, np.float64)), "t1.nii.gz", "has 1 voxels that are NaN or infinite"),
    "absurd intensities": (rewrite("t1", with_value(3e38, np.float32)), "t1.nii.gz", "has intensities up to 3e.38"),
    "all zero": (rewrite("t1ce", np.zeros_like), "t1ce.nii.gz", "t1ce is 0 everywhere"),
    "the same file twice": (lambda r: shutil.copy(file_of(r, "t1ce"), file_of(r)), "t1ce", "t1ce and t1 are the same"),
    "labels of another release": (
        rewrite("seg", lambda v: np.where(v == 4, 3, v)),
        "seg.nii.gz",
        r"has labels \[3\], where brats2021 has 0, 1, 2, 4",
    ),
    "negative labels": (rewrite("seg", lambda v: -v.astype(np.int16)), "seg.nii.gz", r"has labels \[-4, -2, -1\]"),
    "labels that are not whole": (
        rewrite("seg", lambda v: v.astype(np.float32) * 0.5),
        "seg.nii.gz",
        r"has labels that are not whole numbers \(0.5\)",
    ),
    "labels NaN": (rewrite("seg", with_value(np.nan, np.float32)), "seg.nii.gz", "NaN or infinite"),
    "an image as segmentation": (
        lambda r: shutil.copy(file_of(r, "t2"), file_of(r, "seg")),
        "seg.nii.gz",
        "has labels .*, where brats2021 has",
    ),
    "another case's images": (copy_of_another_case, CASE, r"is a duplicate of BraTS2021_00000 by content \(t1, t1ce"),
    "one image of another case, turned": (
        flipped_copy_in_another_type,
        CASE,
        r"is a duplicate of BraTS2021_00000 by content \(t1\)",
    ),
    "line break in the name": (lambda r: (r / CASE).rename(r / f"{CASE}\n"), CASE, "with a name that is not of"),
    "dash in front": (
        lambda r: trees.write_case(r / "-rf", 77).rename(r / "-rf"),
        "-rf",
        "name that is not of brats2021",
    ),
    "bytes that are no text": (
        lambda r: Path(os.fsdecode(bytes(r / CASE) + b"\xff")).mkdir() or trees.write(
            Path(os.fsdecode(bytes(r / CASE) + b"\xff")) / "t1.nii.gz", trees.image(5)
        ),
        CASE,
        "with a name that is not of brats2021",
    ),
}  # fmt: skip


def problems_of(out: Path) -> list[dict]:
    with (out / "problems.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


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
        check_cohort(root, out, Options(folds=0, workers=2))
    errors = [row for row in problems_of(out) if row["severity"] == "error"]
    assert any(re.search(message, row["problem"]) and file in row["file"] for row in errors), errors
    assert all(row["remedy"] and row["case"] for row in errors)
    assert sorted(path.name for path in out.iterdir()) == ["problems.csv"]  # nothing stale, nothing half-written


@pytest.mark.parametrize("name", ["-rf", "a\nb", " a", "a" * 130, "a\x7f", os.fsdecode(b"a\xff")])
def test_a_name_that_could_do_harm_is_refused(name, tmp_path):
    folder = tmp_path / "data" / name
    trees.write(folder / "t1.nii.gz", trees.image(1))
    with pytest.raises(UserError, match=r"the case's name (begins|has|is)"):
        check_cohort(tmp_path / "data", tmp_path / "out", Options(release="brats2021"))
    assert problems_of(tmp_path / "out")


@pytest.mark.parametrize("what", ["NaN", "missing modality", "gzip cut in the middle", "another case's images"])
def test_skip_leaves_the_bad_case_out_and_says_so(what, root, tmp_path):
    BAD_FILES[what][0](root)
    check_cohort(root, tmp_path / "out", Options(folds=0, on_problem="skip", workers=2))
    assert CASE not in (tmp_path / "out" / "cases.csv").read_text()
    assert len((tmp_path / "out" / "cases.csv").read_text().splitlines()) == 3
    left = [row for row in problems_of(tmp_path / "out") if row["problem"].endswith("(case left out)")]
    assert {row["case"] for row in left} == {CASE}


WARNED = {
    "extra file": (lambda r: (r / CASE / "notes.txt").write_text(""), "notes.txt", "is an extra file"),
    "stray file": (lambda r: shutil.copy(file_of(r), r / "atlas.nii.gz"), "atlas.nii.gz", "outside every case folder"),
    "empty segmentation": (rewrite("seg", np.zeros_like), "seg.nii.gz", "is empty: no voxel of a tumour"),
    "not skull-stripped": (rewrite("t1", lambda v: v + 7), CASE, r"is not skull-stripped.*\(t1\)"),
    "scaled by its header": (patch(112, real(1.5)), "t1.nii", "has intensities scaled by its header"),
    "no orientation": (patch(252, bytes(4)), "t1.nii", "has no orientation"),
    "two orientations": (
        patch(252, np.array([1, 1], "<i2").tobytes() + bytes(12) + real(9)),
        "t1.nii",
        "has an sform and a qform that disagree",
    ),
    "misnamed segmentation": (
        lambda r: file_of(r, "seg").rename(r / CASE / "manual_segm.nii.gz"),
        "manual_segm.nii.gz",
        "is misnamed, and is taken for the segmentation",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WARNED)
def test_what_is_odd_is_a_warning_and_goes_on(what, root, tmp_path):
    damage, file, message = WARNED[what]
    damage(root)
    if what == "no orientation":  # so that the case agrees with itself
        for other in ("t1ce", "t2", "flair", "seg"):
            patch(252, bytes(4), other)(root)
    check_cohort(root, tmp_path / "out", Options(folds=0, workers=2))
    rows = problems_of(tmp_path / "out")
    assert {row["severity"] for row in rows} == {"warning"}
    assert any(re.search(message, row["problem"]) and file in row["file"] for row in rows), rows


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int16, np.float64])
@pytest.mark.parametrize("affine", [trees.LPS, trees.RAS], ids=["LPS", "RAS"])
def test_segmentation_types_and_orientations_are_read_right(dtype, affine, root, tmp_path):
    for what in trees.BRATS:
        rewrite(what, lambda v: v - np.int16(900) * (v > 0), affine)(root)  # some releases hold negative voxels
    rewrite("seg", lambda v: v.astype(dtype), affine)(root)
    check_cohort(root, tmp_path / "out", Options(folds=0, test_fraction=0, workers=2))
    assert problems_of(tmp_path / "out") == []
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
    image = nibabel.load(file_of(root, "flair"))
    image = nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"from the scanner"))
    nibabel.save(image, file_of(root, "flair"))
    check_cohort(root, tmp_path / "out", Options(folds=0, workers=2))
    assert problems_of(tmp_path / "out") == []


def spoil_json(**changes):
    def damage(root: Path) -> None:
        description = json.loads((root / "dataset.json").read_text())
        (root / "dataset.json").write_text(json.dumps(description | changes))

    return damage


BAD_MSD = {
    "not json": (lambda r: (r / "dataset.json").write_text("{"), "is not valid JSON"),
    "a list": (lambda r: (r / "dataset.json").write_text("[]"), "is not a JSON object"),
    "no channels": (spoil_json(modality=None), "has no 'modality'"),
    "another task": (spoil_json(modality={"0": "CT"}, name="Spleen"), r"names the channels .*\(Spleen\)"),
    "changed labels": (spoil_json(labels={"1": "necrosis", "2": "edema"}), "calls label 1 'necrosis', where Task01"),
    "listed and missing": (lambda r: (r / "imagesTr/BRATS_001.nii.gz").unlink(), "is listed in dataset.json and miss"),
    "no label": (lambda r: (r / "labelsTr/BRATS_001.nii.gz").unlink(), "has no segmentation"),
    "3D": (lambda r: trees.write(r / "imagesTr/BRATS_001.nii.gz", trees.image(1)), "where 4D with 4 channels is due"),
    "3 channels": (
        lambda r: trees.write(r / "imagesTr/BRATS_001.nii.gz", np.stack([trees.image(1)] * 3, -1)),
        "where 4D with 4 channels is due",
    ),
    "equal channels": (
        lambda r: trees.write(r / "imagesTr/BRATS_001.nii.gz", np.stack([trees.image(1)] * 4, -1)),
        "t1ce and t1 are the same image",
    ),
    "4D label": (
        lambda r: trees.write(r / "labelsTr/BRATS_001.nii.gz", np.stack([trees.segmentation((1,))] * 4, -1)),
        "is 4D .* where 3D is due",
    ),
    "label 4": (
        lambda r: trees.write(r / "labelsTr/BRATS_001.nii.gz", trees.segmentation((1, 2, 4))),
        r"has labels \[4\], where msd-task01 has 0, 1, 2, 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_MSD)
def test_a_bad_msd_folder_is_named(what, tmp_path):
    damage, message = BAD_MSD[what]
    root = trees.msd(tmp_path / "data")
    damage(root)
    with pytest.raises(UserError):
        check_cohort(root, tmp_path / "out", Options(folds=0, workers=2))
    assert not (tmp_path / "out" / "cases.csv").exists()
    errors = [row["problem"] for row in problems_of(tmp_path / "out") if row["severity"] == "error"]
    assert any(re.search(message, problem) for problem in errors), errors


def in_table(old: str, new: str):
    def damage(root: Path) -> None:
        text = (root / "cases.csv").read_text(encoding="utf-8")
        assert old in text
        (root / "cases.csv").write_text(text.replace(old, new, 1), encoding="utf-8")

    return damage


BAD_TABLES = {
    "no such column": (in_table(",t1ce,", ",t1c,"), r"has no column 't1ce' \(did you mean 't1c'"),
    "column twice": (in_table(",t2,", ",t1,"), "has the column 't1' twice"),
    "semicolons": (lambda r: (r / "cases.csv").write_text("case;t1;t1ce\n"), "not separated by commas"),
    "excel": (lambda r: (r / "cases.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00"), "is not text in UTF-8"),
    "empty": (lambda r: (r / "cases.csv").write_text(""), "is empty; its header must name case, t1"),
    "header alone": (lambda r: (r / "cases.csv").write_text("case,t1,t1ce,t2,flair\n"), "lists no case"),
    "short line": (lambda r: (r / "cases.csv").open("a").write("x,y\n"), "has 2 cells where the header has 9"),
    "two of a name": (in_table("Möller-2", "Möller-1"), "bears the name of another case"),
    "no name": (in_table("Möller-1", " "), "the case's name is empty"),
    "slash in the name": (in_table("Möller-1", "a/b"), "would lead out of its folder"),
    "dots as a name": (in_table("Möller-1", ".."), "would lead out of its folder"),
    "dash in front": (in_table("Möller-1", "--out"), "begins with a dash"),
    "line break": (in_table("Möller-1", '"a\nb"'), "has a line break"),
    "climbing path": (in_table("scans/1/t1.nii.gz", "../scans/1/t1.nii.gz"), "climbs out of the table's folder"),
    "not nifti": (in_table("scans/1/t1.nii.gz", "scans/1/t1.mha"), "does not end in .nii or .nii.gz"),
    "no modality": (in_table("scans/1/t1.nii.gz", ""), "has no t1"),
    "file missing": (in_table("scans/1/t1.nii.gz", "scans/1/t9.nii.gz"), "is missing"),
    "same file twice": (in_table("scans/1/t1.nii.gz", "scans/1/t2.nii.gz"), "t2 and t1 are the same image"),
    "release misspelt": (in_table("mask.nii.gz,,HGG", "mask.nii.gz,brats2032,HGG"), "a release 'brats2032' that"),
    "release of other labels": (
        in_table("mask.nii.gz,,HGG", "mask.nii.gz,brats2023-gli,HGG"), r"has labels \[4\], where brats2023-gli",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_TABLES)
def test_a_bad_table_is_named(what, tmp_path):
    damage, message = BAD_TABLES[what]
    root = trees.table(tmp_path / "data")
    damage(root)
    with pytest.raises(UserError, match=message):
        check_cohort(root, tmp_path / "out", Options(folds=0, workers=2))
    assert not (tmp_path / "out" / "cases.csv").exists()
    rows = [row for row in problems_of(tmp_path / "out") if row["severity"] == "error"]
    assert rows
    assert all(row["remedy"] for row in rows)


def mixed(tmp_path):
    return trees.brats2020(trees.brats2021(tmp_path / "data", 1), 1)


def flat(tmp_path):
    for k in (1, 2):
        trees.write(tmp_path / "data" / f"BraTS2021_0000{k}_t1.nii.gz", trees.image(k))
    return tmp_path / "data"


BAD_PLACES = {
    "nothing there": (lambda t: t / "data", "there is no such file or folder"),
    "empty": (lambda t: (t / "data").mkdir() or t / "data", "holds no case of a known release"),
    "two releases": (mixed, "holds brats2020 .* and brats2021|holds brats2021 .* and brats2020"),
    "all in one folder": (flat, "holds the files of several cases"),
    "an archive": (lambda t: (t / "b.zip").write_bytes(b"PK") and t / "b.zip", "is an archive; unpack it"),
    "unlabelled only": (lambda t: trees.msd(t / "data", 0), "no case has a segmentation"),
}


@pytest.mark.parametrize("what", BAD_PLACES)
def test_a_place_that_is_no_cohort_is_named(what, tmp_path):
    place, message = BAD_PLACES[what]
    with pytest.raises(UserError, match=message):
        check_cohort(place(tmp_path), tmp_path / "out", Options(folds=0, workers=2))
    assert problems_of(tmp_path / "out")[0]["severity"] == "error"


BAD_OPTIONS = {
    "release": (Options(release="brats2012"), "'brats2012' is not one that is known: did you mean 'brats2021'"),
    "on_problem": (Options(on_problem="skp"), "did you mean 'skip'"),
    "workers": (Options(workers=0), "give 1 or more threads"),
    "folds": (Options(folds=1), "give 2 or more folds"),
    "test fraction": (Options(test_fraction=1.0), "give a share from 0"),
    "name": (Options(name="../up"), "the cohort name '../up' will not do"),
    "external without a name": (Options(external=("/data/x",)), "write NAME=PATH"),
    "external release": (Options(external=("a=/data/x:brats2032",)), "'brats2032' is no release: did you mean"),
    "external name taken": (Options(name="a", external=("a=.",)), "another cohort is named 'a'|holds no case"),
    "split file": (Options(split_file="nowhere.csv"), "there is no such split file"),
    "mapping": (Options(name_mapping=(Path("nowhere.csv"),)), "cannot be read as a name mapping"),
}


@pytest.mark.parametrize("what", BAD_OPTIONS)
def test_a_bad_option_is_named(what, root, tmp_path):
    options, message = BAD_OPTIONS[what]
    with pytest.raises(UserError, match=message):
        check_cohort(root, tmp_path / "out", options)
    assert not (tmp_path / "out" / "cases.csv").exists()


def test_a_table_is_never_overwritten_by_its_own_check(tmp_path):
    root = trees.table(tmp_path / "data")
    for path in (root, root / "cases.csv"):
        with pytest.raises(UserError, match="would overwrite the table"):
            check_cohort(path, root, Options())
    assert "Möller" in (root / "cases.csv").read_text()


def test_the_same_cohort_gives_the_same_bytes_with_any_number_of_workers(root, tmp_path):
    outs = []
    for workers in (1, 4):
        check_cohort(root, tmp_path / str(workers), Options(folds=2, workers=workers))
        outs.append([(tmp_path / str(workers) / name).read_bytes() for name in ("cases.csv", "problems.csv")])
    assert outs[0] == outs[1]
