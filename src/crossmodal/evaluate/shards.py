"""Shards: a large experiment is trained in several runs or on several machines, and each adds its small results.

A shard is a folder with the scores of some trainings (per_case.csv.gz), their loss curves (curves.csv.gz), and in
shard.json all that must be equal for shards to belong to one experiment. `merge` makes the tables of all of them.
A shard scores the methods of its run's config. A teacher that is not one of them may be trained in several shards.
Networks that no recipe trains stand beside the shards: controls/*.csv.gz, tables like per_case.csv.
"""

import gzip
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodal.cohort.cases_csv import left_out, read_cases
from crossmodal.differences import refuse_other
from crossmodal.errors import UserError
from crossmodal.evaluate.collect import COST, NOTES, cost_record, mean_costs
from crossmodal.evaluate.per_case import write_table
from crossmodal.experiment import layout
from crossmodal.experiment.config import Resolved, read_resolved
from crossmodal.experiment.layout import Prediction, Training, trainings_in
from crossmodal.experiment.recorded import FIXED, without_words
from crossmodal.experiment.runs import predictions, trainings
from crossmodal.files import atomic_path, sha256_of, write_json, write_yaml

SHARDS, SCORES, CURVES, ABOUT = "shards", "per_case.csv.gz", "curves.csv.gz", "shard.json"
CONTROLS = "controls"
OF_PREDICTION = ["cohort", "method", "modalities", "seed", "fold"]
OF_TRAINING = ["method", "modalities", "seed", "fold"]


def save(experiment: Path, into: Path, name: str) -> Path:
    """Write a finished run of an experiment as the shard `into`/shards/`name`.

    Pictures' data beside the curves (panels, histograms, correlations) goes along when no other shard has it.

    Args:
        experiment: results/<experiment>: config.yaml, versions.json, cohort/, models/, tables/ and figure_data/.
        into: the experiment that shards are gathered in.
        name: of the shard, such as seed0.

    Returns:
        The folder of the shard.

    Raises:
        UserError: the run is not finished, or the shard is of another experiment than those that are there or scores a
            training that one of them scores.
    """
    config = read_resolved(experiment / "config.yaml")
    per_case = _read(experiment / "tables" / "per_case.csv")
    missing = _notes(config, per_case)
    if missing:
        raise UserError(f"{experiment}: {_words(missing[0])} ({len(missing)} in all): finish the run first")
    about = _about(experiment, config)
    curves = _read(experiment / "figure_data" / "curves.csv")
    wanted = {_key(one, OF_TRAINING) for one in trainings(config)}  # the folder may hold those of other seeds
    of_run = [key in wanted for key in curves[OF_TRAINING].itertuples(index=False, name=None)]
    others = [one for one in _read_all(into) if one[0].name != name]
    for folder, other in others:
        _refuse_other(folder, other, about, into / SHARDS / name)
    folder = into / SHARDS / name
    folder.mkdir(parents=True, exist_ok=True)
    _write_zipped(per_case, folder / SCORES)
    _write_zipped(curves[of_run], folder / CURVES)
    if not any((place / "figure_data").is_dir() for place, _ in others):
        kept = shutil.ignore_patterns("curves.csv", "*.md")
        shutil.copytree(experiment / "figure_data", folder / "figure_data", ignore=kept, dirs_exist_ok=True)
    write_json(folder / ABOUT, about)
    return folder


