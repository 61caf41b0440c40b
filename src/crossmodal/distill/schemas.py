"""Generates what follows from the code: JSON schemas of config, budget and recipe, and the lists of losses."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from crossmodal.data import SCHEMAS
from crossmodal.distill import LOSSES, DistillationLoss
from crossmodal.distill.base import options_of
from crossmodal.experiment.budget import Budget
from crossmodal.experiment.config import Config
from crossmodal.experiment.recipe import TAP, Recipe, Term
from crossmodal.files import replace_between, write_json

LIMITS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}


class Generator(GenerateJsonSchema):
    """pydantic's, without a title for each field."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def write_schemas(folder: Path = SCHEMAS) -> None:
    """Write losses.json and the schemas of config, budget and recipe into a folder."""
    for name, content in schemas().items():
        write_json(folder / name, content)


def write_tables(page: Path) -> None:
    """Write the tables of recipe fields and of losses between the markers of a Markdown page (docs/methods.md)."""
    replace_between(page, "fields", fields_table())
    replace_between(page, "losses", losses_table())


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> content, of each generated file."""
    losses = {name: describe(kind) for name, kind in LOSSES.items()}
    config, budget, recipe = (_schema_of(model) for model in (Config, Budget, Recipe))
    for field in config["properties"].values():
        if field.get("type") == "array" and field["items"]["type"] != "object":
            field["type"] = ["array", "string", "integer"]  # one item, or items as the command line gives them: "a,b"
    recipe["properties"]["distill"]["items"] = _terms(recipe["properties"]["distill"]["items"], losses)
    named = {"config": config, "budget": budget, "recipe": recipe}
    return {"losses.json": losses} | {f"{name}.schema.json": schema for name, schema in named.items()}


def describe(kind: type[DistillationLoss]) -> dict[str, Any]:
    """A loss in plain data: first line and equation of its docstring, words for the report, and its options."""
    docstring = inspect.getdoc(kind)
    summary, equation = docstring.split("\n\n")[:2]
    texts = dict(re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", docstring, re.MULTILINE))  # of Args
    options = options_of(kind)
    for name, option in options.items():
        option["description"] = " ".join(texts[name].split())
    return {"description": summary, "equation": equation.strip(), "words": kind.words, "options": options}


def losses_table() -> str:
    """The losses as a Markdown table."""
    rows = []
    for name, loss in schemas()["losses.json"].items():
        options = [
            f"`{option}: {json.dumps(schema['default'])}`: {schema['description'].removesuffix('.')}"
            for option, schema in loss["options"].items()
        ]
        rows.append((f"`{name}`", f"{loss['description']} {loss['equation']}", "<br>".join(options) or "none"))
    return _table(("loss", "what it computes", "options with their defaults"), rows)


def fields_table() -> str:
    """The fields of a recipe as a Markdown table."""
    fields = schemas()["recipe.schema.json"]["properties"]
    terms = fields["distill"]["items"]["oneOf"][0]["properties"]
    nested = {"teacher": fields["teacher"]["properties"], "distill": {name: terms[name] for name in Term.model_fields}}
    rows = []
    for name, field in fields.items():
        inside = {f"{name}.{key}": part for key, part in nested.get(name, {}).items()}
        for key, part in ({name: field} | inside).items():
            kinds = [part["type"]] if isinstance(part["type"], str) else part["type"]
            values = ", ".join(f"`{value}`" for value in part.get("enum", [])) or " or ".join(kinds)
            default = f"`{json.dumps(part['default'])}`" if "default" in part else "required"
            rows.append((f"`{key}`", values, default.replace('"', ""), part["description"]))
    return _table(("field", "values", "default", "meaning"), rows)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(schema_generator=Generator)
    return {"$schema": GenerateJsonSchema.schema_dialect, **_tidy(schema, schema.pop("$defs", {}))}


def _tidy(node: Any, definitions: dict[str, Any]) -> Any:
    """A schema with its definitions in place, one "type" instead of a choice of types, and limits of JSON Schema."""
    if isinstance(node, list):
        return [_tidy(item, definitions) for item in node]
    if isinstance(node, str):
        return " ".join(node.split())  # descriptions hold the docstrings' line breaks
    if not isinstance(node, dict):
        return node
    node = {LIMITS.get(key, key): _tidy(value, definitions) for key, value in node.items()}
    if reference := node.pop("$ref", None):
        node = _tidy(definitions[reference.rpartition("/")[2]], definitions) | node
    if choices := node.pop("anyOf", None):
        types = [choice["type"] for choice in choices]
        for choice in reversed(choices):
            node = choice | node
        node["type"] = "number" if "number" in types else types
    return node


def _terms(term: dict[str, Any], losses: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The open schema of a term as one closed schema for each loss, with its options."""
    common = term["properties"]
    common["at"]["pattern"] = f"^({TAP.pattern})$"
    kinds = [
        term
        | {"title": name, "description": loss["description"], "additionalProperties": False}
        | {"properties": common | {"loss": {"const": name} | common["loss"]} | loss["options"]}
        for name, loss in losses.items()
    ]
    return {"description": term["description"], "oneOf": kinds}
