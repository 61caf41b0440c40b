"""Typed models (pydantic) whose errors name the key, what is wrong, and the nearest right spelling."""

import re
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from crossmodal.errors import UserError, nearest

TYPES = {"int": "integer", "float": "number", "bool": "boolean", "string": "string", "list": "array", "dict": "object"}
TYPES["model"] = "object"
UNIONS = ("int", "float", "str", "list[str]")  # pydantic names the part of a union that failed


class Model(BaseModel):
    """Base of config, budget and recipe: no unknown key, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if cls.model_config["extra"] == "forbid" and isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key '{key}': {nearest(key, cls.model_fields)}")
        return data

    @classmethod
    def parse(cls, data: Any, where: str) -> Self:
        """The model of plain data.

        Args:
            data: what the user wrote.
            where: the file or command line that `data` came from, for the message.

        Raises:
            UserError: a key is unknown or missing, or a value is of the wrong type or out of range.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise UserError(f"{where}: {explain(error.errors()[0])}") from None

    def plain(self) -> dict[str, Any]:
        """As dictionaries, lists and scalars, for YAML and JSON; keys in the order of the fields."""
        return self.model_dump(mode="json")

    def replaced(self, **changes: Any) -> Self:
        """A copy with other values, which are not checked again."""
        return self.model_copy(update=changes)


def read_yaml(path: Path) -> dict:
    """A YAML file's mapping; raises UserError when it is not one."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: should hold keys and values")
    return data


def explain(error: Any) -> str:
    """One pydantic error in words."""
    kind, value = error["type"], error["input"]
    key = ".".join(str(part) for part in error["loc"] if part not in UNIONS)
    if kind == "missing":
        return f"the key '{key}' is missing"
    if kind == "literal_error":
        expected = re.findall("'([^']*)'", error["ctx"]["expected"])
        return f"'{key}' is '{value}': {nearest(str(value), expected)}"
    if kind == "value_error":
        return f"'{key}': {error['ctx']['error']}" if key else str(error["ctx"]["error"])
    if error["loc"][-1:] in (("int",), ("float",)):
        return f"'{key}' should be of type number, not {value!r}"
    stem = kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_from")
    if stem in TYPES and stem != kind:
        return f"'{key}' should be of type {TYPES[stem]}, not {value!r}"
    return f"'{key}': {error['msg'][0].lower()}{error['msg'][1:]}"
