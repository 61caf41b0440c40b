"""What differs between two nested mappings, in lines that a person can read."""

import json
from typing import Any

from crossmodal.errors import UserError


def differences(
    found: Any, wanted: Any, key: str = "", added: bool = True, where: tuple[str, str] = ("there", "now")
) -> list[str]:
    """One line for each leaf that differs, e.g. "recipe.distill.0.weight: 1.0 there, 2.0 now".

    Args:
        found: what is there.
        wanted: what is asked for now.
        key: under which both stand, for the lines.
        added: whether keys that `wanted` alone has count.
        where: what the lines call the two.
    """
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        found, wanted = dict(enumerate(found)), dict(enumerate(wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        lines = []
        for name in dict.fromkeys([*found, *wanted] if added else found):
            inner = f"{key}.{name}" if key else str(name)
            lines += differences(found.get(name), wanted.get(name), inner, added, where)
        return lines
    return [] if found == wanted else [f"{key}: {json.dumps(found)} {where[0]}, {json.dumps(wanted)} {where[1]}"]


def refuse_other(
    found: Any, wanted: Any, where: Any, remedy: str, made: str = "with other settings", added: bool = True
) -> None:
    """Refuse what was made otherwise.

    Args:
        found: settings of what is there.
        wanted: settings that are asked for now.
        where: what is there, for the message.
        remedy: what to do about it, for the message.
        made: how it was made, for the message.
        added: as for `differences`.

    Raises:
        UserError: showing each difference.
    """
    different = differences(found, wanted, added=added)
    if different:
        lines = "\n".join(f"  {line}" for line in different)
        raise UserError(f"{where}: was made {made}:\n{lines}\n{remedy}")
