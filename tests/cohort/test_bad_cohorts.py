"""Malformed tables, MSD folders, places and options: each is named with what is wrong and what to do."""

import json
import re
from pathlib import Path

import cohort_trees as trees
import numpy as np
import pytest
from cohort_trees import check, problems_of

from crossmodal.errors import UserError


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


def flat(root: Path) -> None:
    for k in (1, 2):
        trees.write(root / f"BraTS2021_0000{k}_t1.nii.gz", trees.image(k))


def archive(root: Path) -> Path:
    root.with_suffix(".zip").write_bytes(b"PK")
    return root.with_suffix(".zip")


BAD_PLACES = {
    "nothing there": (lambda r: None, "there is no such file or folder"),
    "empty": (Path.mkdir, "holds no case of a known release"),
    "two releases": (lambda r: trees.brats2020(trees.brats2021(r, 1), 1),
        "holds brats2020 .* and brats2021|holds brats2021 .* and brats2020"),
    "all in one folder": (flat, "holds the files of several cases"),
    "an archive": (archive, "is an archive; unpack it"),
    "unlabelled only": (lambda r: trees.msd(r, 0), "no case has a segmentation"),
}  # fmt: skip
BAD = {"msd-task01": BAD_MSD, "table": BAD_TABLES, "place": BAD_PLACES}


@pytest.mark.parametrize(("tree", "what"), [(tree, what) for tree, bad in BAD.items() for what in bad])
def test_a_bad_cohort_is_named_with_what_is_wrong_and_what_to_do(tree, what, tmp_path):
    damage, message = BAD[tree][what]
    root = tmp_path / "data"
    if tree != "place":
        trees.TREES[tree](root)
    place = damage(root)
    with pytest.raises(UserError):
        check(place if isinstance(place, Path) else root, tmp_path / "out", folds=0)
    assert not (tmp_path / "out" / "cases.csv").exists()
    errors = [row for row in problems_of(tmp_path / "out") if row["severity"] == "error"]
    assert any(re.search(message, f"{row['problem']}; {row['remedy']}") for row in errors), errors
    assert all(row["remedy"] for row in errors)


BAD_OPTIONS = {
    "'brats2012' is not known: did you mean 'brats2021'": {"release": "brats2012"},
    "did you mean 'skip'": {"on_problem": "skp"},
    "give 1 or more threads": {"workers": 0},
    "give 2 or more folds": {"folds": 1},
    "give a share from 0": {"test_fraction": 1.0},
    "the cohort name '../up' is not allowed": {"name": "../up"},
    "write NAME=PATH": {"external": ("/data/x",)},
    "'brats2032' is not a release: did you mean": {"external": ("a=/data/x:brats2032",)},
    "another cohort is named 'a'": {"name": "a", "external": ("a=data",)},
    "nowhere.csv: cannot be read": {"split_file": "nowhere.csv"},
    "cannot be read as a name mapping": {"name_mapping": (Path("nowhere.csv"),)},
}


@pytest.mark.parametrize("message", BAD_OPTIONS)
def test_a_bad_option_is_named(message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trees.brats2021(Path("data"), 3)
    with pytest.raises(UserError, match=message):
        check("data", "out", **BAD_OPTIONS[message])
    assert not Path("out/cases.csv").exists()


def test_a_table_is_never_overwritten_by_its_own_check(tmp_path):
    root = trees.table(tmp_path / "data")
    for path in (root, root / "cases.csv"):
        with pytest.raises(UserError, match="would overwrite the table"):
            check(path, root)
    assert "Möller" in (root / "cases.csv").read_text()


def test_the_same_cohort_gives_the_same_bytes_with_any_number_of_workers(tmp_path):
    root = trees.brats2021(tmp_path / "data", 3)
    outs = []
    for workers in (1, 4):
        check(root, tmp_path / "out", folds=2, workers=workers)
        outs.append([(tmp_path / "out" / name).read_bytes() for name in ("cases.csv", "problems.csv")])
    assert outs[0] == outs[1]
