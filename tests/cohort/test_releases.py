"""Every release is recognised by its names, and read into one cases.csv."""

import time
from pathlib import Path

import cohort_trees as trees
import nibabel
import numpy as np
import pytest
from cohort_trees import check, read

from crossmodal.cohort.check import Options, check_cohort
from crossmodal.cohort.folders import patient_of
from crossmodal.cohort.releases import find_cases
from crossmodal.cohort.volumes import image_of, load_volume
from crossmodal.domain import REGIONS, RELEASES, from_internal, labels_of, regions_of, to_internal
from crossmodal.errors import UserError
from tests.publishing.experiments import crossmodal


@pytest.mark.parametrize("release", RELEASES)
def test_each_release_is_recognised_and_ends_in_one_table(release, tmp_path, capsys):
    root = trees.TREES[release](tmp_path / "data")
    rows, problems = check(root, tmp_path / "out", folds=2, test_fraction=0.25)
    assert {row["release"] for row in rows} == {release}
    assert f"read as {release}: " in capsys.readouterr().out
    assert ",".join(rows[0]) == "cohort,case,patient,release,split,fold,t1,t1ce,t2,flair,seg,sha256"
    assert not [problem for problem in problems if problem["severity"] == "error"]
    for row in rows:
        volumes = [image_of(row[modality]).get_fdata() for modality in ("t1", "t1ce", "t2", "flair")]
        assert len({volume.tobytes() for volume in volumes}) == 4
        values = set(np.unique(load_volume(row["seg"])[0]).tolist())
        assert values == set(labels_of(release))
    assert {row["split"] for row in rows} == {"train", "test"}


@pytest.mark.parametrize("release", ["brats2018", "brats2021", "brats2023-gli", "msd-task01"])
def test_a_release_is_found_from_the_folder_above(release, tmp_path):
    trees.TREES[release](tmp_path / "data" / "unpacked")
    assert find_cases(tmp_path / "data").cases


def test_modalities_are_told_apart_by_their_suffix(tmp_path):
    root = trees.brats2023(tmp_path / "data", 1)
    files = find_cases(root).cases[0].files
    assert {column: Path(file).name.rsplit("-", 1)[1] for column, file in files.items()} == {
        "t1": "t1n.nii.gz", "t1ce": "t1c.nii.gz", "t2": "t2w.nii.gz", "flair": "t2f.nii.gz", "seg": "seg.nii.gz",
    }  # fmt: skip


def test_msd_channels_follow_dataset_json(tmp_path):
    root = trees.msd(tmp_path / "data", 1)
    four = nibabel.load(root / "imagesTr" / "BRATS_001.nii.gz").get_fdata()
    rows, problems = check(root, tmp_path / "out", folds=0, test_fraction=0)
    for column, channel in {"flair": 0, "t1": 1, "t1ce": 2, "t2": 3}.items():
        assert rows[0][column].endswith(f"#{channel}")
        volume, affine = load_volume(rows[0][column])
        assert np.array_equal(volume, four[..., channel])
        assert np.array_equal(affine, trees.LPS)
    assert [row["problem"] for row in problems] == ["left out: 2 cases that the release ships without a segmentation"]


def test_case_355_of_2020_has_its_segmentation(tmp_path):
    root = trees.brats2020(tmp_path / "data", 2, first=354)
    rows, problems = check(root, tmp_path / "out", folds=0, test_fraction=0)
    assert rows[1]["seg"].endswith("W39_1998.09.19_Segm.nii")
    assert [(row["case"], row["severity"]) for row in problems] == [("BraTS20_Training_355", "warning")]


def test_grades_come_from_folders_or_from_name_mapping(tmp_path):
    old = find_cases(trees.brats2018(tmp_path / "old")).cases
    assert {case.name.split("_")[1]: case.grade for case in old} == {
        "TCIA00": "LGG", "TCIA01": "HGG", "TCIA02": "LGG", "TCIA03": "HGG",
    }  # fmt: skip
    root = trees.brats2020(tmp_path / "new", 2)
    (root / "name_mapping.csv").write_text(
        "Grade,BraTS_2017_subject_ID,BraTS_2020_subject_ID\nLGG,NA,BraTS20_Training_001\n"
    )
    assert [case.grade for case in find_cases(root).cases] == ["LGG", ""]


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("Brats18_TCIA02_179_1", "Brats18_TCIA02_179"),
        ("BraTS19_CBICA_AAB_1", "BraTS19_CBICA_AAB"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("BraTS2021_00410", "BraTS2021_00410"),
        ("BraTS-GLI-00005-101", "BraTS-GLI-00005"),
    ],
)
def test_a_patient_is_the_name_without_the_visit(name, patient):
    assert patient_of(name) == patient


