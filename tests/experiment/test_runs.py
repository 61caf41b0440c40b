"""Which trainings, predictions and roles follow from recipes, and that names decide nothing."""

from pathlib import Path

import pytest
import yaml

from crossmodal.domain import ALL
from crossmodal.experiment import layout
from crossmodal.experiment.config import Resolved, resolve
from crossmodal.experiment.layout import Prediction, Training, trainings_in
from crossmodal.experiment.runs import Roles, predictions, trainings


@pytest.fixture
def config(tmp_path: Path) -> Resolved:
    """An experiment with a second method that always sees all four sequences."""
    big = {"title": "Big", "source": "ours", "role": "teacher", "modalities": "all"}
    (tmp_path / "big_teacher.yaml").write_text(yaml.safe_dump(big))
    methods = ["teacher", "big_teacher", "hinton2015", "student", "modality_dropout"]
    return resolve({"methods": methods, "methods_folder": str(tmp_path), "subsets": ["t1", "t2"], "seeds": [0, 1]})


def test_trainings_come_after_their_teachers_and_none_twice(config: Resolved) -> None:
    found = trainings(config)
    order = list(found)
    for training, teacher in found.items():
        assert teacher is None or order.index(teacher) < order.index(training)
    assert {found[Training("hinton2015", "t1", 1, 0)], found[Training("hinton2015", "t2", 1, 0)]} == {
        Training("teacher", ALL, 1, 0)
    }
    count = {method: sum(one.method == method for one in found) for method in config.methods}
    assert count == {"teacher": 2, "big_teacher": 2, "hinton2015": 4, "student": 4, "modality_dropout": 2}


def test_every_prediction_has_its_training(config: Resolved) -> None:
    found = predictions(config)
    trained = {one: config.recipes[one.method].trained_modalities(one.modalities) for one in found}
    needed = {Training(one.method, modalities, one.seed, one.fold) for one, modalities in trained.items()}
    assert needed == set(trainings(config))
    by_method = {method: sorted({one.modalities for one in found if one.method == method}) for method in config.methods}
    assert by_method["big_teacher"] == by_method["teacher"] == [ALL]
    assert by_method["modality_dropout"] == by_method["student"] == ["t1", "t2"]
    assert trained[Prediction("phantom-a", "modality_dropout", "t2", 1, 0)] == ALL


def test_a_network_for_any_subset_can_be_scored_on_more_of_them(config: Resolved) -> None:
    more = config.model_copy(update={"any_subsets": ["t1", "t1ce+flair"]})
    assert trainings(more) == trainings(config), "no other training"
    by_method = {
        method: {one.modalities for one in predictions(more) if one.method == method} for method in more.methods
    }
    assert by_method["modality_dropout"] == {"t1", "t1ce+flair"}
    assert by_method["student"] == by_method["hinton2015"] == {"t1", "t2"} and by_method["teacher"] == {ALL}


def test_roles_follow_from_the_recipe_and_not_from_the_name(config: Resolved) -> None:
    roles = Roles.of(config)
    assert roles.methods == ["student", "hinton2015", "modality_dropout", "big_teacher", "teacher"]
    assert roles.upper_bounds == ["big_teacher", "teacher"]
    assert roles.compared == ["hinton2015", "modality_dropout"]
    assert roles.row_subset("big_teacher", "t1") == ALL and roles.row_subset("student", "t1") == "t1"
    assert roles.subsets([("teacher", ALL), ("big_teacher", ALL), ("student", "t2"), ("hinton2015", "t2")]) == ["t2"]
    assert Roles(["teacher", "student"]).upper_bounds == ["teacher"], "without recipes"


def test_folders_are_read_as_they_are_written(tmp_path: Path) -> None:
    wanted = [Training("student", "t1ce+flair", 0, 1), Training("teacher", ALL, 2, 0)]
    for training in reversed(wanted):
        (tmp_path / training.path(layout.MANIFEST)).parent.mkdir(parents=True)
    (tmp_path / "models" / "student" / "t1" / "seedx" / "fold_0").mkdir(parents=True)
    found = dict(trainings_in(tmp_path / "models"))
    assert list(found) == wanted
    assert found[wanted[0]] == tmp_path / "models/student/t1ce+flair/seed0/fold_1"
