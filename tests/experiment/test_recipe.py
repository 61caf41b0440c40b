"""Recipes: what is read, what is overridden, who teaches whom, and each wrong one with its message."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from crossmodal.domain import ALL
from crossmodal.errors import UserError
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.recipe import Recipe

SMALL = {"title": "t", "source": "ours"}
TEACHER = {"trained": "beforehand", "sees": "all"}
TERM = {"at": "bottleneck", "loss": "mse"}


def recipe_of(method: str, **overrides: Any) -> Recipe:
    """A recipe of the library, with dotted overrides written with __ for dots."""
    return recipes.load(method, overrides={key.replace("__", "."): value for key, value in overrides.items()})


def written(folder: Path, name: str = "mine", **fields: Any) -> Path:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(SMALL | fields))
    return folder


@pytest.mark.parametrize("method", recipes.known_methods())
def test_every_recipe_of_the_workflow_is_sound_and_names_its_source(method: str) -> None:
    recipe = recipe_of(method)
    assert recipe.source
    recipe.check_taps(3, method)  # the smoke budget's network, the smallest
    if recipe.distill or recipe.uses_ground_truth:
        assert recipe.choices or method == "dong2025_teacher", "what is ours must be marked as ours"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"teacher": TEACHER, "distill": [TERM | {"at": "botleneck"}]}, "did you mean 'bottleneck'"),
        ({"teacher": TEACHER, "distill": [TERM | {"at": "encoder"}]}, "unknown tap 'encoder'"),
        ({"teacher": TEACHER, "distill": [TERM | {"loss": "barlow_twin"}]}, "did you mean 'barlow_twins'"),
        ({"teacher": TEACHER, "distill": [TERM | {"weight": -1}]}, "distill.0.weight"),
        ({"teacher": TEACHER, "distill": [TERM | {"loss": "barlow_twins", "projector": "x"}]}, "type integer or null"),
        ({"teacher": TEACHER, "distill": [TERM | {"temperature": 2}]}, "has no option 'temperature'"),
        ({"teacher": TEACHER, "distill": [TERM | {"weigth": 2}]}, "did you mean 'weight'"),
        ({"teacher": {"trained": "before"}, "distill": [TERM]}, "did you mean 'beforehand'"),
        ({"teacher": {"trained": "beforehand", "see": "all"}, "distill": [TERM]}, "did you mean 'sees'"),
        ({"distill": [TERM]}, "needs a 'teacher'"),
        ({"teacher": TEACHER}, "nothing to teach"),
        ({"teachr": TEACHER}, "did you mean 'teacher'"),
        ({"teacher": TEACHER, "distill": TERM}, "should be of type array"),
        ({"update": "successive"}, "'update: successive' needs a teacher that is trained jointly"),
        ({"stop_gradient": "teacher", "teacher": TEACHER, "distill": [TERM]}, "a teacher that is trained jointly"),
        ({"teacher": {"trained": "itself"}, "distill": [TERM]}, "modalities: any"),
        ({"teacher": {"trained": "jointly", "method": "student"}, "distill": [TERM]}, "no 'method' of its own"),
        ({"seg_weight": -0.1}, "seg_weight"),
        ({"source": 7}, "'source' should be of type string"),
    ],
)
def test_a_wrong_recipe_says_so(tmp_path: Path, fields: dict, message: str) -> None:
    folder = written(tmp_path, **fields)
    with pytest.raises(UserError) as error:
        recipes.load("mine", [folder])
    assert message in str(error.value)
    assert "mine.yaml" in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "- a list", "text", "", "title: only"])
def test_a_file_that_is_no_recipe_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=r"mine\.yaml"):
        recipes.load("mine", [tmp_path])


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'choi2023'"):
        recipe_of("choi2032")


def test_a_tap_that_the_network_has_not() -> None:
    recipe = recipe_of("romero2015", distill__0__at="encoder.3")
    recipe.check_taps(4, "x")
    with pytest.raises(UserError, match=r"its encoder has the stages 0 to 2"):
        recipe.check_taps(3, "x")
    with pytest.raises(UserError, match=r"its decoder has the stages 0 to 1"):
        recipe_of("romero2015", distill__0__at="decoder.2").check_taps(3, "x")


def test_teachers_that_are_no_methods_or_form_a_circle(tmp_path: Path) -> None:
    written(tmp_path, "a", teacher=TEACHER | {"method": "b"}, distill=[TERM])
    written(tmp_path, "b", teacher=TEACHER | {"method": "a"}, distill=[TERM])
    written(tmp_path, "c", teacher=TEACHER | {"method": "techer"}, distill=[TERM])
    with pytest.raises(UserError, match="circle: a -> b -> a"):
        recipes.load_all(["a"], [tmp_path])
    with pytest.raises(UserError, match="did you mean 'teacher'"):
        recipes.load_all(["c"], [tmp_path])
    written(tmp_path, "d", teacher=TEACHER | {"sees": "same"}, distill=[TERM])
    with pytest.raises(UserError, match="always trained on all four"):
        recipes.load_all(["d"], [tmp_path])


def test_overrides_reach_any_field() -> None:
    recipe = recipe_of("choi2023", distill__0__weight="2", teacher__sees="same", update="successive")
    assert (recipe.distill[0].weight, recipe.teacher.sees, recipe.update) == (2, "same", "successive")
    with pytest.raises(UserError, match="count a list's entries from 0"):
        recipe_of("choi2023", distill__1=TERM)


def test_who_must_be_trained_first() -> None:
    assert recipe_of("choi2023").teacher_before("t2") is None
    assert recipe_of("hinton2015").teacher_before("t2") == ("teacher", ALL)
    assert recipe_of("dong2025").teacher_before("t2") == ("dong2025_teacher", "t2")
    assert recipe_of("dong2025_crossmodal").teacher_before("t2") == ("dong2025_teacher", ALL)
