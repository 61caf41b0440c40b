"""Model cards: for each network what it is, what it was trained on, how well it does, and whose data it rests on."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from crossmodal.errors import UserError
from crossmodal.evaluate.results import Experiment
from crossmodal.files import sha256_of, write_text
from crossmodal.report.answer import network, training
from crossmodal.report.methods_text import describe

TEMPLATE = "model_card.md.j2"
CARD = "MODEL_CARD.md"


def write_cards(folder: Path, templates: Path) -> list[Path]:
    """Write a card for each model, into its folder and, for readers of the repository, into model_cards/.

    Args:
        folder: results/<experiment>.
        templates: the folder of model_card.md.j2 and data_terms.yaml.

    Returns:
        The cards in model_cards/; those of models that are gone are deleted.

    Raises:
        UserError: a model folder or cases.csv is not whole.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(templates), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.get_template(TEMPLATE)
    shared = experiment_facts(folder, templates)
    written = []
    for model in sorted((folder / "models").glob("*/*/seed*")):
        facts = shared | model_facts(folder, model)
        text = template.render(**facts)
        write_text(model / CARD, text)
        written.append(folder / "model_cards" / f"{facts['method']}_{facts['modalities']}_seed{facts['seed']}.md")
        write_text(written[-1], text)
    for old in set((folder / "model_cards").glob("*.md")) - set(written):
        old.unlink()
    return written


def experiment_facts(folder: Path, templates: Path) -> dict[str, Any]:
    """What all cards of an experiment share."""
    experiment = Experiment(folder)
    config = experiment.config
    cases = pd.read_csv(folder / "cohort" / "cases.csv", dtype=str, keep_default_na=False)
    terms = yaml.safe_load((templates / "data_terms.yaml").read_text(encoding="utf-8"))
    lock = config.get("cohort_lock") or {}
    cohorts = []
    for name, rows in cases.groupby("cohort", sort=False):
        phantom = experiment.is_phantom and (name == config["cohorts"][0] or name.startswith("phantom"))
        release = "phantom" if phantom else rows["release"].iloc[0]
        found = dict(terms.get(release) or terms["table"])
        if name == config["cohorts"][0]:
            found |= {key: lock[key] for key in ("licence", "citation") if key in lock}
        cohorts.append({"name": name, "counts": counts(rows), "terms": found})
    return {
        "experiment": experiment.name,
        "phantom": experiment.is_phantom,
        "config": config,
        "cohorts": cohorts,
        "lock": lock,
        "split_sha256": split_hash(cases),
        "network": network(config),
        "training": training(config.get("budget_settings") or {}),
        "versions": experiment.versions,
    }


def model_facts(folder: Path, model: Path) -> dict[str, Any]:
    """What is said of one model: its identity, its weights' hashes, its metrics and its cost."""
    manifests = sorted(model.glob("fold_*/manifest.json"))
    if not manifests:
        raise UserError(f"{model}: has no finished training in it: finish the run first")
    folds = [json.loads(path.read_text(encoding="utf-8")) for path in manifests]
    first = folds[0]
    costs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(model.glob("fold_*/cost.json"))]
    recipe = first["recipe"]
    return {
        "path": model.relative_to(folder.parent.parent).as_posix(),
        "method": first["method"],
        "modalities": first["modalities"],
        "seed": first["seed"],
        "recipe": recipe,
        "recipe_text": describe(recipe),
        "recipe_yaml": yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100),
        "recipe_sha256": first["recipe_sha256"],
        "dataset_sha256": first["dataset_sha256"],
        "oracle": recipe.get("input") == "class_mean",
        "weights": [(fold["fold"], fold["weights_sha256"]) for fold in folds],
        "costs": costs,
        "metrics": metrics_of(folder, first["method"], first["modalities"], recipe),
    }


def metrics_of(folder: Path, method: str, modalities: str, recipe: dict) -> list[dict[str, Any]]:
    """Rows of tables/summary.csv that this network's predictions gave, as text ready for a table."""
    table = pd.read_csv(folder / "tables" / "summary.csv")
    rows = table[table["method"] == method]
    if recipe.get("modalities") != "any":
        rows = rows[rows["modalities"] == modalities]
    return [
        {
            "cohort": row["cohort"],
            "modalities": row["modalities"],
            "region": row["region"],
            "n": row["n"],
            "dice": f"{row['dice_mean']:.3f} [{row['dice_ci_low']:.3f}, {row['dice_ci_high']:.3f}]",
            "hd95": f"{row['hd95_mean_mm']:.1f}",
            "hd95_median": f"{row['hd95_median_mm']:.1f}",
        }
        for row in rows.to_dict("records")
    ]


def counts(rows: pd.DataFrame) -> str:
    """As "30 train, 10 test (40 patients)"."""
    parts = ", ".join(f"{number} {split}" for split, number in rows["split"].value_counts(sort=False).items())
    return f"{parts} ({rows['patient'].nunique()} patients)"


def split_hash(cases: pd.DataFrame) -> str:
    """SHA-256 of who is where: cohort, case, patient, split and fold of each row, and not where the files lie."""
    return sha256_of(cases[["cohort", "case", "patient", "split", "fold"]].values.tolist())