def gli(root, visit, labels):
    trees.write_case(root / f"BraTS-GLI-00001-{visit}", 1, trees.GLI, (1, 2, 3), "-")
    trees.write_case(root / f"BraTS-GLI-00002-{visit}", 2, trees.GLI, labels, "-")
    return root


@pytest.mark.parametrize(
    ("visit", "labels", "release"),
    [
        ("000", (1, 2, 3), "brats2023-gli"),
        ("001", (), "brats2023-gli"),
        ("000", (1, 2, 3, 4), "brats2024-gli"),
        ("000", (4,), "brats2024-gli"),
        ("100", (1, 2), "brats2024-gli"),
    ],
)
def test_2023_and_2024_are_told_apart_by_visits_and_labels(visit, labels, release, tmp_path):
    rows, _ = check(gli(tmp_path / "data", visit, labels), tmp_path / "out", folds=0, test_fraction=0)
    assert {row["release"] for row in rows} == {release}


def test_what_visits_and_labels_leave_open_must_be_named(tmp_path):
    root = tmp_path / "data"
    trees.write_case(root / "BraTS-GLI-00001-000", 1, trees.GLI, (1, 2, 4), "-")
    with pytest.raises(UserError, match="a cavity as in 2024, or ET as until 2021"):
        check(root, tmp_path / "out", test_fraction=0)
    rows, _ = check(root, tmp_path / "out", release="brats2021", test_fraction=0)
    assert rows[0]["release"] == "brats2021"
    (root / "BraTS-GLI-00001-000" / "BraTS-GLI-00001-000-seg.nii.gz").unlink()
    with pytest.raises(UserError, match="without a segmentation fit both 2023 and 2024"):
        check(root, tmp_path / "out", predict_unlabelled=True)


def test_release_overrides_names(tmp_path):
    trees.write_case(tmp_path / "data" / "case 1", 1, labels=(1, 2, 3))
    with pytest.raises(UserError, match="no release is known by names such as 'case 1'"):
        check(tmp_path / "data", tmp_path / "out")
    rows, _ = check(tmp_path / "data", tmp_path / "out", release="brats2023-gli", test_fraction=0)
    assert (rows[0]["case"], rows[0]["release"]) == ("case 1", "brats2023-gli")


def test_a_table_carries_its_own_labels_and_strange_names(tmp_path):
    root = trees.table(tmp_path / "data", release="brats2024-gli", labels=(1, 2, 3, 4))
    rows, _ = check(root / "cases.csv", tmp_path / "out", folds=0, test_fraction=0)
    assert {row["release"] for row in rows} == {"brats2024-gli"}
    assert {"visit 0; touch x", "Möller-1"} <= {row["case"] for row in rows}
    assert {row["patient"] for row in rows} == {"p0", "p1"}
    assert {row["cohort"] for row in rows} == {"data"}


