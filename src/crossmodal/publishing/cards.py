"""Model cards: what each network is, what it was trained on, how well it does, and under which terms its data are."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.data import TEMPLATES
from crossmodal.errors import UserError
from crossmodal.evaluate.results import Results
from crossmodal.experiment import layout
from crossmodal.experiment.recipe import Recipe
from crossmodal.files import sha256_of, write_text
from crossmodal.report.facts import describe, network, training
from crossmodal.wording import estimate, number, plural

CARD = "MODEL_CARD.md"


def write_cards(folder: Path) -> None:
    """Write a card for each model of results/<experiment>, into its folder and, for readers in git, into model_cards/.

    In model_cards/ the cards of models that no longer exist are deleted.

    Raises:
        UserError: a model has no finished training, or cases.csv is missing.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    template = environment.get_template("model_card.md.j2")
    shared = experiment_facts(folder)
    written = []
    for model in sorted((folder / "models").glob("*/*/seed*")):
        facts = shared | model_facts(folder, model)
        text = template.render(facts)
        write_text(model / CARD, text)
        written.append(folder / "model_cards" / f"{facts['method']}_{facts['modalities']}_seed{facts['seed']}.md")
        write_text(written[-1], text)
    for old in set((folder / "model_cards").glob("*.md")) - set(written):
        old.unlink()


def experiment_facts(folder: Path) -> dict[str, Any]:
    """What all cards of an experiment share."""
    results = Results(folder)
    config = results.config
    cases = read_cases(folder / layout.CASES)
    terms = yaml.safe_load((TEMPLATES / "data_terms.yaml").read_text(encoding="utf-8"))
    lock = config.cohort_lock or {}
    cohorts = []
    for name, rows in cases.groupby("cohort", sort=False):
        phantom = results.is_phantom and (name == config.cohorts[0] or name.startswith("phantom"))
        release = "phantom" if phantom else rows["release"].iloc[0]
        found = dict(terms.get(release) or terms["table"])
        if name == config.cohorts[0]:
            found |= {key: lock[key] for key in ("licence", "citation") if key in lock}
        cohorts.append({"name": name, "counts": counts(rows), "terms": found})
    return {
        "experiment": results.name,
        "phantom": results.is_phantom,
        "config": config,
        "cohorts": cohorts,
        "lock": lock,
        "split_sha256": split_hash(cases),
        "network": network(config),
        "training": training(config.budget_settings),
        "versions": results.versions,
    }


def model_facts(folder: Path, model: Path) -> dict[str, Any]:
    """What is said of one model: its identity, its weights' hashes, its metrics and its cost.

    Args:
        folder: results/<experiment>.
        model: models/<method>/<modalities>/seed<n> in it.
    """
    manifests = sorted(model.glob("fold_*/manifest.json"))
    if not manifests:
        raise UserError(f"{model}: has no finished training: finish the run first")
    folds = [json.loads(path.read_text(encoding="utf-8")) for path in manifests]
    first = folds[0]
    recipe = Recipe.parse(first["recipe"], str(manifests[0]))
    return {
        "path": model.relative_to(folder.parent.parent).as_posix(),
        **{key: first[key] for key in ("method", "modalities", "seed", "recipe_sha256", "dataset_sha256")},
        "recipe": recipe,
        "recipe_text": describe(recipe),
        "recipe_yaml": yaml.safe_dump(first["recipe"], sort_keys=False, allow_unicode=True, width=100),
        "weights": [(fold["fold"], fold["weights_sha256"]) for fold in folds],
        "costs": [json.loads(path.read_text(encoding="utf-8")) for path in sorted(model.glob("fold_*/cost.json"))],
        "metrics": metrics_of(folder, first["method"], first["modalities"], recipe),
    }


def metrics_of(folder: Path, method: str, modalities: str, recipe: Recipe) -> list[dict[str, Any]]:
    """Rows of tables/summary.csv that this network's predictions gave, as text ready for a table.

    Args:
        folder: results/<experiment>.
        method: the network's method.
        modalities: the subset that it was trained on.
        recipe: of the method.
    """
    table = pd.read_csv(folder / "tables" / "summary.csv")
    rows = table[table["method"] == method]
    return [
        {key: row[key] for key in ("cohort", "modalities", "region", "n")}
        | {
            "dice": estimate(row["dice_mean"], row["dice_ci_low"], row["dice_ci_high"]),
            "hd95": number(row["hd95_mean_mm"], 1),
            "hd95_median": number(row["hd95_median_mm"], 1),
        }
        for row in rows.to_dict("records")
        if recipe.trained_modalities(row["modalities"]) == modalities
    ]


def counts(rows: pd.DataFrame) -> str:
    """As "30 train, 10 test (40 patients)"."""
    parts = ", ".join(f"{count} {split}" for split, count in rows["split"].value_counts(sort=False).items())
    return f"{parts} ({plural(rows['patient'].nunique(), 'patient')})"


def split_hash(cases: pd.DataFrame) -> str:
    """SHA-256 of cohort, case, patient, split and fold of each row. Paths of files do not count."""
    return sha256_of(cases[["cohort", "case", "patient", "split", "fold"]].values.tolist())
