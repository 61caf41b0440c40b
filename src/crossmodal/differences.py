"""What differs between two nested mappings, in lines that a person can read."""

import json
from typing import Any


def differences(found: Any, wanted: Any, key: str = "") -> list[str]:
    """One line for each leaf that differs, e.g. "recipe.distill.0.weight: 1.0 there, 2.0 now"."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        names = list(dict.fromkeys([*found, *wanted]))
        return [
            line
            for name in names
            for line in differences(found.get(name), wanted.get(name), f"{key}.{name}" if key else str(name))
        ]
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return [
            line
            for number, (old, new) in enumerate(zip(found, wanted, strict=True))
            for line in differences(old, new, f"{key}.{number}")
        ]
    return [] if found == wanted else [f"{key}: {json.dumps(found)} there, {json.dumps(wanted)} now"]
