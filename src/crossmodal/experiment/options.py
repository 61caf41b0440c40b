"""The losses and their options as plain data. Imports neither torch nor pydantic: recipes and losses use it."""

import json
from functools import cache
from typing import Any

from crossmodal.data import SCHEMAS

TYPES = {"number": (int, float), "integer": int, "boolean": bool, "string": str, "null": type(None)}


@cache
def known_losses() -> dict[str, dict[str, Any]]:
    """Name -> description, equation, words (for the report) and options of each loss, generated from its class."""
    return json.loads((SCHEMAS / "losses.json").read_text(encoding="utf-8"))


def fault(value: Any, schema: dict[str, Any]) -> str | None:
    """What is wrong with the value of an option, as the end of a sentence about it; None if nothing is.

    Args:
        value: what was given.
        schema: the option's JSON schema: "type" (a list), and perhaps "minimum" or "exclusiveMinimum".
    """
    kinds = schema["type"]
    allowed = [kind for kind in kinds if isinstance(value, TYPES[kind])]
    if not allowed or (isinstance(value, bool) and "boolean" not in kinds):
        return f"should be of type {' or '.join(kinds)}, not {value!r}"
    if value is None:
        return None
    if "minimum" in schema and not value >= schema["minimum"]:
        return f"should be at least {schema['minimum']}, not {value!r}"
    if "exclusiveMinimum" in schema and not value > schema["exclusiveMinimum"]:
        return f"should be above {schema['exclusiveMinimum']}, not {value!r}"
    return None
