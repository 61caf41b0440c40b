"""Which network segments a patient with given sequences, and why: by an experiment's own validation."""

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.domain import ALL, REGIONS, parse_subset, subset_name
from crossmodal.errors import UserError, nearest
from crossmodal.experiment.initial import NETWORK
from crossmodal.wording import estimate, modalities_label, plural

if TYPE_CHECKING:
    import pandas as pd

SHIPPED = NETWORK  # the model folder of the network that comes with this library
SHIPPED_AXES = "LPS"  # of its training images, as BraTS stores them
AVERAGED = "WT, TC and ET"


@dataclass(frozen=True)
class Candidate:
    """Networks of one method that could take the given sequences, with their Dice in the experiment's tables.

    `dice` is the mean over patients of each patient's mean Dice over WT, TC and ET, with its 95% interval over
    patients; NaN, and `n` 0, where the method was not validated on exactly these sequences.
    """

    method: str
    any_subset: bool
    folders: tuple[Path, ...]  # model folders, one for each seed
    dice: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    unit: str = "patient"

    @property
    def validation(self) -> str:
        """Its Dice in words."""
        if not self.n:
            return "not validated on these sequences"
        return f"mean Dice over {AVERAGED} {estimate(self.dice, self.low, self.high)}, n = {plural(self.n, self.unit)}"


@dataclass(frozen=True)
class Choice:
    """The networks that segment a patient, and why these.

    Args:
        folders: model folders whose probabilities are averaged.
        folds: of each folder; None for all that are there.
        modalities: what they take, in the fixed order; an any-subset network takes any of them.
        method: their method; "" where the folder does not say.
        why: the reason in one sentence.
    """

    folders: tuple[Path, ...]
    folds: tuple[int, ...] | None
    modalities: tuple[str, ...]
    method: str
    why: str


class Networks:
    """What --models names: a model folder, an experiment folder, or by default the network that is shipped.

    Args:
        models: the folder; None for the shipped network.
        method: of an experiment, the method to take whatever its validation; None for the best.
        ensemble: whether all seeds and folds of an experiment's method are averaged, rather than the first taken.
        shipped: where the shipped network is.

    Raises:
        UserError: there is no such folder, it holds no network, or `method` is not one of its methods.
    """

    def __init__(
        self, models: Path | None, method: str | None = None, ensemble: bool = False, shipped: Path | None = None
    ) -> None:
        shipped = shipped or SHIPPED
        self.folder, self.method, self.ensemble = models or shipped, method, ensemble
        self.is_shipped = models is None
        if self.is_shipped and not (shipped / "plans.json").is_file():
            raise UserError(
                "this version ships no network: give --models, a model folder or an experiment's folder (results/NAME)"
            )
        if not self.folder.is_dir():
            raise UserError(f"--models {self.folder}: there is no such folder")
        self.is_experiment = not (self.folder / "plans.json").is_file()
        if self.is_experiment and not (self.folder / "models").is_dir():
            raise UserError(
                f"--models {self.folder}: is neither a model folder (it has no plans.json) nor an experiment's folder "
                "(it has no models/)"
            )
        if method and not self.is_experiment:
            raise UserError(f"--method {method}: is for an experiment's folder; --models names one network already")
        known = sorted({path.parents[1].name for path in self.trained}) if self.is_experiment else []
        if method and method not in known:
            raise UserError(f"--method {method}: {self.folder} has no network of it; {nearest(method, known)}")

    @property
    def trained(self) -> list[Path]:
        """The experiment's model folders that hold a finished network, sorted."""
        return sorted({path.parents[1] for path in self.folder.glob("models/*/*/seed*/fold_*/checkpoint_final.pth")})

    @property
    def axes(self) -> str | None:
        """The axes (such as LPS) in which the training images were stored; None where that is not known."""
        if self.is_shipped:
            return SHIPPED_AXES
        places = [self.folder, *self.folder.resolve().parents]
        tables = [place / "cohort" / "cases.csv" for place in places[:5]]
        table = next((path for path in tables if path.is_file()), None)
        return _axes_of_training(table) if table else None

    def candidates(self, subset: str) -> list[Candidate]:
        """An experiment's networks that can take these sequences: those trained for them first, the best first.

        Args:
            subset: such as t1ce+flair.
        """
        found: dict[tuple[str, bool], list[Path]] = {}
        for folder in self.trained:
            method, modalities = folder.parents[1].name, folder.parent.name
            recipe = recipe_of(folder)
            any_subset = recipe.get("modalities") == "any" and modalities == ALL
            if recipe.get("input") != "class_mean" and (any_subset or modalities == subset):
                found.setdefault((method, any_subset), []).append(folder)
        listed = [Candidate(method, any_subset, tuple(folders)) for (method, any_subset), folders in found.items()]
        scores, unit = self._scores
        validated = [_validated(one, subset, scores, unit) for one in listed]
        return sorted(validated, key=lambda one: (one.any_subset, one.n == 0, -one.dice if one.n else 0, one.method))

    def choose(self, subset: str) -> Choice:
        """The networks for a patient with these sequences.

        Args:
            subset: such as t1ce+flair.

        Raises:
            UserError: none can take them, or several can and no table says which is the best.
        """
        if not self.is_experiment:
            recipe, needed = recipe_of(self.folder), _channels(self.folder)
            missing = [name for name in needed if name not in parse_subset(subset)]
            if missing and recipe.get("modalities") != "any":
                raise UserError(
                    f"{self.folder}: this model needs the modalities {subset_name(needed)}: "
                    f"missing {', '.join(missing)}"
                )
            why = "the network that comes with Crossmodal" if self.is_shipped else "--models names it"
            method = _read(self.folder / "plans.json").get("distillation", {}).get("method", "")
            return Choice((self.folder,), None, needed, method, why)
        options = self.candidates(subset)
        if not options:
            raise UserError(
                f"{self.folder}: has no network for {modalities_label(subset)}, and none that takes any sequences; "
                f"it has: {', '.join(sorted({path.parent.name for path in self.trained})) or 'no trained network'}"
            )
        chosen, why = self._preferred(options, subset)
        folders, folds = (
            (chosen.folders, None) if self.ensemble else (chosen.folders[:1], _folds(chosen.folders[0])[:1])
        )
        count = sum(len(folds or _folds(folder)) for folder in folders)
        averaged = f"; {plural(count, 'network')} averaged" if count > 1 else ""
        return Choice(folders, folds, _channels(folders[0]), chosen.method, f"{why}{averaged}")

    def _preferred(self, options: list[Candidate], subset: str) -> tuple[Candidate, str]:
        named = [one for one in options if one.method == self.method]
        if self.method and not named:
            raise UserError(
                f"--method {self.method}: {self.folder} has no network of it for {modalities_label(subset)}; "
                f"there are {', '.join(one.method for one in options)}"
            )
        if self.method:
            return named[0], f"{self.method}, as --method says: {named[0].validation}"
        best = options[0]
        if not best.n and len([one for one in options if one.any_subset == best.any_subset]) > 1:
            methods = ", ".join(one.method for one in options)
            raise UserError(
                f"{self.folder}: several networks take {modalities_label(subset)} ({methods})"
                " and no table says which is the best: name one with --method, or run the experiment to its tables"
            )
        if best.any_subset:
            return best, (
                f"{best.method}: no network was trained for {modalities_label(subset)} alone, and this one takes any "
                f"sequences; {best.validation}"
            )
        better = [one for one in options if one.any_subset and one.n and one.dice > best.dice]
        note = (
            f" ({better[0].method}, for any sequences, has {better[0].dice:.3f}: --method takes it)" if better else ""
        )
        rank = "the best validated of those" if best.n else "the only network"
        return best, f"{best.method}: {rank} trained for {modalities_label(subset)}; {best.validation}{note}"

    @property
    def _scores(self) -> tuple["pd.DataFrame | None", str]:
        """Per-case Dice of the cohort that the networks were trained on, and what its members are called."""
        return _scores_of(self.folder)


