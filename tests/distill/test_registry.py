"""Losses are registered once: names, options, schemas and docs follow; and importing them needs torch alone."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import torch
import yaml

from crossmodal.data import BUDGETS, METHODS, SCHEMAS
from crossmodal.distill import LOSSES, DistillationLoss, make_loss, register
from crossmodal.distill.base import options_of
from crossmodal.distill.schemas import schemas, write_schemas, write_tables
from crossmodal.experiment.options import known_losses
from tests.conftest import REPOSITORY

GENERATED = schemas()
FOLDERS = {"recipe": METHODS, "budget": BUDGETS, "config": REPOSITORY / "workflow" / "papers"}
FILES = [(name, path) for name, folder in FOLDERS.items() for path in sorted(folder.glob("*.yaml"))]


def test_importing_the_losses_needs_torch_alone() -> None:
    code = "import sys, torch; before = set(sys.modules); import crossmodal.distill; print(*set(sys.modules) - before)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    allowed = {"crossmodal", "crossmodal.data", "crossmodal.domain", "crossmodal.errors"}
    allowed |= {"crossmodal.experiment", "crossmodal.experiment.options"}
    allowed |= {f"crossmodal.distill{part}" for part in ("", ".base", ".features", ".inputs", ".losses")}
    own = {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names | {"torch"}}
    assert own == allowed


def test_the_committed_schemas_are_those_of_the_code(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    assert {path.name for path in SCHEMAS.iterdir()} == set(GENERATED)
    for name in GENERATED:
        assert (SCHEMAS / name).read_text() == (tmp_path / name).read_text(), f"{name}: run make schemas"


def test_the_tables_of_the_page_are_those_of_the_code(tmp_path: Path) -> None:
    page, copy = REPOSITORY / "docs" / "methods.md", tmp_path / "methods.md"
    copy.write_text(page.read_text())
    write_tables(copy)
    assert copy.read_text() == page.read_text(), "docs/methods.md: run make schemas"
    assert all(f"| `{name}` |" in page.read_text() for name in LOSSES)


def test_the_loop_of_the_page_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "methods.md").read_text(), re.DOTALL)
    images = torch.randn(2, 1, 16, 16)
    given = {
        "student": torch.nn.Conv2d(1, 3, 1),
        "teacher": torch.nn.Conv2d(1, 3, 1),
        "batches": [(images, torch.randint(3, (2, 16, 16)))] * 2,
    }
    before = given["student"].weight.clone()
    exec(code, given)
    assert not torch.equal(given["student"].weight, before)
    assert given["teacher"].weight.grad is None


def fields(schema: dict) -> Iterator[tuple[str, dict, bool]]:
    """Name and schema of each field, at any depth, and whether it is required."""
    for name, field in schema.get("properties", {}).items():
        yield name, field, name in schema.get("required", [])
        yield from fields(field)
    for part in ([schema["items"]] if "items" in schema else []) + schema.get("oneOf", []):
        yield from fields(part)


@pytest.mark.parametrize("name", ["config", "budget", "recipe"])
def test_every_field_is_described_with_its_default(name: str) -> None:
    schema = GENERATED[f"{name}.schema.json"]
    jsonschema.Draft202012Validator.check_schema(schema)
    found = list(fields(schema))
    assert len(found) > 15
    for key, field, required in found:
        assert field.get("description"), key
        assert "\n" not in field["description"], key
        assert required or "default" in field, key


@pytest.mark.parametrize(("name", "path"), [*FILES, ("config", REPOSITORY / "config.yaml")])
def test_the_project_s_own_files_are_valid(name: str, path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), GENERATED[f"{name}.schema.json"])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("recipe", {"distill": [{"at": "logits", "loss": "soft_targets", "temperature": 0}]}),
        ("recipe", {"distill": [{"at": "logits", "loss": "mse", "temperature": 2}]}),
        ("recipe", {"distill": [{"at": "logit", "loss": "mse"}]}),
        ("recipe", {"teacher": {"trained": "before"}}),
        ("budget", {"epochs": 0}),
        ("budget", {"memory_gb": 0}),
        ("config", {"split": {"test_fraction": 0.95}}),
        ("config", {"subsets": []}),
    ],
)
def test_a_wrong_file_is_not_valid(name: str, data: dict) -> None:
    given = {"title": "t"} | ({"source": "ours"} if name == "recipe" else {}) | data
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(given, GENERATED[f"{name}.schema.json"])


@pytest.mark.parametrize("kind", LOSSES.values(), ids=LOSSES)
def test_a_loss_says_what_it_is(kind: type[DistillationLoss]) -> None:
    """Its docstring has an equation, shapes, errors, source and an example; doctest runs the example."""
    text = inspect.cleandoc(kind.__doc__)  # Python 3.13 removes the indentation itself
    assert re.search(r"^    (C|L) = ", text, re.MULTILINE)
    for section in ("Shapes: (B, ", "Raises:\n    ValueError", "Source: ", "Example:\n    >>> "):
        assert section in text, section
    found = known_losses()[kind.name]
    assert "L = " in found["equation"]
    for option, schema in found["options"].items():
        assert schema["description"], option
        assert getattr(kind(), option) == schema["default"]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_make_loss_gives_channels_to_projections_alone(name: str) -> None:
    assert not list(make_loss(name, 5, 5).parameters())
    if name in ("attention_transfer", "prototypes"):
        assert make_loss(name, 5, 7)
    else:
        with pytest.raises(ValueError, match="5 channels here and the teacher 7"):
            make_loss(name, 5, 7)
    for option, value in (("projection", True), ("projector", 6)):
        if option in options_of(LOSSES[name]):
            loss = make_loss(name, 5, 7, {option: value})
            assert loss(torch.randn(2, 5, 4, 4), torch.randn(2, 7, 4, 4)).requires_grad


def test_make_loss_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="did you mean 'soft_targets'"):
        make_loss("soft_target", 5, 5)
    with pytest.raises(ValueError, match="has no option 'temprature': did you mean 'temperature'"):
        make_loss("soft_targets", 5, 5, {"temprature": 2})


def test_a_name_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossmodal.distill.base.LOSSES", dict(LOSSES))
    with pytest.raises(ValueError, match="the name 'mse' is taken by MSE"):
        register("mse", words="another")(type("Other", (DistillationLoss,), {}))
