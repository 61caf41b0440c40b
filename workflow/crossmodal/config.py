"""The experiment's config: defaults, checks, names, and what must not change inside one experiment folder."""

from pathlib import Path
from typing import Any

import yaml

from crossmodal.cohort.lock import read_lock
from crossmodal.differences import differences
from crossmodal.distill import recipe as recipes
from crossmodal.errors import UserError, nearest
from crossmodal.modalities import ALL, all_subsets, parse_subset, subset_name
from crossmodal.nnunet.plans import number_of_stages
from crossmodal.schema import check, coerce

# Changing one of these would mix results of two experiments in one folder.
FIXED = (
    *("brats", "cohort_lock", "release", "phantom", "external", "split", "on_problem"),
    *("budget_settings", "backbone"),
)


def read_yaml(path: Path) -> dict:
    """A YAML file's mapping; raises UserError when it is not one."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: should hold keys and values")
    return data


def load_budget(name: str, folder: Path, schema: dict) -> dict:
    """A budget's settings, checked and with defaults."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"unknown budget '{name}': {nearest(name, [file.stem for file in folder.glob('*.yaml')])}")
    return check(read_yaml(path), schema, str(path))


def resolve(given: dict[str, Any], workflow: Path, where: str = "config", results: Path | None = None) -> dict:
    """The resolved config of an experiment, from what config files and the command line gave.

    Args:
        given: keys and values, command-line ones still as text.
        workflow: the folder with schemas/, methods/ and budgets/.
        where: named in messages.
        results: the folder of experiments. The images need not be there for an experiment in it whose cohort was
            read already: one that was restored on another machine.

    Raises:
        UserError: an unknown key, method, modality or budget, a wrong type, a missing path.
    """
    schemas = {name: read_yaml(workflow / "schemas" / f"{name}.schema.yaml") for name in ("config", "recipe", "budget")}
    config = check(coerce(given, schemas["config"]), schemas["config"], where)
    _check_paper(config)
    config["cohort_lock"] = read_lock(Path(config["brats_lock"])).summary() if config["brats_lock"] else None
    config["subsets"] = _subsets(config["subsets"])
    config["budget_settings"] = load_budget(config["budget"], workflow / "budgets", schemas["budget"])
    folders = [workflow / "methods", *([Path(config["methods_folder"])] if config["methods_folder"] else [])]
    overrides = {method: coerce_values(changes) for method, changes in config["overrides"].items()}
    config["recipes"] = recipes.load_all(config["methods"], folders, schemas["recipe"], overrides)
    for method, recipe in config["recipes"].items():
        recipes.check_taps(recipe, number_of_stages(config["budget_settings"]), f"method '{method}'")
    for method in config["methods"]:
        if recipes.is_oracle(config["recipes"][method]):
            raise UserError(
                f"'{method}' reads the ground truth, so it is a teacher and never a method of its own: "
                f"take it out of 'methods' (it is trained for the methods that name it)"
            )
    for fold in config["folds"]:
        if fold >= max(1, config["split"]["folds"]):
            raise UserError(f"'folds' asks for fold {fold}, but the split has {config['split']['folds']} folds, from 0")
    config["cohorts"] = [_cohort_name(config), *(item["name"] for item in config["external"])]
    if len(set(config["cohorts"])) < len(config["cohorts"]):
        raise UserError(f"two cohorts have the same name: {', '.join(config['cohorts'])}: give 'external' others")
    config["experiment"] = config["experiment"] or _experiment_name(config)
    if results is None or not (results / config["experiment"] / "cohort" / "cases.csv").exists():
        _check_paths(config)
    return config


def given_part(resolved: dict[str, Any], workflow: Path) -> dict[str, Any]:
    """The keys of a resolved config that can be given; the others follow from them."""
    known = read_yaml(workflow / "schemas" / "config.schema.yaml")["properties"]
    return {key: value for key, value in resolved.items() if key in known}


