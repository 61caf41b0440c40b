"""Splits are by patient, balanced, the same everywhere, and never let a patient sit on both sides."""

import contextlib
import csv
import shutil
from collections import Counter

import cohort_trees as trees
import pytest
from crossmodal.cohort.check import Options, check_cohort
from crossmodal.cohort.split_files import apply_split, read_split
from crossmodal.cohort.splits import ToSplit, split_by_patient
from crossmodal.errors import UserError
from hypothesis import given, settings
from hypothesis import strategies as st


def cohort(count: int, visits: int = 1) -> list[ToSplit]:
    """Every third patient LGG, every fourth free of ET."""
    return [
        ToSplit(f"P{k:03d}-{visit}", f"P{k:03d}", "LGG" if k % 3 == 0 else "HGG", k % 4 == 0)
        for k in range(count)
        for visit in range(visits)
    ]


patients = st.lists(
    st.builds(
        lambda patient, visits, grade, et_free: [
            ToSplit(f"{patient}-{v}", str(patient), grade, et_free) for v in range(visits)
        ],
        st.integers(0, 10**6),
        st.integers(1, 3),
        st.sampled_from(["HGG", "LGG", ""]),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda visits: visits[0].patient,
)


@settings(max_examples=150, deadline=None)
@given(patients, st.integers(2, 6), st.floats(0, 0.9), st.integers(0, 5))
def test_any_cohort_is_split_by_patient_into_even_folds(groups, folds, fraction, seed):
    cases = [case for visits in groups for case in visits]
    places, problems = split_by_patient(cases, folds, fraction, seed)
    assert set(places) == {case.case for case in cases}
    sides = {}
    for case in cases:
        sides.setdefault(case.patient, set()).add(places[case.case])
    assert all(len(places_of) == 1 for places_of in sides.values())
    chosen = [next(iter(places_of)) for places_of in sides.values()]
    test = sum(place.split == "test" for place in chosen)
    assert abs(test - fraction * len(groups)) <= 1
    assert test < len(groups)
    assert (test > 0) == (fraction > 0 and len(groups) > 1)
    train = [place.fold for place in chosen if place.split == "train"]
    if len(train) >= folds:
        assert set(train) == set(range(folds))
    else:
        assert set(train) == {None}
        assert any("too few patients" in problem.problem for problem in problems)
    assert places == split_by_patient(cases[::-1], folds, fraction, seed)[0]


def test_grades_and_et_free_cases_are_spread_evenly():
    cases = cohort(120)
    places, _ = split_by_patient(cases, 5, 0.2, seed=0)
    stratum = {case.case: (case.grade, case.is_et_free) for case in cases}
    everywhere = Counter(stratum.values())
    for part in ("test", 0, 1, 2, 3, 4):
        inside = Counter(stratum[case] for case, place in places.items() if part in (place.split, place.fold))
        share = sum(inside.values()) / len(cases)
        for kind, count in everywhere.items():
            assert abs(inside[kind] - share * count) <= 1.5, (part, kind)


def test_another_seed_is_another_split_and_the_same_seed_the_same():
    cases = cohort(40)
    first = split_by_patient(cases, 5, 0.2, seed=0)[0]
    assert first == split_by_patient(cases, 5, 0.2, seed=0)[0]
    assert first != split_by_patient(cases, 5, 0.2, seed=1)[0]


def test_a_split_is_pinned():
    """A published split must not move with a version of this project."""
    places, _ = split_by_patient(cohort(10), 2, 0.2, seed=0)
    assert "".join("t" if place.split == "test" else str(place.fold) for place in places.values()) == "1t0t010011"


def check(path, out, **options):
    check_cohort(path, out, Options(workers=2, **options))
    return [read(out / name) for name in ("cases.csv", "problems.csv")]


def read(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_visits_of_a_patient_stay_together(tmp_path):
    rows, _ = check(trees.brats2024(tmp_path / "data", 6), tmp_path / "out", folds=2, test_fraction=0.3)
    places = {}
    for row in rows:
        places.setdefault(row["patient"], set()).add((row["split"], row["fold"]))
    assert len(places) == 6
    assert all(len(sides) == 1 for sides in places.values())
    assert all((row["fold"] == "") == (row["split"] != "train") for row in rows)


def test_test_fraction_0_leaves_only_folds(tmp_path):
    rows, problems = check(trees.brats2021(tmp_path / "data", 4), tmp_path / "out", folds=2, test_fraction=0)
    assert Counter((row["split"], row["fold"]) for row in rows) == {("train", "0"): 2, ("train", "1"): 2}
    assert problems == []


def test_external_cases_do_not_move_the_split(tmp_path):
    root = trees.brats2021(tmp_path / "data", 6)
    alone, _ = check(root, tmp_path / "a", folds=2)
    trees.table(tmp_path / "own")
    both, _ = check(root, tmp_path / "b", folds=2, external=(f"own={tmp_path / 'own'}",))
    assert both[:6] == alone
    assert {(row["cohort"], row["split"], row["fold"]) for row in both[6:]} == {("own", "external", "")}


# --- split files ----------------------------------------------------------------------------------------------


def test_a_csv_of_ones_own_is_followed(tmp_path):
    root = trees.brats2021(tmp_path / "data", 4)
    own = tmp_path / "split.csv"
    own.write_text(
        "case,split,fold\nBraTS2021_00000,train,1\nBraTS2021_00001,train,0\n"
        "BraTS2021_00002,test,\nBraTS2021_00003,train,0\n"
    )
    rows, problems = check(root, tmp_path / "out", folds=2, split_file=str(own))
    assert [(row["split"], row["fold"]) for row in rows] == [
        ("train", "1"),
        ("train", "0"),
        ("test", ""),
        ("train", "0"),
    ]
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
    assert [(row["split"], row["fold"]) for row in rows] == [("train", ""), ("train", ""), ("train", "0"), ("test", "")]
    assert [problem["problem"] for problem in problems] == ["gives no validation cases to fold 1"]


def test_lists_may_be_named_one_by_one(tmp_path):
    root = trees.brats2021(tmp_path / "data", 3)
    (tmp_path / "train1.txt").write_text("BraTS2021_00000\nBraTS2021_00001\n")
    (tmp_path / "test1.txt").write_text("BraTS2021_00002\n")
    given = f"{tmp_path / 'train1.txt'},{tmp_path / 'test1.txt'}"
    rows, _ = check(root, tmp_path / "out", folds=2, split_file=given)
    assert [(row["split"], row["fold"]) for row in rows] == [
        ("train", rows[0]["fold"]),
        ("train", rows[1]["fold"]),
        ("test", ""),
    ]
    assert {rows[0]["fold"], rows[1]["fold"]} == {"0", "1"}


BAD_SPLITS = {
    "patient on both sides": (
        "case,split\nBraTS-GLI-00000-100,train\nBraTS-GLI-00000-101,test\n",
        "patient BraTS-GLI-00000 is on both sides: in train .BraTS-GLI-00000-100. and in test",
    ),
    "patient in two folds": (
        "case,split,fold\nBraTS-GLI-00000-100,train,0\nBraTS-GLI-00000-101,train,1\n",
        "patient BraTS-GLI-00000 is on both sides: in train, fold 0",
    ),
    "case in two parts": (
        "case,split\nBraTS-GLI-00000-100,train\nBraTS-GLI-00000-100,test\n",
        "puts the case BraTS-GLI-00000-100 in test, and .* in train",
    ),
    "unknown case": (
        "case,split\nBraTS-GLI-00000-100,train\nBraTS-GLI-00001-109,train\n",
        "names the case 'BraTS-GLI-00001-109', which is not among",
    ),
    "no case of the cohort": ("case,split\nBrats18_X_1,train\n", "names no case of this cohort"),
    "unknown part": ("case,split\nBraTS-GLI-00000-100,trian\n", "'trian' is no part of a split: did you mean 'train'"),
    "fold of a test case": ("case,split,fold\nBraTS-GLI-00000-100,test,1\n", "fold '1' of a case in test"),
    "fold that is no number": ("case,split,fold\nBraTS-GLI-00000-100,train,a\n", "fold 'a' of a case in train"),
    "fold too high": (
        "case,split,fold\nBraTS-GLI-00000-100,train,7\n",
        "in fold 7, where --folds 2 counts from 0 to 1",
    ),
    "no such column": ("name,split\nx,train\n", "needs one column 'case'"),
    "no line": ("case,split\n", "no case is listed"),
}


@pytest.mark.parametrize("what", BAD_SPLITS)
@pytest.mark.parametrize("on_problem", ["stop", "skip"])
def test_a_bad_split_file_is_an_error_whatever_may_be_skipped(what, on_problem, tmp_path):
    text, message = BAD_SPLITS[what]
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
            apply_split(read_split(str(path)), cohort(3), 2, 0, "split.csv")


# --- overlap --------------------------------------------------------------------------------------------------


def removed(problems):
    return sorted(row["case"] for row in problems if "overlaps with the training case" in row["problem"])


def test_the_same_images_under_other_names_are_removed_from_the_external_cohort(tmp_path):
    root = trees.brats2021(tmp_path / "data", 4)
    own = trees.table(tmp_path / "own", 4)
    shutil.copy(root / "BraTS2021_00002" / "BraTS2021_00002_flair.nii.gz", own / "scans/2/flair.nii.gz")
    options = {"folds": 2, "test_fraction": 0, "external": (f"own={own}",)}
    rows, problems = check(root, tmp_path / "out", **options)
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
        for k, name in enumerate(names):
            suffixes, join = (trees.GLI, "-") if "GLI" in name else (trees.BRATS, "_")
            labels = (1, 2, 3) if "GLI" in name else (1, 2, 4)
            trees.write_case(tmp_path / root / name, seed + k, suffixes, labels, join)
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
    for k in (1, 2):
        trees.write_case(tmp_path / "b" / f"BraTS20_Training_{k:03d}", 400 + k)
    rows, problems = check(root, tmp_path / "out", folds=0, test_fraction=0, external=(f"b={tmp_path / 'b'}",))
    assert len(rows) == 5
    assert "2 cases bear names of training cases (BraTS20_Training_001, …)" in problems[0]["problem"]


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
