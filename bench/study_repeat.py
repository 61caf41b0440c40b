"""Trainings of the reference study made again: drawn at random from the committed shards, and compared with them.

    python bench/study_repeat.py [--draw 0] [--count 2] [--cores 2]

Each drawn training is made by itself, with the teacher that it needs, in a folder results/repeat… of its own.
Writes the table in docs/study.md: whether the weights are the same bits, and how far scores of single cases differ. On
another kind of processor sums are rounded differently: a repeat may then be as far away as another seed.
"""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from measure import REPOSITORY, markdown_table
from study import PARTS, RESULTS, make_site_b, part_config
from study_weights import PAGE, run

from crossmodal.evaluate.shards import ABOUT, SCORES, SHARDS
from crossmodal.experiment.layout import MANIFEST, NETWORK, Training
from crossmodal.files import replace_between
from crossmodal.wording import modalities_label, number

INTO = REPOSITORY / "results" / "reference_study"
OF_SCORE = ["cohort", "case", "method", "modalities", "seed", "fold", "region"]


@dataclass(frozen=True)
class Drawn:
    """A training of a shard whose scores the shard holds."""

    training: Training
    shard: Path
    weights: str  # their hash


def scored(study: Path) -> list[Drawn]:
    """Every training that the study's committed shards score, in a fixed order."""
    found = []
    for file in sorted((study / SHARDS).glob(f"*/{ABOUT}")):
        about = json.loads(file.read_text())
        for path, kept in about["trainings"].items():
            method, modalities, seed, fold = re.fullmatch(r"(.+)/(.+)/seed(\d+)/fold_(\d+)", path).groups()
            if method in about["config"]["methods"]:
                training = Training(method, modalities, int(seed), int(fold))
                found.append(Drawn(training, file.parent, kept["weights_sha256"]))
    return found


def config_of(training: Training) -> dict[str, Any]:
    """The study's config for this training alone."""
    part = next(number for number, methods in enumerate(PARTS, 1) if training.method in methods)
    config = part_config(training.seed, part)
    overrides = {name: one for name, one in config["overrides"].items() if name == training.method}
    subsets = [training.modalities] if training.modalities in config["subsets"] else config["subsets"][:1]
    name = f"repeat{training.seed}-{training.method}-{subsets[0].replace('+', '-')}"
    return config | {"experiment": name, "methods": [training.method], "subsets": subsets, "overrides": overrides}


def compared(drawn: Drawn, again: pd.DataFrame, weights: str) -> list[str]:
    """A row of the table: what was drawn, and how far it differs.

    Args:
        drawn: the training.
        again: per_case.csv of its repeat.
        weights: the hash of the repeat's.

    Raises:
        SystemExit: the repeat has scores that the shard lacks, or none.
    """
    one, committed = drawn.training, pd.read_csv(drawn.shard / SCORES)
    both = again.merge(committed, "left", OF_SCORE, suffixes=("_again", ""), indicator="found")
    if (both["found"] != "both").any() or both.empty:
        raise SystemExit(f"{one.path(NETWORK)}: was made again with other cases than {drawn.shard.name} has")
    apart = (both["dice_again"] - both["dice"]).to_numpy()
    return [
        *(f"`{one.method}`", modalities_label(one.modalities), str(one.seed)),
        *("the same" if weights == drawn.weights else "others", str(len(both)), str(int((apart == 0).sum()))),
        *(number(np.abs(apart).max(), 4), number(apart.mean(), 4, sign=True)),
    ]


def main(draw: int = 0, count: int = 2, cores: int = 2) -> None:
    """Draw trainings, make them again and write the table."""
    make_site_b()
    rows = []
    for one in random.Random(draw).sample(scored(INTO), count):
        config = config_of(one.training)
        place = Path("results") / config["experiment"]
        if run(config, cores, f"{place}/{RESULTS[0]}"):
            raise SystemExit("see above; the same command goes on")
        manifest = json.loads((REPOSITORY / place / one.training.path(MANIFEST)).read_text())
        rows.append(compared(one, pd.read_csv(REPOSITORY / place / RESULTS[0]), manifest["weights_sha256"]))
    head = ["method", "given", "seed", "weights", "scores", "equal", "largest difference in Dice", "mean difference"]
    replace_between(PAGE, "repeats", markdown_table(head, rows))


if __name__ == "__main__":
    typer.run(main)
