"""A recorded config against today's: one experiment folder holds results of one config."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from crossmodal.differences import differences
from crossmodal.errors import UserError
from crossmodal.experiment.config import Config, Resolved, resolve
from crossmodal.experiment.recipe import FOR_READERS
from crossmodal.experiment.validation import read_yaml

# Changing one of these would mix results of two experiments in one folder.
FIXED = (
    *("brats", "cohort_lock", "release", "phantom", "external", "split", "on_problem"),
    *("budget_settings", "backbone"),
)


def given_part(resolved: Resolved) -> dict[str, Any]:
    """The keys of a resolved config that can be given; the others follow from them."""
    return {key: value for key, value in resolved.plain().items() if key in Config.model_fields}


def refuse_drift(experiment: Path) -> None:
    """Stop when this version resolves a recorded config to other recipes or another budget than it had.

    Args:
        experiment: results/<experiment>, with config.yaml.

    Raises:
        UserError: listing each difference.
    """
    recorded = read_yaml(experiment / "config.yaml")
    given = {key: value for key, value in recorded.items() if key in Config.model_fields}
    now = resolve(given, str(experiment / "config.yaml"), check_paths=False).plain()
    recorded = _without_words(recorded)
    different = differences(recorded, _keys_of(recorded, now))
    if different:
        lines = "\n".join(f"  {line}" for line in different)
        raise UserError(
            f"{experiment}: was made by another version of this workflow:\n{lines}\n"
            f"Check out the commit that published it, or change the recipe or budget back."
        )


def _without_words(config: dict) -> dict:
    """Without what is for readers: another title or citation is the same budget or method."""
    config = deepcopy(config)
    for part in (config.get("budget_settings") or {}, *(config.get("recipes") or {}).values()):
        for words in FOR_READERS:
            part.pop(words, None)
    return config


def _keys_of(recorded: Any, now: Any) -> Any:
    """`now` without the keys that were added since."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        return {key: _keys_of(recorded[key], value) for key, value in now.items() if key in recorded}
    if isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        return [_keys_of(old, new) for old, new in zip(recorded, now, strict=True)]
    return now


def refuse_mixture(resolved: Resolved, experiment: Path) -> None:
    """Stop when an experiment folder was made with another cohort, budget or split.

    Raises:
        UserError: listing each difference.
    """
    before = experiment / "config.yaml"
    if not before.exists():
        return
    found, wanted = _without_words(read_yaml(before)), _without_words(resolved.plain())
    different = [line for key in FIXED for line in differences(found.get(key), wanted[key], key)]
    if different:
        lines = "\n".join(f"  {line}" for line in different)
        raise UserError(
            f"{experiment}: was made with another config:\n{lines}\n"
            f"Give this run a name of its own (--config experiment=NAME), or delete {experiment}."
        )
