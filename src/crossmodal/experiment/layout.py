"""Where results lie: the folders and files of results/<experiment>, said once.

The names are a contract with readers of these files (docs/architecture.md). Patterns hold Snakemake's wildcards.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NETWORK = "{method}/{modalities}/seed{seed}"
FOLD = "fold_{fold}"
MODEL = f"models/{NETWORK}"
MANIFEST = f"{MODEL}/{FOLD}/manifest.json"
CHECKPOINT = f"{MODEL}/{FOLD}/checkpoint_final.pth"
PREDICTIONS = f"predictions/{{cohort}}/{NETWORK}/{FOLD}"
SCORES = f"scores/{{cohort}}/{NETWORK}/{FOLD}.csv"
CASES = "cohort/cases.csv"
DATASET = "nnunet"


class Run:
    """A training or a prediction: where its files lie."""

    def path(self, pattern: str) -> Path:
        """A pattern of this module with this run's values, relative to the experiment's folder."""
        return Path(pattern.format(**vars(self)))


@dataclass(frozen=True, order=True)
class Training(Run):
    """One training of one network: of a method, for a subset, with a seed, on a fold."""

    method: str
    modalities: str
    seed: int
    fold: int


@dataclass(frozen=True, order=True)
class Prediction(Run):
    """One network applied to one cohort with one subset: what one folder of predictions and one score file hold."""

    cohort: str
    method: str
    modalities: str
    seed: int
    fold: int


def trainings_in(models: Path) -> Iterator[tuple[Training, Path]]:
    """Every training that has a folder below models/, with that folder, sorted."""
    found = []
    for folder in models.glob("*/*/seed*/fold_*"):
        method, modalities, seed, fold = folder.relative_to(models).parts
        if folder.is_dir() and seed[4:].isdigit() and fold[5:].isdigit():
            found.append((Training(method, modalities, int(seed[4:]), int(fold[5:])), folder))
    yield from sorted(found)
