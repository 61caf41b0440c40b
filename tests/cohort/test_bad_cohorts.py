"""Malformed tables, MSD folders, places and options: each is named with what is wrong and what to do."""

import json
import re
from pathlib import Path

import cohort_trees as trees
import numpy as np
import pytest
from cohort_trees import problems_of

from crossmodal.cohort.check import Options, check_cohort
from crossmodal.errors import UserError


@pytest.fixture
def root(tmp_path):
    return trees.brats2021(tmp_path / "data", 3)


def spoil_json(**changes):
    def damage(root: Path) -> None:
        description = json.loads((root / "dataset.json").read_text())
        (root / "dataset.json").write_text(json.dumps(description | changes))

    return damage


BAD_MSD = {
    "not json": (lambda r: (r / "dataset.json").write_text("{"), "Invalid JSON"),
    "a list": (lambda r: (r / "dataset.json").write_text("[]"), "Input should be an object"),
    "no channels": (spoil_json(modality=None), "modality: Input should be an object"),
    "another task": (spoil_json(modality={"0": "CT"}, name="Spleen"), r"names the channels .*\(Spleen\)"),
    "changed labels": (spoil_json(labels={"1": "necrosis", "2": "edema"}), "calls label 1 'necrosis', where Task01"),
    "listed and missing": (lambda r: (r / "imagesTr/BRATS_001.nii.gz").unlink(), "is listed in dataset.json and miss"),
    "no label": (lambda r: (r / "labelsTr/BRATS_001.nii.gz").unlink(), "has no segmentation"),
    "3D": (lambda r: trees.write(r / "imagesTr/BRATS_001.nii.gz", trees.image(1)), "where 4D with 4 channels is"),
    "3 channels": (lambda r: trees.write(r / "imagesTr/BRATS_001.nii.gz", np.stack([trees.image(1)] * 3, -1)),
        "where 4D with 4 channels is expected"),
    "equal channels": (lambda r: trees.write(r / "imagesTr/BRATS_001.nii.gz", np.stack([trees.image(1)] * 4, -1)),
        "t1ce and t1 are the same image"),
    "4D label": (lambda r: trees.write(r / "labelsTr/BRATS_001.nii.gz", np.stack([trees.segmentation((1,))] * 4, -1)),
        "is 4D .* where 3D is expected"),
    "label 4": (lambda r: trees.write(r / "labelsTr/BRATS_001.nii.gz", trees.segmentation((1, 2, 4))),
        r"has labels \[4\], where msd-task01 has 0, 1, 2, 3"),
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
    "two of a name": (in_table("Möller-2", "Möller-1"), "has the name of another case"),
    "no name": (in_table("Möller-1", " "), "the case's name is empty"),
    "slash in the name": (in_table("Möller-1", "a/b"), "would lead out of its folder"),
    "dots as a name": (in_table("Möller-1", ".."), "would lead out of its folder"),
    "dash in front": (in_table("Möller-1", "--out"), "begins with a dash"),
    "line break": (in_table("Möller-1", '"a\nb"'), "has a line break"),
    "climbing path": (in_table("scans/1/t1.nii.gz", "../scans/1/t1.nii.gz"), "leads out of the table's folder"),
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
    "release": (Options(release="brats2012"), "'brats2012' is not known: did you mean 'brats2021'"),
    "on_problem": (Options(on_problem="skp"), "did you mean 'skip'"),
    "workers": (Options(workers=0), "give 1 or more threads"),
    "folds": (Options(folds=1), "give 2 or more folds"),
    "test fraction": (Options(test_fraction=1.0), "give a share from 0"),
    "name": (Options(name="../up"), "the cohort name '../up' is not allowed"),
    "external without a name": (Options(external=("/data/x",)), "write NAME=PATH"),
    "external release": (Options(external=("a=/data/x:brats2032",)), "'brats2032' is not a release: did you mean"),
    "external name taken": (Options(name="a", external=("a=.",)), "another cohort is named 'a'|holds no case"),
    "split file": (Options(split_file="nowhere.csv"), "nowhere.csv: cannot be read"),
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