def test_paths_stay_relative_where_the_path_given_is(tmp_path, monkeypatch):
    trees.brats2021(tmp_path / "data")
    trees.table(tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    for root in ("data", "own/cases.csv"):
        rows, _ = check(root, "out", folds=0)
        assert all(not Path(row["t1"]).is_absolute() and Path(row["t1"]).is_file() for row in rows)
        rows, _ = check(tmp_path / root, "out", folds=0)
        assert all(Path(row["t1"]).is_absolute() for row in rows)


def test_cases_without_a_segmentation_are_predicted_when_asked(tmp_path):
    root = trees.brats2021(tmp_path / "data", 3)
    trees.write_case(root / "BraTS2021_00009", 9, labels=None)
    with pytest.raises(UserError, match="has no segmentation"):
        check(root, tmp_path / "out")
    rows, _ = check(root, tmp_path / "out", predict_unlabelled=True, folds=0)
    assert rows[-1]["split"] == "predict_only"
    assert rows[-1]["seg"] == rows[-1]["fold"] == ""
    rows, _ = check(trees.msd(tmp_path / "msd"), tmp_path / "out", predict_unlabelled=True, folds=0)
    assert [row["split"] for row in rows].count("predict_only") == 2


def test_a_validation_part_is_left_out_unless_its_prediction_is_asked(tmp_path):
    root = trees.brats2020(tmp_path / "data", 2)
    trees.write_case(root / "BraTS20_Validation_001", 9, labels=None)
    rows, problems = check(root, tmp_path / "out", folds=0, test_fraction=0)
    assert [row["split"] for row in rows] == ["train", "train"]
    assert "left out: 1 case that the release ships without a segmentation" in problems[0]["problem"]
    rows, problems = check(root, tmp_path / "out", folds=0, test_fraction=0, predict_unlabelled=True)
    assert [row["split"] for row in rows] == ["train", "train", "predict_only"]
    assert problems == []


@pytest.mark.parametrize("release", RELEASES)
def test_labels_go_in_and_come_back(release):
    inside, back = to_internal(release), from_internal(release)
    kept = {label for label, internal in inside.items() if internal}
    assert {back[inside[label]] for label in kept} == kept
    assert {inside[label] for label in regions_of(release)["ET"]} == {3}
    assert {inside[label] for label in regions_of(release)["TC"]} == {2, 3}
    assert {inside[label] for label in regions_of(release)["WT"]} == {1, 2, 3}
    assert tuple(regions_of(release)) == REGIONS


def test_2023_and_msd_have_1_and_2_swapped_and_the_cavity_lies_outside():
    assert regions_of("brats2023-gli")["TC"] == (1, 3)
    assert regions_of("msd-task01")["TC"] == (2, 3)
    assert to_internal("brats2024-gli")[4] == 0
    assert 4 not in from_internal("brats2024-gli").values()
    with pytest.raises(UserError, match="did you mean 'brats2021'"):
        to_internal("brats2012")


def test_the_real_sample_is_two_to_train_and_one_to_test(brats_sample, tmp_path):
    rows, problems = check(brats_sample, tmp_path / "out")
    assert sorted(row["split"] for row in rows) == ["test", "train", "train"]
    assert {row["release"] for row in rows} == {"brats2021"}
    assert [row["severity"] for row in problems] == ["warning"]  # too few for 5 folds
    assert "too few patients for 5 folds" in problems[0]["problem"]


def test_the_command_line_says_what_is_wrong_and_exits_1(tmp_path):
    root, command = trees.brats2021(tmp_path / "data"), ("cohort", "check", "data", "--out", "out")
    good = crossmodal(tmp_path, *command, "--name", "mine", "--folds", 2)
    assert good.returncode == 0, good.stderr
    assert read(tmp_path / "out" / "cases.csv")[0]["cohort"] == "mine"
    (root / "BraTS2021_00001" / "BraTS2021_00001_t1.nii.gz").unlink()
    bad = crossmodal(tmp_path, *command)
    assert bad.returncode == 1
    assert "has no t1" in bad.stderr
    assert "Traceback" not in bad.stderr
    assert not (tmp_path / "out" / "cases.csv").exists()
    skipped = crossmodal(tmp_path, *command, "--on-problem", "skip")
    assert skipped.returncode == 0, skipped.stderr
    assert len(read(tmp_path / "out" / "cases.csv")) == 3


def test_headers_of_full_size_cases_are_read_at_20_cases_a_second(tmp_path):
    case = tmp_path / "data" / "BraTS2021_00000"
    for suffix in (*trees.BRATS, "seg"):
        trees.write(case / f"{case.name}_{suffix}.nii.gz", np.zeros((240, 240, 155), np.int16))
    for k in range(1, 100):
        (copy := tmp_path / "data" / f"BraTS2021_{k:05d}").mkdir()
        for file in case.iterdir():
            (copy / file.name.replace(case.name, copy.name)).hardlink_to(file)
    start = time.monotonic()
    check_cohort(tmp_path / "data", tmp_path / "out", Options(headers_only=True))
    assert 100 / (time.monotonic() - start) > 20
    assert not (tmp_path / "out" / "cases.csv").exists()