def recipe_of(model: Path) -> dict:
    """The recipe in a model folder's plans.json; empty for a network of stock nnU-Net."""
    return _read(model / "plans.json").get("distillation", {}).get("recipe", {})


@cache
def _scores_of(experiment: Path) -> tuple["pd.DataFrame | None", str]:
    from crossmodal.evaluate.per_case import config_of, held_out, read_per_case

    path = experiment / "tables" / "per_case.csv"
    if not path.is_file():
        return None, "patient"
    rows, _ = held_out(read_per_case(path))
    config = config_of(path)
    return rows[rows["cohort"] == rows["cohort"].iloc[0]], "phantom" if config and config.is_phantom else "patient"


def _validated(one: Candidate, subset: str, scores: "pd.DataFrame | None", unit: str) -> Candidate:
    """The candidate with its Dice, if the tables have it."""
    if scores is None:
        return one
    from crossmodal.evaluate.per_case import patients
    from crossmodal.evaluate.statistics import generator, mean_interval

    rows = scores[(scores["method"] == one.method) & (scores["modalities"] == subset)]
    if rows.empty or set(rows["region"]) != set(REGIONS):
        return one
    dice = patients(rows).groupby("patient")["dice"].mean()
    interval = mean_interval(dice.to_numpy(), generator("predict", one.method, subset))
    return replace(one, dice=float(dice.mean()), low=interval.low, high=interval.high, n=len(dice), unit=unit)


@cache
def _axes_of_training(table: Path) -> str | None:
    import nibabel

    from crossmodal.cohort.cases_csv import read_cases
    from crossmodal.cohort.volumes import split_spec
    from crossmodal.domain import MODALITIES

    cases = read_cases(table)
    training = cases[cases["split"] == "train"]
    for spec in training.reindex(columns=list(MODALITIES)).fillna("").head(1).to_numpy().ravel():
        file = split_spec(spec)[0]
        for path in (file, table.parents[3] / file if len(table.resolve().parents) > 3 else file):
            if spec and path.is_file():
                return "".join(nibabel.aff2axcodes(nibabel.load(path).affine))
    return None


def _channels(model: Path) -> tuple[str, ...]:
    return parse_subset("+".join(_read(model / "dataset.json")["channel_names"].values()).lower())


def _folds(model: Path) -> tuple[int, ...]:
    there = model.glob("fold_*/checkpoint_final.pth")
    return tuple(sorted(int(path.parent.name.removeprefix("fold_")) for path in there))


def _read(path: Path) -> dict:
    if not path.is_file():
        raise UserError(f"{path}: missing: is {path.parent} a model folder that finished training?")
    return json.loads(path.read_text(encoding="utf-8"))
