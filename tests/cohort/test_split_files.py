"""Split files of your own, as CSV or as lists, are followed; what is wrong in one is named."""

import contextlib
from collections import Counter

import cohort_trees as trees
import pytest
from cohort_trees import check, read
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.cohort.cases import Case
from crossmodal.cohort.split_files import apply_split, read_split
from crossmodal.errors import UserError


def placed(rows: list[dict]) -> list[str]:
    """The part of each case, and the fold that it validates."""
    return [f"{row['split']} {row['fold']}" for row in rows]


def test_a_csv_of_ones_own_is_followed(tmp_path):
    root = trees.brats2021(tmp_path / "data", 4)
    own = tmp_path / "split.csv"
    own.write_text(
        "case,split,fold\nBraTS2021_00000,train,1\nBraTS2021_00001,train,0\n"
        "BraTS2021_00002,test,\nBraTS2021_00003,train,0\n"
    )
    rows, problems = check(root, tmp_path / "out", folds=2, split_file=str(own))
    assert placed(rows) == ["train 1", "train 0", "test ", "train 0"]
    assert problems == []


def test_a_csv_without_folds_gets_them_and_cases_it_leaves_out_stay_out(tmp_path):
    root = trees.brats2021(tmp_path / "data", 6)
    lines = ["case,split", *(f"BraTS2021_{k:05d},train" for k in range(4)), "BraTS2021_00004,test"]
    (tmp_path / "split.csv").write_text("\n".join(lines))
    rows, problems = check(root, tmp_path / "out", folds=2, split_file=str(tmp_path / "split.csv"))
    assert Counter(row["fold"] for row in rows if row["split"] == "train") == {"0": 2, "1": 2}
    assert [row["case"] for row in rows] == [f"BraTS2021_{k:05d}" for k in range(5)]
    assert [(row["case"], row["severity"]) for row in problems] == [("BraTS2021_00005", "warning")]


@pytest.mark.parametrize("form", ["{}", "HGG_{}", "HGG/{}", "{}_vol.npy", " {} "])
def test_lists_as_published_are_followed(form, tmp_path):
    root = trees.brats2018(tmp_path / "data", 4)
    names = sorted(folder.name for folder in root.glob("*/*"))
    lists = tmp_path / "lists"
    lists.mkdir()
    for part, own in {"train": names[:2], "val": names[2:3], "test": names[3:]}.items():
        (lists / f"{part}.txt").write_text("\n".join(form.format(name) for name in own) + "\n\n")
    rows, problems = check(root, tmp_path / "out", folds=2, split_file=str(lists))
    assert placed(rows) == ["train ", "train ", "train 0", "test "]
    assert [problem["problem"] for problem in problems] == ["gives no validation cases to fold 1"]


def test_lists_may_be_named_one_by_one(tmp_path):
    root = trees.brats2021(tmp_path / "data", 3)
    (tmp_path / "train1.txt").write_text("BraTS2021_00000\nBraTS2021_00001\n")
    (tmp_path / "test1.txt").write_text("BraTS2021_00002\n")
    given = f"{tmp_path / 'train1.txt'},{tmp_path / 'test1.txt'}"
    rows, _ = check(root, tmp_path / "out", folds=2, split_file=given)
    assert sorted(placed(rows)) == ["test ", "train 0", "train 1"]


BAD_SPLITS = {
    "patient on both sides": ("case,split\nA-100,train\nA-101,test\n",
        "patient A is on both sides: in train .A-100. and in test"),
    "patient in two folds": ("case,split,fold\nA-100,train,0\nA-101,train,1\n",
        "patient A is on both sides: in train, fold 0"),
    "case in two parts": ("case,split\nA-100,train\nA-100,test\n", "puts the case A-100 in test, and .* in train"),
    "unknown case": ("case,split\nA-100,train\nA-109,train\n", "names the case 'A-109', which is not among"),
    "no case of the cohort": ("case,split\nBrats18_X_1,train\n", "names no case of this cohort"),
    "unknown part": ("case,split\nA-100,trian\n", "'trian' is not a part .*: did you mean 'train'"),
    "fold of a test case": ("case,split,fold\nA-100,test,1\n", "fold '1' of a case in test"),
    "fold that is no number": ("case,split,fold\nA-100,train,a\n", "fold 'a' of a case in train"),
    "fold too high": ("case,split,fold\nA-100,train,7\n", "in fold 7, where --folds 2 counts from 0 to 1"),
    "no such column": ("name,split\nx,train\n", "has no column 'case'"),
    "no line": ("case,split\n", "lists no case"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_SPLITS)
@pytest.mark.parametrize("on_problem", ["stop", "skip"])
def test_a_bad_split_file_is_an_error_whatever_may_be_skipped(what, on_problem, tmp_path):
    text, message = (given.replace("A", "BraTS-GLI-00000") for given in BAD_SPLITS[what])
    (tmp_path / "split.csv").write_text(text)
    root = trees.brats2024(tmp_path / "data", 2)
    with pytest.raises(UserError, match=message):
        check(root, tmp_path / "out", folds=2, split_file=str(tmp_path / "split.csv"), on_problem=on_problem)
    assert not (tmp_path / "out" / "cases.csv").exists()
    assert any(row["severity"] == "error" for row in read(tmp_path / "out" / "problems.csv"))


def test_a_case_left_out_may_stay_in_the_split_file(tmp_path):
    root = trees.brats2021(tmp_path / "data", 3)
    (root / "BraTS2021_00001" / "BraTS2021_00001_t2.nii.gz").unlink()
    (tmp_path / "train.txt").write_text("BraTS2021_00000\nBraTS2021_00001\nBraTS2021_00002\n")
    rows, _ = check(root, tmp_path / "out", folds=0, on_problem="skip", split_file=str(tmp_path))
    assert [row["case"] for row in rows] == ["BraTS2021_00000", "BraTS2021_00002"]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_split_or_a_readable_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "split.csv"
    for content in (text, "case,split\n" + text):
        path.write_text(content, encoding="utf-8", errors="replace")
        with contextlib.suppress(UserError):
            apply_split(read_split(str(path)), [Case("P0", "P0", "table")], 2, 0, "split.csv")
