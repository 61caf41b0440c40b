"""Checking a mapping against a JSON schema, with messages that name the key and the nearest right spelling."""

from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator

from crossmodal.errors import UserError, nearest


def check(data: dict, schema: dict, where: str) -> dict:
    """A copy of `data` with the schema's defaults filled in.

    Args:
        data: what the user wrote.
        schema: a JSON schema (draft 2020-12).
        where: the file or command line that `data` came from, for the message.

    Raises:
        UserError: a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    errors = sorted(Draft202012Validator(schema).iter_errors(data), key=lambda error: list(map(str, error.path)))
    if errors:
        raise UserError(f"{where}: {_explain(errors[0])}")
    return fill_defaults(data, schema)


def fill_defaults(data: Any, schema: dict) -> Any:
    """Add the defaults of the schema's properties, at every depth; keys come out in the schema's order."""
    if isinstance(data, dict) and "properties" in schema:
        filled = {}
        for key, part in schema["properties"].items():
            if key in data:
                filled[key] = fill_defaults(data[key], part)
            elif "default" in part:
                filled[key] = fill_defaults(deepcopy(part["default"]), part)
        return filled | {key: value for key, value in data.items() if key not in filled}
    if isinstance(data, list) and isinstance(schema.get("items"), dict):
        return [fill_defaults(item, schema["items"]) for item in data]
    return data


def coerce(value: Any, schema: dict) -> Any:
    """Give a command-line value the schema's type: "a,b" becomes a list, 2021 a name, "3" a number."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(value, str) and value.lower() in ("null", "none") and "null" in kinds:
        return None
    if "array" in kinds and value is not None and not isinstance(value, dict):
        if "string" in kinds and isinstance(value, str) and "," not in value:
            return value
        items = value if isinstance(value, list) else str(value).split(",")
        items = [item.strip() if isinstance(item, str) else item for item in items]
        return [coerce(item, schema.get("items", {})) for item in items]
    if "string" in kinds and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and "string" not in kinds:
        if "boolean" in kinds and value.lower() in ("true", "false"):
            return value.lower() == "true"
        for kind, convert in (("integer", int), ("number", float)):
            if kind in kinds:
                try:
                    return convert(value)
                except ValueError:
                    continue
    if isinstance(value, dict) and "properties" in schema:
        return {key: coerce(item, schema["properties"].get(key, {})) for key, item in value.items()}
    return value


def _explain(error: Any) -> str:
    key = ".".join(map(str, error.path))
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(name for name in error.instance if name not in known)
        inside = f" in '{key}'" if key else ""
        return f"unknown key '{unknown}'{inside}: {nearest(unknown, known)}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"the key '{key + '.' if key else ''}{missing}' is missing"
    if error.validator == "enum":
        return f"'{key}' is '{error.instance}': {nearest(error.instance, error.validator_value)}"
    if error.validator == "type":
        kinds = error.validator_value
        kinds = kinds if isinstance(kinds, str) else " or ".join(kinds)
        return f"'{key}' should be of type {kinds}, not {error.instance!r}"
    return f"'{key}': {error.message}"
