"""The config: what is resolved, what is refused and how, and that nothing is inherited."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from crossmodal.errors import UserError
from crossmodal.experiment.budget import load_budget
from crossmodal.experiment.config import Config, Resolved, read_resolved, resolve
from crossmodal.experiment.recorded import refuse_drift, refuse_mixture
from tests.conftest import PAPERS, REPOSITORY


def resolved(**given: Any) -> Resolved:
    return resolve(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metods": ["student"]}, "unknown key 'metods': did you mean 'methods'?"),
        ({"methods": ["student", "choi2032"]}, "did you mean 'choi2023'?"),
        ({"methods": "techer"}, "did you mean 'teacher'?"),
        ({"methods": []}, "'methods'"),
        ({"methods": ["dong2025_teacher"]}, "reads the ground truth"),
        ({"subsets": "t1c"}, "did you mean 't1ce'?"),
        ({"subsets": "t1+t1"}, "repeats a modality"),
        ({"subsets": "t1,t1"}, "repeats t1"),
        ({"subsets": ""}, "empty"),
        ({"any_subsets": "t1c"}, "did you mean 't1ce'?"),
        ({"budget": "dem"}, "did you mean 'demo'?"),
        ({"backbone": "resenc_n"}, "did you mean"),
        ({"seeds": "one"}, "'seeds.0' should be of type integer"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"folds": [5]}, "from 0"),
        ({"split": {"folds": 0}}, "split.folds"),
        ({"split": {"fold": 5}}, "'split': unknown key 'fold': did you mean 'folds'?"),
        ({"split": {"test_fraction": 1}}, "test_fraction"),
        ({"split": 5}, "'split' should be of type object"),
        ({"brats": "/no/such/folder"}, "there is no /no/such/folder"),
        ({"brats_lock": "cohorts/none.dvc"}, "no 'brats' is given"),
        ({"external": [{"name": "b", "path": "/no/such"}]}, "there is no /no/such"),
        ({"external": [{"name": "b"}]}, "'external.0.path' is missing"),
        ({"phantom": {"site": "C"}}, "'phantom.site'"),
        ({"phantom": {"site": "R", "width": 3}}, "'phantom.width'"),
        ({"phantom": {"width": 0.5}}, "'width' 0.5 is for site R, and this is site A"),
        ({"phantom": {"spacing": 0.1}}, "phantom.spacing"),
        ({"experiment": "../elsewhere"}, "experiment"),
        ({"experiment": "a b"}, "experiment"),
        ({"device": "gpu"}, "'device'"),
        ({"deterministic": "yes please"}, "'deterministic' should be of type boolean"),
        ({"overrides": {"hinton2015": {"seg_weight": 1}}}, "which is not run"),
        ({"overrides": {"choi2023": {"distill.3.weight": 1}}}, "count a list's entries from 0"),
        ({"overrides": {"choi2023": {"distill.0.at": "encoder.7"}}, "budget": "demo"}, "stages 0 to 3"),
        ({"paper": "choi2023", "budget": "demo"}, "add --config brats=PATH"),
        ({"paper": "choi2023"}, "--config budget=smoke"),
    ],
)
def test_a_wrong_config_ends_in_one_message(given: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        resolved(**given)
    assert message in str(error.value)


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.stem)
def test_a_paper_takes_its_defaults_from_the_model_alone(paper: Path) -> None:
    given = yaml.safe_load(paper.read_text())
    demo = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    config = resolve(given | {"budget": "smoke"})
    assert config.paper == paper.stem
    assert config.experiment == f"{paper.stem}-smoke-phantom"
    for key in set(demo) - set(given) - {"budget", "experiment"}:
        assert getattr(config, key) == Config.model_fields[key].default, key


def test_command_line_text_gets_its_type() -> None:
    config = resolved(experiment=2021, methods="student,choi2023", subsets="flair+t1ce,t2", seeds="0,1", budget="smoke")
    assert config.experiment == "2021"
    assert config.methods == ["student", "choi2023"]
    assert config.subsets == ["t1ce+flair", "t2"]
    assert config.seeds == [0, 1]
    assert resolved(seeds=3).seeds == [3]
    assert resolved(deterministic="true").deterministic is True
    assert resolved(brats="none").brats is None
    assert len(resolved(subsets="every").subsets) == 15
    assert len(resolved(any_subsets="every").any_subsets) == 15 and resolved(any_subsets="null").any_subsets is None


def test_an_experiment_folder_of_another_config_is_refused_with_the_difference(tmp_path: Path) -> None:
    before = resolved(budget="smoke")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(before.plain()))
    refuse_mixture(resolved(budget="smoke", methods="student"), tmp_path)
    with pytest.raises(UserError) as error:
        refuse_mixture(resolved(budget="demo", split={"seed": 4}), tmp_path)
    assert "split.seed: 0 there, 4 now" in str(error.value)
    assert "budget_settings.epochs: 2 there" in str(error.value)
    assert "experiment=NAME" in str(error.value)


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    config = resolved(budget="demo", methods="teacher,student,dong2025", external=[])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.plain() | {"of_a_later_version": 1}))
    assert read_resolved(tmp_path / "config.yaml") == config


def test_version_0_1_recorded_the_same_keys_and_values() -> None:
    recorded = yaml.safe_load((REPOSITORY / "results" / "reference" / "config.yaml").read_text())
    now = read_resolved(REPOSITORY / "results" / "reference" / "config.yaml").plain()
    assert [key for key in now if key in recorded] == list(recorded) and recorded.items() <= now.items()


def test_another_recipe_is_drift_and_another_title_is_none(tmp_path: Path) -> None:
    recorded = resolved(budget="smoke", methods="student,choi2023").plain()
    recorded["recipes"]["choi2023"] |= {"title": "Another", "choice": []}
    recorded["budget_settings"]["title"] = "another"
    recorded["external"] = [{"name": "elsewhere", "path": "/not/on/this/machine", "release": "auto"}]
    recorded["cohorts"].append("elsewhere")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(recorded))
    refuse_drift(tmp_path)
    recorded["recipes"]["choi2023"]["distill"][0]["weight"] = 3
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(recorded))
    with pytest.raises(UserError, match=r"recipes.choi2023.distill.0.weight: 3 there, 1.0 now"):
        refuse_drift(tmp_path)


def test_a_budget_of_ones_own_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("title: mine\nepochs: 3\n")
    config = resolved(budget=str(tmp_path / "mine.yaml"), paper=None)
    assert (config.budget_settings.epochs, config.experiment) == (3, "experiment-mine-phantom")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: t\nepochs: many", "'epochs' should be of type integer, not 'many'"),
        ("title: t\nepochs: true", "'epochs' should be of type integer"),
        ("title: t\nepochs: 0", "'epochs'"),
        ("title: t\nepoch: 3", "unknown key 'epoch': did you mean 'epochs'?"),
        ("epochs: 3", "the key 'title' is missing"),
        ("title: t\nfeatures: [4, 8]", "'features'"),
        ("title: t\nspacing: [1, 1, 0]", "'spacing.2'"),
        ("title: t\nfeatures: [4, 8, 16, 32]\npatch_size: [36, 40, 40]", "axis 0 must be a multiple of 8"),
        ("- 1", "should hold keys and values"),
    ],
)
def test_a_wrong_budget_is_refused_with_the_config(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    for read in (load_budget, lambda name: resolved(budget=name)):
        with pytest.raises(UserError) as error:
            read(str(tmp_path / "mine.yaml"))
        assert message in str(error.value) and "mine.yaml" in str(error.value)


def test_a_budget_is_written_as_before_there_were_more_keys() -> None:
    written = load_budget("full").plain()
    assert {"spacing", "patch_size", "batch_size", "features"} <= set(written), "null is a value"
    assert not {"augment_on", "learning_rate"} & set(written)
    changed = load_budget("full").replaced(augment_on="device", learning_rate=0.001).plain()
    assert changed == written | {"augment_on": "device", "learning_rate": 0.001}