def refuse_drift(recorded: dict[str, Any], workflow: Path, experiment: Path) -> None:
    """Stop when this checkout resolves an experiment's config to other recipes or another budget than it had.

    Args:
        recorded: results/<experiment>/config.yaml.
        workflow: the folder with schemas/, methods/ and budgets/.
        experiment: results/<experiment>, for the message.

    Raises:
        UserError: listing each difference.
    """
    now = resolve(given_part(recorded, workflow), workflow, str(experiment / "config.yaml"), experiment.parent)
    different = differences(recorded, _keys_of(recorded, now))
    if different:
        lines = "\n".join(f"  {line}" for line in different)
        raise UserError(
            f"{experiment}: was made by another version of this workflow:\n{lines}\n"
            f"Check out the commit that published it, or change the recipe or budget back."
        )


def _keys_of(recorded: Any, now: Any) -> Any:
    """`now` without the keys that were added since."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        return {key: _keys_of(recorded[key], value) for key, value in now.items() if key in recorded}
    if isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        return [_keys_of(old, new) for old, new in zip(recorded, now, strict=True)]
    return now


def coerce_values(changes: dict[str, Any]) -> dict[str, Any]:
    """Values that came as text, read as YAML."""
    return {key: yaml.safe_load(value) if isinstance(value, str) else value for key, value in changes.items()}


def refuse_mixture(resolved: dict, experiment: Path) -> None:
    """Stop when an experiment folder was made with another cohort, budget or split.

    Raises:
        UserError: listing each difference.
    """
    before = experiment / "config.yaml"
    if not before.exists():
        return
    found = read_yaml(before)
    different = [line for key in FIXED for line in differences(found.get(key), resolved[key], key)]
    if different:
        lines = "\n".join(f"  {line}" for line in different)
        raise UserError(
            f"{experiment}: was made with another config:\n{lines}\n"
            f"Give this run a name of its own (--config experiment=NAME), or delete {experiment}."
        )


def model_subset(config: dict, method: str, subset: str) -> str:
    """The subset under which the network lies that serves `subset`."""
    return recipes.trained_modalities(config["recipes"][method], subset)


def scored_subsets(config: dict, method: str) -> list[str]:
    """The subsets that a method is predicted and scored on."""
    return [ALL] if config["recipes"][method]["modalities"] == "all" else list(config["subsets"])


def _check_paths(config: dict) -> None:
    if config["brats"] is not None and not Path(config["brats"]).exists():
        raise UserError(f"'brats': there is no {config['brats']}: give the folder that holds the cases")
    for item in config["external"]:
        if not Path(item["path"]).exists():
            raise UserError(f"'external' {item['name']}: there is no {item['path']}")
    if config["split"]["file"] is not None and not Path(config["split"]["file"]).exists():
        raise UserError(f"'split.file': there is no {config['split']['file']}")


def _check_paper(config: dict) -> None:
    if config["paper"] and config["brats"] is None and config["budget"] != "smoke":
        raise UserError(
            f"the paper '{config['paper']}' needs its data: add --config brats=PATH, the folder of the BraTS cases; "
            f"or try it on the phantom: --config budget=smoke"
        )
    if config["brats_lock"] is not None and config["brats"] is None:
        raise UserError(f"'brats_lock' is {config['brats_lock']}, but no 'brats' is given: the lock is of its files")


def _subsets(names: list[str] | str) -> list[str]:
    if names == "every":
        return all_subsets()
    subsets = [subset_name(parse_subset(name)) for name in ([names] if isinstance(names, str) else names)]
    repeated = {name for name in subsets if subsets.count(name) > 1}
    if repeated:
        raise UserError(f"'subsets' repeats {', '.join(sorted(repeated))}: name each subset once")
    return subsets


def _cohort_name(config: dict) -> str:
    if config["cohort"]:
        return config["cohort"]
    return f"phantom-{config['phantom']['site'].lower()}" if config["brats"] is None else "brats"


def _experiment_name(config: dict) -> str:
    phantom = "-phantom" if config["brats"] is None else ""
    return f"{config['paper'] or 'experiment'}-{config['budget']}{phantom}"
