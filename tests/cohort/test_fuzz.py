"""Damaged bytes: never a traceback, never a hang, and never silently accepted.

A damaged file may pass without a word only if nibabel and SimpleITK, the two readers that later steps use, still read
from it exactly what was in it before the damage.
"""

import gzip
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cohort_trees as trees
import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crossmodal.cohort.cases import Case
from crossmodal.cohort.checks import check_labels, examine_headers, examine_voxels
from crossmodal.cohort.msd import read_msd
from crossmodal.cohort.table import read_table
from crossmodal.domain import MODALITIES
from crossmodal.errors import UserError

# The same examples each time: whoever changes something else should not meet a new find. More: raise max_examples.
EVERYTHING = settings(
    max_examples=250,
    derandomize=True,
    deadline=20_000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)


def problems_of(case: Case) -> list:
    """All problems of a case, by the steps that `cohort check` takes."""
    case = replace(case, problems=[], headers={}, images={}, labels=None, hashes={})
    examine_headers(case)
    examine_voxels(case)
    check_labels(case)
    return case.problems


def case_in(folder: Path, ending: str) -> Case:
    for number, modality in enumerate(MODALITIES):
        trees.write(folder / f"{modality}{ending}", trees.image(number))
    trees.write(folder / f"seg{ending}", trees.segmentation((1, 2, 4)))
    files = {column: str(folder / f"{column}{ending}") for column in (*MODALITIES, "seg")}
    case = Case("case", "case", "brats2021", files)
    assert problems_of(case) == []
    return case


def read_by_nibabel(path: Path):
    image = nibabel.load(path)
    return np.asarray(image.get_fdata()), image.affine


def read_by_simpleitk(path: Path):
    image = SimpleITK.ReadImage(str(path))
    place = (image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return SimpleITK.GetArrayFromImage(image).astype(float), np.concatenate(place)


def reads_the_same(path: Path, before) -> bool:
    now = read_by_nibabel(path), read_by_simpleitk(path)
    return all(
        np.array_equal(voxels, voxels_now) and np.allclose(place, place_now, atol=2e-2)
        for (voxels, place), (voxels_now, place_now) in zip(before, now, strict=True)
    )


@st.composite
def damage(draw, size: int, upto: int):
    """Bytes to overwrite, within the first `upto`, and where to cut a file of `size` bytes (or None)."""
    kind = draw(st.sampled_from(["bit", "byte", "field", "block", "cut"]))
    if kind == "cut":
        return [], draw(st.integers(0, size - 1))
    start = draw(st.integers(0, upto - 1))
    if kind == "bit":
        return [(start, None, 1 << draw(st.integers(0, 7)))], None
    length = {"byte": 1, "field": 4, "block": draw(st.integers(2, 60))}[kind]
    return [(start + k, draw(st.integers(0, 255)), 0) for k in range(min(length, upto - start))], None


def apply(content: bytes, wounds, cut) -> bytes:
    content = bytearray(content)
    for where, value, flip in wounds:
        content[where] = content[where] ^ flip if value is None else value
    return bytes(content if cut is None else content[:cut])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return case_in(tmp_path_factory.mktemp("plain"), ".nii")


@pytest.fixture(scope="module")
def zipped(tmp_path_factory):
    return case_in(tmp_path_factory.mktemp("zipped"), ".nii.gz")


@contextmanager
def holding(case: Case, column: str, content: bytes):
    """Put other bytes in a file for a while."""
    path = Path(case.files[column])
    sound = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(sound)


@pytest.mark.parametrize("what", ["header", "gzip file", "header inside a sound gzip file"])
@EVERYTHING
@given(data=st.data(), column=st.sampled_from(["t1", "seg"]))
def test_damage_is_noticed_or_harmless(what, plain, zipped, data, column):
    case = plain if what == "header" else zipped
    path = Path(case.files[column])
    before = read_by_nibabel(path), read_by_simpleitk(path)
    content = path.read_bytes()
    if "inside" in what:
        content = gzip.decompress(content)
    damaged = apply(content, *data.draw(damage(len(content), upto=352 if "header" in what else len(content))))
    with holding(case, column, gzip.compress(damaged, 1) if "inside" in what else damaged):
        problems = problems_of(case)
        assert all(problem.problem and problem.remedy for problem in problems)
        assert problems or reads_the_same(path, before), "accepted without a word, and reads differently"


@EVERYTHING
@given(st.data())
def test_damaged_labels_are_unknown_labels_or_legal_ones(plain, data):
    """Voxels of an uncompressed file carry no checksum: only what they cannot be is noticed."""
    content = Path(plain.files["seg"]).read_bytes()
    where = data.draw(st.integers(352, len(content) - 1))
    value = data.draw(st.integers(0, 255))
    with holding(plain, "seg", apply(content, [(where, value, 0)], None)):
        assert bool(problems_of(plain)) == (value not in (0, 1, 2, 4))


@EVERYTHING
@given(st.binary(max_size=2000))
def test_any_bytes_are_an_error_and_not_a_traceback(zipped, plain, content):
    for case, damaged in ((zipped, content), (zipped, gzip.compress(content)), (plain, content)):
        with holding(case, "flair", damaged):
            assert [problem for problem in problems_of(case) if problem.severity == "error"]


def test_a_gzip_bomb_is_cut_short(zipped):
    sound = gzip.decompress(Path(zipped.files["t1"]).read_bytes())
    done = []
    with holding(zipped, "t1", gzip.compress(sound + bytes(300_000_000), 9)):
        worker = threading.Thread(target=lambda: done.append(problems_of(zipped)), daemon=True)
        worker.start()
        worker.join(timeout=20)
    assert "is longer than its header says" in done[0][0].problem


@EVERYTHING
@given(st.text(max_size=300), st.booleans())
def test_any_text_is_a_table_or_a_readable_error(tmp_path, text, with_header):
    path = tmp_path / "cases.csv"
    path.write_text("case,t1,t1ce,t2,flair,seg\n" * with_header + text, encoding="utf-8", errors="replace")
    try:
        found = read_table(path)
    except UserError:
        return
    problems = found.problems + [row for case in found.cases for row in case.problems + problems_of(case)]
    assert [row for row in problems if row.severity == "error"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)


@EVERYTHING
@given(st.dictionaries(st.sampled_from(["modality", "labels", "training", "name"]), json_values))
@example({"training": True})
def test_any_dataset_json_is_read_or_a_readable_error(tmp_path_factory, description):
    root = tmp_path_factory.getbasetemp() / "Task01"
    if not root.exists():
        trees.msd(root, 1, 0)
        (root / "sound.json").write_text((root / "dataset.json").read_text())
    sound = json.loads((root / "sound.json").read_text())
    (root / "dataset.json").write_text(json.dumps(sound | description))
    try:
        read_msd(root)
    except UserError as error:
        assert "dataset.json" in str(error)
