"""Recipes: a method as data. Reading, overriding, checking, and what the DAG needs to know of one.

No torch here: the workflow reads recipes before any job runs.
"""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from crossmodal.errors import UserError, nearest
from crossmodal.modalities import ALL
from crossmodal.schema import check

TAP = re.compile(r"bottleneck|penultimate|logits|(encoder|decoder)\.(\d+|\*)")

WORDS = ("title", "source", "choice")  # for readers

# Loss name -> the options it takes (their defaults are in distill/losses.py). Kept beside the recipes so that
# a wrong option is named before torch is imported; a test holds the two together.
LOSS_OPTIONS: dict[str, set[str]] = {
    "barlow_twins": {"off_diagonal", "projector"},
    "mse": {"projection"},
    "soft_targets": {"temperature", "scale_by_temperature"},
    "attention_transfer": set(),
    "channel_kl": {"temperature"},
    "prototypes": set(),
}


def load(name: str, folders: list[Path], schema: dict, overrides: dict[str, Any] | None = None) -> dict:
    """The recipe of a method, with overrides and defaults, checked.

    Args:
        name: a method's name (a YAML file in one of `folders`, without the ending) or a path to a file.
        folders: where methods lie, searched in order.
        schema: the recipe's JSON schema.
        overrides: dotted keys to values, e.g. {"distill.0.weight": 2}.

    Raises:
        UserError: the method is unknown, its file is not a mapping, or a field of it is wrong.
    """
    path = find(name, folders)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys to values (docs/methods.md shows one)")
    for key, value in (overrides or {}).items():
        data = override(data, key, value, str(path))
    recipe = check(data, schema, str(path))
    _check_fields(recipe, str(path))
    return recipe


def find(name: str, folders: list[Path]) -> Path:
    """The file of a method. Raises UserError with the nearest known name."""
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UserError(f"{name}: no such recipe file")
        return Path(name)
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    raise UserError(f"unknown method '{name}': {nearest(name, known_methods(folders))}")


def known_methods(folders: list[Path]) -> list[str]:
    """Names of all methods in the folders."""
    return sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})


def override(recipe: dict, key: str, value: Any, where: str = "--set") -> dict:
    """A copy of the recipe with one dotted key changed, e.g. "distill.0.weight"."""
    recipe = deepcopy(recipe)
    *parents, last = key.split(".")
    node: Any = recipe
    for part in parents:
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and isinstance(node.get(part), dict | list):
            node = node[part]
        elif isinstance(node, dict) and part not in node:
            node = node.setdefault(part, {})
        else:
            raise UserError(f"{where}: cannot set '{key}': there is no '{part}'")
    if isinstance(node, list):
        if not (last.isdigit() and int(last) < len(node)):
            raise UserError(f"{where}: cannot set '{key}': the list has {len(node)} entries, counted from 0")
        node[int(last)] = value
    else:
        node[last] = value
    return recipe


def _check_fields(recipe: dict, where: str) -> None:
    if recipe["distill"] and recipe["teacher"] is None:
        raise UserError(f"{where}: 'distill' needs a 'teacher' (trained: jointly, beforehand or itself)")
    if recipe["teacher"] and not recipe["distill"]:
        raise UserError(f"{where}: the teacher has nothing to teach: give at least one term in 'distill'")
    trained = (recipe["teacher"] or {}).get("trained")
    if trained == "itself" and recipe["modalities"] != "any":
        raise UserError(f"{where}: 'trained: itself' is for one network of any subset ('modalities: any')")
    if trained == "jointly" and recipe["teacher"]["method"] != "teacher":
        raise UserError(f"{where}: a jointly trained teacher has no 'method' of its own")
    if recipe["update"] == "successive" and trained != "jointly":
        raise UserError(f"{where}: 'update: successive' needs a teacher that is trained jointly")
    if recipe["stop_gradient"] == "teacher" and trained != "jointly":
        raise UserError(f"{where}: 'stop_gradient: teacher' needs a teacher that is trained jointly")
    for number, term in enumerate(recipe["distill"]):
        here = f"{where}: distill.{number}"
        if not TAP.fullmatch(term["at"]):
            known = [
                "bottleneck",
                "penultimate",
                "logits",
                "encoder.0",
                "decoder.0",
                "encoder.*",
                "decoder.*",
            ]
            raise UserError(f"{here}: unknown tap '{term['at']}': {nearest(term['at'], known)}")
        if term["loss"] not in LOSS_OPTIONS:
            raise UserError(f"{here}: unknown loss '{term['loss']}': {nearest(term['loss'], LOSS_OPTIONS)}")
        for option in set(term) - {"at", "loss", "weight"}:
            if option not in LOSS_OPTIONS[term["loss"]]:
                raise UserError(
                    f"{here}: the loss '{term['loss']}' has no option '{option}': "
                    f"{nearest(option, LOSS_OPTIONS[term['loss']] | {'at', 'loss', 'weight'})}"
                )