def merge(experiment: Path) -> list[str]:
    """Make config.yaml, versions.json, per_case.csv, cost.csv and figure_data/ of an experiment from its shards.

    Scores in controls/ come last in per_case.csv, as methods of their own.

    Args:
        experiment: the folder that has shards/.

    Returns:
        A line for each prediction that a shard's config asks for and the shard lacks.

    Raises:
        UserError: there is no shard, one is damaged, they do not belong together, or a control has a recipe's name.
    """
    shards = _read_all(experiment)
    if not shards:
        raise UserError(f"{experiment / SHARDS}: holds no shard: `crossmodal shard` writes one")
    about = shards[0][1]
    for number, (folder, other) in enumerate(shards):
        for earlier, before in shards[:number]:
            _refuse_other(earlier, before, other, folder)
    configs = [Resolved.parse(other["config"], str(folder / ABOUT)) for folder, other in shards]
    config = _of_all(configs).replaced(experiment=experiment.name)
    tables = [_read(folder / SCORES) for folder, _ in shards]
    notes = [note for one, table in zip(configs, tables, strict=True) for note in _notes(one, table)]
    per_case = pd.concat([*tables, *_controls(experiment, config.methods)], ignore_index=True)
    order = {_key(one, OF_PREDICTION): number for number, one in enumerate(predictions(config))}
    keys = [order.get(key, len(order)) for key in per_case[OF_PREDICTION].itertuples(index=False, name=None)]
    per_case = per_case.iloc[pd.Series(keys).argsort(kind="stable")]
    kept = _kept(shards)
    curves = pd.concat([_curves(folder, kept[folder]) for folder, _ in shards], ignore_index=True)
    curves = curves.sort_values(OF_TRAINING, kind="stable")
    records = [other["trainings"][path]["cost"] for folder, other in shards for path in kept[folder]]
    write_yaml(experiment / "config.yaml", config.plain())
    write_json(experiment / "versions.json", about["versions"])
    write_table(per_case, experiment / "tables" / "per_case.csv")
    write_table(pd.DataFrame(notes, columns=NOTES), experiment / "tables" / "notes.csv")
    write_table(mean_costs(pd.DataFrame(records, columns=COST)), experiment / "tables" / "cost.csv")
    write_table(curves, experiment / "figure_data" / "curves.csv")
    for folder, _ in shards:
        if (folder / "figure_data").is_dir():
            shutil.copytree(folder / "figure_data", experiment / "figure_data", dirs_exist_ok=True)
    return [_words(note) for note in notes]


def _about(experiment: Path, config: Resolved) -> dict[str, Any]:
    """shard.json: config, versions, hashes of the data, and of each training its hashes and cost."""
    found, data = {}, set()
    wanted = trainings(config)
    for training, folder in trainings_in(experiment / "models"):
        if training in wanted:
            manifest = _json(folder / "manifest.json")
            data.add(manifest["dataset_sha256"])
            cost = dict(zip(COST, cost_record(folder), strict=True))
            hashes = {key: manifest[key] for key in ("weights_sha256", "recipe_sha256")}
            found[_path(training)] = hashes | {"cost": cost}
    if len(found) < len(wanted) or len(data) > 1:
        what = "trainings of several datasets" if len(data) > 1 else f"{len(found)} of {len(wanted)} trainings"
        raise UserError(f"{experiment / 'models'}: holds {what}: finish the run first")
    cases = read_cases(experiment / layout.CASES)
    scored = cases[~left_out(cases)].sort_values(["cohort", "case"])
    columns = [name for name in ("cohort", "case", "patient", "split", "sha256") if name in scored]
    return {
        "config": config.plain(),
        "versions": _json(experiment / "versions.json"),
        "dataset_sha256": data.pop(),
        "scored_cases_sha256": sha256_of(scored[columns].to_numpy().tolist()),
        "trainings": found,
    }


def _refuse_other(there: Path, found: dict[str, Any], wanted: dict[str, Any], where: Path) -> None:
    """Stop when two shards are not of one experiment, or score a training that both have."""
    refuse_other(_identity(found, wanted), _identity(wanted, found), where, f"It cannot stand beside {there}.")
    both = sorted(_scored(found) & _scored(wanted))
    if both:
        raise UserError(f"{where}: {both[0]} is in {there} too ({len(both)} in all): leave one of the two out")


