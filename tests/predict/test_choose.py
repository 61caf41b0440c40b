"""Which of an experiment's networks segments a patient, and the reason that is given."""

import json
from pathlib import Path

import pytest

from crossmodal.domain import ALL
from crossmodal.errors import UserError
from crossmodal.predict.choose import Networks
from tests.predict.experiments import network, study, validated


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study(tmp_path_factory.mktemp("experiment"))


def test_the_best_validated_network_of_exactly_these_sequences(experiment: Path) -> None:
    choice = Networks(experiment).choose("t1ce+flair")
    assert choice.method == "choi2023" and choice.modalities == ("t1ce", "flair")
    assert choice.folders == (experiment / "models/choi2023/t1ce+flair/seed0",) and choice.folds == (0,)
    assert "best validated" in choice.why and "T1ce + FLAIR" in choice.why
    assert "mean Dice over WT, TC and ET 0.850 (0.8" in choice.why and "n = 6 patients" in choice.why


def test_a_network_of_the_subset_comes_before_one_of_any_sequences_that_scores_higher(experiment: Path) -> None:
    choice = Networks(experiment).choose("t2")
    assert choice.method == "student"
    assert "modality_dropout, for any sequences, has 0.750: --method takes it" in choice.why


@pytest.mark.parametrize(("subset", "validation"), [("flair", "0.720"), ("t1+t2", "not validated on these sequences")])
def test_without_a_student_a_network_of_any_sequences(experiment: Path, subset: str, validation: str) -> None:
    choice = Networks(experiment).choose(subset)
    assert choice.method == "modality_dropout" and choice.folders[0].parent.name == ALL
    assert "no network was trained for" in choice.why and validation in choice.why


def test_all_four_sequences_are_the_teachers(experiment: Path) -> None:
    assert Networks(experiment).choose(ALL).method == "teacher"


def test_a_network_that_reads_the_ground_truth_is_no_candidate(experiment: Path) -> None:
    assert [one.method for one in Networks(experiment).candidates("t1ce+flair")] == [
        "choi2023", "student", "modality_dropout"
    ]  # fmt: skip


def test_method_overrides(experiment: Path) -> None:
    choice = Networks(experiment, "student").choose("t1ce+flair")
    assert choice.method == "student" and "as --method says" in choice.why and "0.800" in choice.why


def test_ensemble_takes_all_seeds_and_folds(experiment: Path) -> None:
    choice = Networks(experiment, ensemble=True).choose("t1ce+flair")
    assert [folder.name for folder in choice.folders] == ["seed0", "seed1"] and choice.folds is None
    assert "2 networks averaged" in choice.why


def test_patients_of_several_trainings_count_once(tmp_path: Path) -> None:
    network(tmp_path, "student", "t2")
    validated(tmp_path, {("student", "t2"): 0.5})
    table = tmp_path / "tables" / "per_case.csv"
    header, *lines = table.read_text().splitlines()
    seed = header.split(",").index("seed")
    again = [",".join("1" if place == seed else cell for place, cell in enumerate(line.split(","))) for line in lines]
    table.write_text("\n".join([header, *lines, *again]) + "\n")
    (candidate,) = Networks(tmp_path).candidates("t2")
    assert candidate.n == 6 and candidate.dice == pytest.approx(0.5)


def test_one_network_without_a_table_is_taken_and_several_are_not(tmp_path: Path) -> None:
    network(tmp_path, "student", "t2")
    assert "the only network trained for T2; not validated" in Networks(tmp_path).choose("t2").why
    network(tmp_path, "choi2023", "t2")
    with pytest.raises(UserError, match=r"several networks take T2 \(choi2023, student\).*--method"):
        Networks(tmp_path).choose("t2")


def test_a_model_folder_is_taken_as_it_is(experiment: Path) -> None:
    folder = experiment / "models/student/t1ce+flair/seed1"
    choice = Networks(folder).choose("t1ce+flair")
    assert choice.folders == (folder,) and choice.folds is None and choice.method == "student"
    assert Networks(folder).choose(ALL).modalities == ("t1ce", "flair")


def test_the_shipped_network_is_the_default(experiment: Path) -> None:
    shipped = experiment / "models/modality_dropout" / ALL / "seed0"
    networks = Networks(None, shipped=shipped)
    assert networks.choose("t1").folders == (shipped,) and networks.axes == "LPS"
    assert "comes with Crossmodal" in networks.choose("t1").why


REFUSED = {
    "no shipped network": (None, {}, "t2", "this version ships no network: give --models"),
    "no such folder": ("missing", {}, "t2", "there is no such folder"),
    "no network": ("tables", {}, "t2", "is neither a model folder .* nor an experiment"),
    "unknown method": (".", {"method": "choi2032"}, "t2", "has no network of it; did you mean 'choi2023'"),
    "method of other sequences": (".", {"method": "choi2023"}, "t2", "no network of it for T2; there are student"),
    "method of a model folder": ("models/student/t2/seed0", {"method": "student"}, "t2", "is for an experiment"),
    "sequences that are missing": ("models/student/t1ce+flair/seed0", {}, "t1ce", "missing flair"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str, experiment: Path, tmp_path: Path) -> None:
    models, options, subset, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        Networks(models and experiment / models, **options, shipped=tmp_path).choose(subset)


def test_no_network_for_these_sequences_names_those_that_there_are(tmp_path: Path) -> None:
    network(tmp_path, "student", "t2")
    with pytest.raises(UserError, match="has no network for FLAIR, and none that takes any sequences; it has: t2"):
        Networks(tmp_path).choose("flair")


def test_axes_of_the_training_images(experiment: Path, tmp_path: Path, tiny_cases: Path) -> None:
    assert Networks(experiment).axes is None
    folder = network(tmp_path, "student", "t2")
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "cases.csv").write_text(tiny_cases.read_text())
    assert Networks(tmp_path).axes == Networks(folder).axes == "LPS"
    assert json.loads((folder / "dataset.json").read_text())["channel_names"] == {"0": "T2"}
