"""Patients of the training set are removed from external cohorts, whether shown by content or by name."""

import shutil

import cohort_trees as trees
import pytest
from cohort_trees import check, read

from crossmodal.errors import UserError


def removed(problems):
    return sorted(row["case"] for row in problems if "overlaps with the training case" in row["problem"])


def test_the_same_images_under_other_names_are_removed_from_the_external_cohort(tmp_path):
    root = trees.brats2021(tmp_path / "data", 4)
    own = trees.table(tmp_path / "own", 4)
    shutil.copy(root / "BraTS2021_00002" / "BraTS2021_00002_flair.nii.gz", own / "scans/2/flair.nii.gz")
    rows, problems = check(root, tmp_path / "out", folds=2, test_fraction=0, external=(f"own={own}",))
    assert [row["case"] for row in rows if row["cohort"] == "own"] == ["Möller-1", "visit 0; touch x"]
    assert removed(problems) == ["Möller-2", "Möller-3"]  # two visits of one patient
    assert {row["severity"] for row in problems} == {"warning"}


def test_overlap_with_the_test_set_is_no_leak(tmp_path):
    root = trees.brats2021(tmp_path / "data", 2)
    other = tmp_path / "other"
    trees.write_case(other / "BraTS2021_00000", 600)
    trees.write_case(other / "BraTS2021_00005", 605)
    (tmp_path / "split.csv").write_text("case,split\nBraTS2021_00000,test\nBraTS2021_00001,train\n")
    rows, problems = check(
        root, tmp_path / "out", folds=0, split_file=str(tmp_path / "split.csv"), external=(f"b={other}:brats2021",)
    )
    assert [row["case"] for row in rows if row["cohort"] == "b"] == ["BraTS2021_00000", "BraTS2021_00005"]
    assert problems == []


@pytest.mark.parametrize(
    ("training", "external"),
    [
        (["Brats18_TCIA02_179_1"], ["BraTS19_TCIA02_179_1", "BraTS19_TCIA02_180_1"]),
        (["BraTS2021_00005"], ["BraTS-GLI-00005-000", "BraTS-GLI-00006-000"]),
        (["BraTS-GLI-00005-100"], ["BraTS-GLI-00005-101", "BraTS-GLI-00006-100"]),
    ],
)
def test_names_that_two_releases_share_are_removed(training, external, tmp_path):
    for root, names, seed in (("data", training, 1), ("other", external, 50)):
        layout = (trees.GLI, trees.SINCE_2023, "-") if "GLI" in names[0] else ()
        trees.write_cases(tmp_path / root, names, seed, *layout)
    _, problems = check(
        tmp_path / "data", tmp_path / "out", name="a", test_fraction=0, folds=0, external=(f"b={tmp_path / 'other'}",)
    )
    assert removed(problems) == external[:1]


def test_a_name_mapping_tells_who_is_who(tmp_path):
    root = trees.brats2020(tmp_path / "data", 3)
    other = trees.brats2018(tmp_path / "other", 4)
    names = sorted(folder.name for folder in other.glob("*/*"))
    mapping = (
        "Grade,BraTS_2017_subject_ID,BraTS_2018_subject_ID,BraTS_2020_subject_ID\n"
        f"HGG,NA,{names[1]},BraTS20_Training_002\nHGG,NA,NA,BraTS20_Training_003\nHGG,NA,{names[3]},NA\n"
    )
    options = {"folds": 0, "test_fraction": 0, "external": (f"b={other}",)}
    for text in (mapping, mapping.replace(",", ";"), "\ufeff" + mapping.replace("\n", "\r\n")):
        (tmp_path / "map.csv").write_text(text, encoding="utf-8")
        _, problems = check(root, tmp_path / "out", name_mapping=(tmp_path / "map.csv",), **options)
        assert removed(problems) == [names[1]]
    _, problems = check(root, tmp_path / "out", **options)
    assert removed(problems) == []
    (root / "name_mapping.csv").write_text(mapping)  # as the release ships it
    _, problems = check(root, tmp_path / "out", **options)
    assert removed(problems) == [names[1]]


def test_equal_names_with_other_images_stay_and_are_pointed_out(tmp_path):
    root = trees.brats2020(tmp_path / "data", 3)
    trees.write_cases(tmp_path / "b", [f"BraTS20_Training_{k:03d}" for k in (1, 2)], 400)
    rows, problems = check(root, tmp_path / "out", folds=0, test_fraction=0, external=(f"b={tmp_path / 'b'}",))
    assert len(rows) == 5
    assert "2 cases have names of training cases (BraTS20_Training_001, …)" in problems[0]["problem"]


def test_an_external_cohort_that_overlaps_whole_is_an_error(tmp_path):
    root = trees.brats2021(tmp_path / "data", 2)
    with pytest.raises(UserError, match="every case overlaps with training"):
        check(root, tmp_path / "out", name="a", folds=0, test_fraction=0, external=(f"b={root}",))
    problems = read(tmp_path / "out" / "problems.csv")
    assert [row["severity"] for row in problems] == ["error", "warning", "warning"]


def test_msd_beside_an_old_brats_warns_of_what_names_hide(tmp_path):
    root = trees.brats2018(tmp_path / "data", 2)
    _, problems = check(
        root, tmp_path / "out", folds=0, test_fraction=0, external=(f"msd={trees.msd(tmp_path / 'msd')}",)
    )
    assert any("MSD Task01 was drawn from BraTS 2016 and 2017" in row["problem"] for row in problems)