def _scored(about: dict[str, Any]) -> set[str]:
    """The trainings of a shard whose scores it holds; the others are teachers of methods that it scores."""
    return {path for path in about["trainings"] if path.split("/")[0] in about["config"]["methods"]}


def _kept(shards: list[tuple[Path, dict[str, Any]]]) -> dict[Path, list[str]]:
    """Of each shard the trainings whose curve and cost count: each once, from the shard that scores it if one does."""
    places = {path: folder for folder, about in reversed(shards) for path in about["trainings"]}
    places |= {path: folder for folder, about in shards for path in _scored(about)}
    return {folder: [path for path in about["trainings"] if places[path] == folder] for folder, about in shards}


def _controls(experiment: Path, methods: list[str]) -> list[pd.DataFrame]:
    """The scores of networks that are no recipe's; one that has a method's name is refused."""
    tables = []
    for path in sorted((experiment / CONTROLS).glob("*.csv.gz")):
        table = _read(path)
        both = sorted(set(table["method"]) & set(methods))
        if both:
            raise UserError(f"{path}: has scores of {both[0]}, which is a method of the shards: rename one of the two")
        tables.append(table)
    return tables


def _curves(folder: Path, kept: list[str]) -> pd.DataFrame:
    """The rows of a shard's loss curves that are of these trainings."""
    curves = _read(folder / CURVES)
    return curves[[_path(Training(*key)) in kept for key in curves[OF_TRAINING].itertuples(index=False, name=None)]]


def _path(training: Training) -> str:
    """How shard.json calls a training."""
    return str(training.path(f"{layout.NETWORK}/{layout.FOLD}"))


def _identity(about: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What two shards of one experiment have in common; of recipes, those of the methods that both have."""
    config = without_words(json.loads(json.dumps(about["config"])))
    recipes = {name: one for name, one in config["recipes"].items() if name in other["config"]["recipes"]}
    kept = {key: config.get(key) for key in (*FIXED, "any_subsets", "folds")}
    hashes = {key: about[key] for key in ("versions", "dataset_sha256", "scored_cases_sha256")}
    return hashes | {"config": kept, "recipes": dict(sorted(recipes.items()))}


def _of_all(configs: list[Resolved]) -> Resolved:
    """One config with the methods, recipes, subsets and seeds of all."""
    every = {key: [value for one in configs for value in getattr(one, key)] for key in ("methods", "subsets", "seeds")}
    return configs[0].replaced(
        methods=list(dict.fromkeys(every["methods"])),
        subsets=list(dict.fromkeys(every["subsets"])),
        seeds=sorted(set(every["seeds"])),
        recipes={name: recipe for one in configs for name, recipe in one.recipes.items()},
    )


def _read_all(experiment: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The shards of an experiment with their shard.json, sorted by name."""
    return [(path.parent, _json(path)) for path in sorted((experiment / SHARDS).glob(f"*/{ABOUT}"))]


def _notes(config: Resolved, per_case: pd.DataFrame) -> list[tuple]:
    """Rows of notes.csv: predictions that the config asks for and that have no score."""
    found = set(per_case[OF_PREDICTION].drop_duplicates().itertuples(index=False, name=None))
    wanted = [_key(one, OF_PREDICTION) for one in predictions(config)]
    return [(*key, "missing: not scored") for key in wanted if key not in found]


def _key(one: Prediction | Training, names: list[str]) -> tuple[str, ...]:
    return tuple(str(getattr(one, name)) for name in names)


def _words(note: Iterable[str]) -> str:
    return "/".join(note).replace("/missing", " is missing", 1)


def _read(path: Path) -> pd.DataFrame:
    """A table as text, so that what is written again has the same digits."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as a table ({error}): finish the run, or restore the file") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}): finish the run, or restore the file") from None


def _write_zipped(table: pd.DataFrame, path: Path) -> None:
    """A gzipped CSV whose bytes hold no time and no name."""
    text = table.to_csv(index=False, lineterminator="\n").encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(text, mtime=0))
