"""The examples of docs/real-patients.md: they resolve, and the budget has the features of the released network."""

import re
from pathlib import Path

import pytest
import yaml

from crossmodal.experiment.budget import load_budget
from crossmodal.experiment.config import resolve
from tests.conftest import REPOSITORY


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The page's YAML files, written into the working folder; the config."""
    text = (REPOSITORY / "docs" / "real-patients.md").read_text(encoding="utf-8")
    files = re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for name, content in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert [name for name, _ in files] == ["finetune.yaml", "short.yaml", "my_methods/finetuned.yaml"]
    monkeypatch.chdir(tmp_path)
    return yaml.safe_load(Path("finetune.yaml").read_text())


def test_the_config_resolves(examples: dict) -> None:
    config = resolve(examples, check_paths=False)
    assert config.recipes["student"].init_from == "shipped"
    assert config.budget_settings.dataset_fields() == load_budget("released").dataset_fields()
    assert config.budget_settings.steps == 100


def test_both_can_be_methods_of_one_experiment(examples: dict) -> None:
    examples |= {"methods": ["student", "finetuned"], "methods_folder": "my_methods"}
    recipes = resolve(examples | {"overrides": {}}, check_paths=False).recipes
    fields = [recipe.training_fields() for recipe in recipes.values()]
    assert fields[0] == fields[1]
    assert [recipe.init_from for recipe in recipes.values()] == [None, "shipped"]