def check_taps(recipe: dict, stages: int, where: str) -> None:
    """Refuse a tap that a network with this many encoder stages has not.

    Raises:
        UserError: naming the stages that there are.
    """
    for term in recipe["distill"]:
        part, _, number = term["at"].partition(".")
        last = stages - 1 if part == "encoder" else stages - 2
        if number.isdigit() and int(number) > last:
            raise UserError(
                f"{where}: the tap '{term['at']}' is not in this network: its {part} has the stages 0 to {last} "
                f"(the budget sets the network)"
            )


def essence(recipe: dict) -> dict:
    """The part of a resolved recipe that a training follows from: another title or citation is the same method."""
    return {key: value for key, value in recipe.items() if key not in WORDS}


def trained_modalities(recipe: dict, subset: str) -> str:
    """The subset under which the network that serves `subset` is trained."""
    return subset if recipe["modalities"] == "given" else ALL


def is_oracle(recipe: dict) -> bool:
    """Whether the network reads the ground truth, and so is never predicted, scored or listed."""
    return recipe["input"] == "class_mean"


def teacher_of(recipe: dict, subset: str) -> tuple[str, str] | None:
    """Method and subset of the teacher that must be trained before this recipe on `subset`, if any."""
    teacher = recipe["teacher"]
    if teacher is None or teacher["trained"] != "beforehand":
        return None
    return teacher["method"], (ALL if teacher["sees"] == "all" else subset)


def load_all(names: list[str], folders: list[Path], schema: dict, overrides: dict[str, dict]) -> dict[str, dict]:
    """The recipes of the methods and of every teacher they need.

    Raises:
        UserError: a teacher is not a method, teachers form a circle, or a teacher cannot serve its student.
    """
    recipes: dict[str, dict] = {}

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            raise UserError(f"the teachers form a circle: {' -> '.join([*path, name])}")
        if name not in recipes:
            try:
                recipes[name] = load(name, folders, schema, overrides.get(name))
            except UserError as error:
                if path:
                    raise UserError(f"the teacher of '{path[-1]}' is not a method: {error}") from None
                raise
        needed = teacher_of(recipes[name], ALL)
        if needed:
            visit(needed[0], [*path, name])
            _check_teacher(name, recipes[name], recipes[needed[0]])

    for name in names:
        visit(name, [])
    for name in overrides:
        if name not in recipes:
            raise UserError(f"'overrides' names the method '{name}', which is not run: {nearest(name, recipes)}")
    return recipes


def _check_teacher(name: str, recipe: dict, teacher: dict) -> None:
    sees = recipe["teacher"]["sees"]
    if teacher["modalities"] == "any":
        raise UserError(
            f"'{name}': its teacher '{recipe['teacher']['method']}' is a network for any subset: not a teacher"
        )
    if sees == "same" and teacher["modalities"] == "all":
        raise UserError(
            f"'{name}' asks for a teacher that sees the same modalities, but '{recipe['teacher']['method']}' "
            f"is always trained on all four: write 'sees: all', or name another method"
        )
