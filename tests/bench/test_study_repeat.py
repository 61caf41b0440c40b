"""Trainings of the study that are made again: which, with what config, and how the comparison tells."""

import numpy as np
import pandas as pd
import pytest
import study
import study_repeat

from crossmodal.evaluate.shards import SCORES
from crossmodal.experiment.config import resolve
from crossmodal.experiment.layout import Training
from crossmodal.experiment.runs import trainings
from tests.conftest import REPOSITORY

DRAWN = study_repeat.scored(study_repeat.INTO)


def test_the_trainings_that_can_be_drawn_are_those_that_are_scored() -> None:
    keys = ["method", "modalities", "seed", "fold"]
    tables = [pd.read_csv(folder / SCORES)[keys] for folder in {one.shard for one in DRAWN}]
    of_scores = set(pd.concat(tables).itertuples(index=False, name=None))
    of_given = {key for key in of_scores if not key[0].startswith("modality_dropout")}
    drawn = [tuple(vars(one.training).values()) for one in DRAWN]
    assert len(drawn) == len(set(drawn)) and of_given <= set(drawn)
    assert {key[0] for key in drawn} == {key[0] for key in of_scores}


@pytest.mark.parametrize("method", [method for part in study.PARTS for method in part])
def test_a_config_makes_the_training_of_the_study(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    part = next(number for number, methods in enumerate(study.PARTS, 1) if method in methods)
    of_part = resolve(study.part_config(0, part), check_paths=False)
    for one in trainings(of_part):
        if one.method == method:
            alone = resolve(study_repeat.config_of(one), check_paths=False)
            of_method = [training for training in trainings(alone) if training.method == method]
            assert of_method == [one]
            assert alone.recipes[method] == of_part.recipes[method]
            assert alone.budget_settings == of_part.budget_settings


def test_no_two_repeats_share_a_folder() -> None:
    made = [Training("student", subset, seed, 0) for subset in ("t1", "t1ce+flair") for seed in (3, 4)]
    assert len({study_repeat.config_of(one)["experiment"] for one in made}) == len(made)


def test_the_comparison_tells_equal_from_other_scores() -> None:
    drawn = DRAWN[0]
    table = pd.read_csv(drawn.shard / SCORES)
    one = drawn.training
    again = table[(table["method"] == one.method) & (table["modalities"] == one.modalities)].copy()
    *_, weights, scores, equal, largest, mean = study_repeat.compared(drawn, again, drawn.weights)
    assert (weights, scores, equal, largest) == ("the same", str(len(again)), str(len(again)), "0.0000")
    again["dice"] += np.where(np.arange(len(again)) < 10, 0.02, 0)
    *_, weights, scores, equal, largest, mean = study_repeat.compared(drawn, again, "0")
    assert (weights, equal, largest) == ("others", str(len(again) - 10), "0.0200")
    assert mean == f"+{0.2 / len(again):.4f}"


def test_a_repeat_of_other_cases_is_no_repeat() -> None:
    table = pd.read_csv(DRAWN[0].shard / SCORES)
    with pytest.raises(SystemExit, match="other cases"):
        study_repeat.compared(DRAWN[0], table.assign(case="unknown"), "0")
    with pytest.raises(SystemExit, match="other cases"):
        study_repeat.compared(DRAWN[0], table[:0], "0")
