"""The reference study's controls that are no recipe, on networks of a few steps."""

from pathlib import Path

import numpy as np
import pytest
import study_controls
import torch
import yaml

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.domain import ALL
from crossmodal.experiment import layout
from crossmodal.experiment import recipe as recipes
from crossmodal.experiment.config import resolve
from crossmodal.experiment.layout import Training
from crossmodal.files import write_yaml
from crossmodal.nnunet.export import read_manifest
from crossmodal.nnunet.predict import Predictor
from crossmodal.train.job import TrainingJob, train
from tests.conftest import REPOSITORY, TINY_BUDGET

CONTROLS = REPOSITORY / "workflow" / "study_controls"


@pytest.fixture(scope="module")
def run(tiny_cases: Path, tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> study_controls.Run:
    """A finished run of seed 0 on T1: teacher, student and the student from other initial weights."""
    folder = tmp_path_factory.mktemp("study") / "seed0"
    (folder / "cohort").mkdir(parents=True)
    (folder / layout.CASES).write_bytes(tiny_cases.read_bytes())
    (folder / layout.DATASET).symlink_to(tiny_dataset)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY_BUDGET))
    methods = ["teacher", "student", "student_again"]
    given = {"methods": methods, "methods_folder": str(CONTROLS), "subsets": ["t1"]}
    config = resolve(given | {"budget": str(folder / "tiny.yaml"), "phantom": {"cases": 5, "spacing": 6, "seed": 7}})
    write_yaml(folder / "config.yaml", config.replaced(cohorts=["tiny"]).plain())
    for method in methods:
        recipe = recipes.load(method, [CONTROLS])
        subset = recipe.trained_modalities("t1")
        out = folder / Training(method, subset, 0, 0).path(layout.MODEL)
        train(TrainingJob(method, recipe, subset, 0, 0, config.budget_settings, tiny_dataset, out), torch.device("cpu"))
    return study_controls.Run(folder)


@pytest.fixture(autouse=True)
def only_t1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_controls, "SUBSETS", ("t1",))


def test_two_students_are_the_mean_of_both_outputs(run: study_controls.Run) -> None:
    rows = study_controls.two_students(run, 0)
    assert set(rows["modalities"]) == {"t1"} and set(rows["split"]) == {"test"} and len(rows) == 3
    folder = run.place / "two_students" / "t1" / "seed0"
    of_both = [read_manifest(run.model(m, "t1", 0) / "fold_0" / "manifest.json") for m in ("student", "student_again")]
    assert Predictor(folder, None, torch.device("cpu")).weights_sha256 == [one["weights_sha256"] for one in of_both]
    assert of_both[0]["weights_sha256"] != of_both[1]["weights_sha256"]
    # Sigmoid of the mean of the logits, where a single network's would be another.
    test = read_cases(run.experiment / layout.CASES).query("split == 'test'").iloc[0]
    outputs = []
    for model in (folder, *(run.model(method, "t1", 0) for method in ("student", "student_again"))):
        predictor = Predictor(model, None, torch.device("cpu"))
        volumes, properties = predictor.read({"t1": test["t1"]})
        outputs.append(predictor.segment_volumes(volumes, properties, probabilities=True)[:, volumes["t1"] != 0])
    logits = [np.log(one.astype(float) / (1 - one)) for one in outputs]
    np.testing.assert_allclose(logits[0], (logits[1] + logits[2]) / 2, atol=2e-3)
    assert np.abs(logits[1] - logits[2]).max() > 0.01


def test_a_student_is_given_the_teacher_s_outputs(run: study_controls.Run) -> None:
    rows = study_controls.with_logits(run, 0)
    assert set(rows["method"]) == {"student_with_logits"} and set(rows["modalities"]) == {"t1"}
    test = read_cases(run.experiment / layout.CASES).query("split == 'test'").iloc[0]
    teacher = Predictor(run.model("teacher", ALL, 0), [0], torch.device("cpu"))
    volumes, properties = teacher.read({name: test[name] for name in ("t1", "t1ce", "t2", "flair")})
    outputs = teacher.segment_volumes(volumes, properties, probabilities=True)
    reader = teacher.plans.image_reader_writer_class()
    for name, output in zip(("t1ce", "t2", "flair"), outputs, strict=True):
        file = run.place / "with_logits" / "seed0" / "images" / "tiny" / f"{test['case']}_{name}.nii"
        image = reader.read_images([str(file)])[0][0]
        brain = volumes["t1"] != 0
        assert brain.any() and (image[~brain] == 0).all()
        np.testing.assert_allclose(image[brain], 1 + 10_000 * output[brain], atol=1)
