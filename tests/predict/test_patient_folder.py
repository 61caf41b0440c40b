"""A folder of patients: each with its own sequences, bad ones beside good ones, and resumed after a kill."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from crossmodal.domain import MODALITIES, all_subsets, parse_subset, regions_of
from crossmodal.errors import UserError
from crossmodal.predict.choose import Networks
from crossmodal.predict.find import find_patients
from crossmodal.predict.patients import DONE, FAILED, segment_folder, summary
from crossmodal.predict.segment import Segmenter, Wanted
from tests.cohort.cohort_trees import TREES
from tests.train.trainings import Killed, cut_off_at

CPU = torch.device("cpu")


@pytest.fixture
def segmenter(any_subset: Path) -> Segmenter:
    return Segmenter(Networks(None, shipped=any_subset), CPU)


@pytest.fixture
def ten(tiny_cases: Path, tmp_path: Path) -> Path:
    """Ten patients with a subset of sequences each; three of them cannot be segmented."""
    phantoms = sorted(path for path in (tiny_cases.parent / "phantoms").iterdir() if path.is_dir())
    root = tmp_path / "patients"
    for number, subset in enumerate(all_subsets()[2:12]):
        phantom = phantoms[number % len(phantoms)]
        folder = root / f"BraTS2021_{number:05d}"
        folder.mkdir(parents=True)
        for name in parse_subset(subset):
            shutil.copy(phantom / f"{phantom.name}_{name}.nii", folder / f"{folder.name}_{name}.nii")
    (file,) = (root / "BraTS2021_00001").glob("*.nii")  # FLAIR alone
    file.write_bytes(file.read_bytes()[:5000])
    second = max((root / "BraTS2021_00004").glob("*.nii"))
    image = nib.load(second)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:-2].copy(), image.affine), second)
    for file in (root / "BraTS2021_00007").glob("*.nii"):
        file.unlink()
    (root / "BraTS2021_00007" / "IM0001").write_bytes(bytes(128) + b"DICM")
    return root


def table(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "patients.csv").open(newline="", encoding="utf-8")))


def test_three_bad_patients_do_not_stop_seven_others(ten: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = segment_folder(ten, out, segmenter)
    assert table(out) == [dict.fromkeys(table(out)[0], "") | row for row in rows]
    failed = {row["case"]: row["error"] for row in rows if row["status"] == FAILED}
    assert list(failed) == ["BraTS2021_00001", "BraTS2021_00004", "BraTS2021_00007"]
    for error, part in zip(failed.values(), ("truncated", "another grid", "DICOM files; convert"), strict=True):
        assert part in error
    done = [row for row in rows if row["status"] == DONE]
    assert len(done) == 7 and {row["sequences"] for row in done} < set(all_subsets())
    for row in done:
        labels = np.asarray(nib.load(out / f"{row['case']}.nii.gz").dataobj)
        record = json.loads((out / f"{row['case']}.json").read_text())
        assert set(np.unique(labels)) <= {0, 1, 2, 4}
        tumour_ml = np.isin(labels, regions_of("brats2021")["WT"]).sum() * 0.216
        assert float(row["WT_ml"]) == record["volumes_ml"]["WT"] == pytest.approx(tumour_ml, abs=1e-3)
        assert "+".join(record["sequences"]) == row["sequences"] and row["warnings"] == "; ".join(record["warnings"])
    with pytest.raises(
        UserError, match=r"3 of 10 patients were not segmented \(BraTS2021_00001, .*patients.csv says why"
    ):
        summary(rows, out)


def test_a_kill_loses_one_patient(
    ten: Path, segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tmp_path / "expected"
    segment_folder(ten, expected, segmenter)
    out = tmp_path / "out"
    put_back = cut_off_at(monkeypatch, Segmenter, "segment", 5)  # four of the ten are done or given up then
    with pytest.raises(Killed):
        segment_folder(ten, out, segmenter)
    put_back()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    assert len(before) == 3 and [row["status"] for row in table(out)].count("not yet") == 6
    segment_folder(ten, out, segmenter)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (out / "patients.csv").read_bytes() == (expected / "patients.csv").read_bytes()
    for path in expected.glob("*.nii.gz"):
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_what_changed_is_segmented_again(ten: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    for folder in sorted(ten.iterdir())[3:]:
        shutil.rmtree(folder)
    out = tmp_path / "out"
    segment_folder(ten, out, segmenter)

    def dates() -> list[int]:
        return [path.stat().st_mtime_ns for path in sorted(out.glob("*.nii.gz"))]

    first = dates()
    segment_folder(ten, out, segmenter)
    assert dates() == first
    shutil.copy(ten / "BraTS2021_00002/BraTS2021_00002_t1.nii", ten / "BraTS2021_00000/BraTS2021_00000_t1.nii")
    segment_folder(ten, out, segmenter)
    second = dates()
    assert [one != other for one, other in zip(first, second, strict=True)] == [True, False]
    segmenter.wanted = Wanted(release="brats2023-gli")
    segment_folder(ten, out, segmenter)
    assert all(one != other for one, other in zip(second, dates(), strict=True))
    (ten / "BraTS2021_00000/BraTS2021_00000_t1.nii").write_bytes(b"")
    segment_folder(ten, out, segmenter)
    assert not list(out.glob("BraTS2021_00000*")), "a segmentation of images that are gone"


@pytest.mark.parametrize("release", TREES)
def test_patients_are_found_in_every_layout_with_sequences_missing(release: str, tmp_path: Path) -> None:
    root = TREES[release](tmp_path / "release")
    if release != "msd-task01":
        for file in (
            root.rglob("*t1.nii*") if release == "table" else [*root.rglob("*_t1.nii*"), *root.rglob("*-t1n.nii*")]
        ):
            file.unlink()
    if release == "table":
        listed = (root / "cases.csv").read_text(encoding="utf-8").splitlines()
        header = listed[0].split(",")
        kept = [place for place, name in enumerate(header) if name not in ("t1", "seg")]
        lines = [",".join(line.split(",")[place] for place in kept) for line in listed]
        (root / "cases.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    cohort = find_patients(root)
    assert cohort.release == ("brats2021" if release == "table" else release)
    wanted = set(MODALITIES) if release == "msd-task01" else {"t1ce", "t2", "flair"}
    assert len(cohort.cases) >= 4
    for case in cohort.cases:
        assert set(case.files) - {"seg"} == wanted and case.problems == []


def test_folders_named_as_in_no_release_are_patients_too(tmp_path: Path, patient: dict[str, Path]) -> None:
    for name in ("anna", "bert"):
        (tmp_path / "p" / name).mkdir(parents=True)
        shutil.copy(patient["flair"], tmp_path / "p" / name / "flair.nii")
    cohort = find_patients(tmp_path / "p")
    assert [case.name for case in cohort.cases] == ["anna", "bert"] and cohort.release == "brats2021"
    assert [list(case.files) for case in cohort.cases] == [["flair"], ["flair"]]


def test_a_student_does_not_serve_patients_without_its_sequences(
    ten: Path, two_sequences: Path, tmp_path: Path
) -> None:
    rows = segment_folder(ten, tmp_path / "out", Segmenter(Networks(two_sequences), CPU))
    for row in rows:
        serves = {"t1ce", "flair"} <= set(row["sequences"].split("+"))
        assert serves == (row["status"] == DONE) or row["case"] == "BraTS2021_00004"
        assert serves or "missing" in row["error"] or row["error"]


def test_an_empty_folder_and_one_of_dicom_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p" / "anna").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no case of a known release"):
        find_patients(tmp_path / "p")
    (tmp_path / "p" / "anna" / "1.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(UserError, match=r"holds DICOM files and no NIfTI image; convert .* dcm2niix"):
        find_patients(tmp_path / "p")
