"""The reporting checklist, filled in from the experiment; data/templates/checklist.yaml holds what is asked.

What the experiment's folder does not hold is said to be unknown, never guessed.
"""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import yaml

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.data import TEMPLATES
from crossmodal.domain import REGION_LABELS
from crossmodal.errors import UserError
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.evaluate.trainings import FEWEST
from crossmodal.experiment import layout, runs
from crossmodal.report import facts
from crossmodal.report.answer import answer, question, tested
from crossmodal.report.sections import limits, problems
from crossmodal.wording import enumerate_words, method_label, modalities_label, number, plural

SOURCES = (
    "CLAIM 2024: Tejani et al. 2024, doi:10.1148/ryai.240300",
    "TRIPOD+AI: Collins et al. 2024, doi:10.1136/bmj-2023-078378",
)
NO_PATIENTS = "Does not apply: the images are simulated, there are no patients."
UNKNOWN = "Not in the tables of this run."


class Item(NamedTuple):
    """One point of the checklist.

    Attributes:
        claim, tripod: the items' numbers in CLAIM 2024 and TRIPOD+AI, empty where one does not ask it.
        asks: what is asked.
        says: what the run answers; empty where it cannot.
        author: what only the author can say; empty where nothing is left.
    """

    claim: str
    tripod: str
    asks: str
    says: str
    author: str

    @property
    def numbers(self) -> str:
        """As "CLAIM 19 · TRIPOD+AI 12a"."""
        given = (("CLAIM", self.claim), ("TRIPOD+AI", self.tripod))
        return " · ".join(f"{name} {text}" for name, text in given if text)


def checklist(results: Results) -> dict[str, list[Item]]:
    """All items by section, filled in."""
    asked = yaml.safe_load((TEMPLATES / "checklist.yaml").read_text(encoding="utf-8"))
    known = _about_the_run(results) | _about_the_data(results) | _about_the_results(results)
    return {section: [_filled(entry, known, results.is_phantom) for entry in items] for section, items in asked.items()}


def _filled(entry: dict, known: dict[str, str], phantom: bool) -> Item:
    says, author = (entry.get(key, "").format(**known) for key in ("says", "author"))
    if phantom and entry.get("patients"):
        says, author = NO_PATIENTS, ""
    return Item(entry.get("claim", ""), entry.get("tripod", ""), entry["asks"], says, author)


def summary(items: dict[str, list[Item]]) -> str:
    """How many points are answered, wholly or in part, and how many are left to the author."""
    every = [item for section in items.values() for item in section]
    aside = sum(item.says == NO_PATIENTS for item in every)
    parts = [
        f"{sum(bool(item.says) and not item.author for item in every) - aside} answered from the run",
        f"{sum(bool(item.says and item.author) for item in every)} in part",
        f"{sum(not item.says for item in every)} left to the author",
    ]
    return f"{plural(len(every), 'point')}: {', '.join(parts)}" + (f", {aside} do not apply" if aside else "")


def markdown(results: Results) -> str:
    """checklist.md: a table for each section."""
    items = checklist(results)
    lines = [f"# Reporting checklist: {results.name}", "", f"{summary(items)}. Sources: {'; '.join(SOURCES)}.", ""]
    if results.is_phantom:
        lines += ["**Phantom run: simulated images, no patients.**", ""]
    for title, section in items.items():
        lines += [
            f"## {title}",
            "",
            "| CLAIM 2024 | TRIPOD+AI | What is asked | This run |",
            "| :-- | :-- | :-- | :-- |",
        ]
        for item in section:
            left = f"**The author must say:** {item.author}." if item.author else ""
            cells = (item.claim, item.tripod, item.asks, " ".join(filter(None, (item.says, left))))
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _found(fact: Callable[[], str]) -> str:
    try:
        return fact()
    except MissingDataError:
        return UNKNOWN


def _about_the_run(results: Results) -> dict[str, str]:
    """Methods, training and statistics, from the config."""
    config = results.config
    recipes = {method: config.recipes[method] for method in config.methods if method in config.recipes}
    taught = any(recipe.distill for recipe in recipes.values())
    chosen = [method_label(method) for method, recipe in recipes.items() if recipe.choices]
    trainings = runs.trainings(config.model_copy(update={"methods": list(recipes)}))
    few = len(config.seeds) * len(config.folds) < FEWEST
    uncertainty = (
        f"Fewer than {FEWEST} trainings of each: intervals are over {results.unit}s alone, and no gain is claimed."
        if few
        else f"95% intervals and p over {results.unit}s and trainings, corrected after Holm; equivalence within "
        f"±{config.margin:g} Dice."
    )
    varied = (facts.seeds(results), facts.folds(config), plural(len(config.subsets), "subset") + " of the sequences")
    version = results.versions.get("crossmodal", "")
    made = "The phantom is made by the code." if results.is_phantom else "Images are not passed on with the results."
    return {
        "kind": "Deep learning: segmentation networks (nnU-Net v2)" + (", knowledge distillation" if taught else ""),
        "question": question(results),
        "network": facts.network(config),
        "methods": enumerate_words([method_label(method) for method in config.methods]),
        "versions": ", ".join(f"{name} {version}" for name, version in results.versions.items()) or "Not recorded",
        "training": facts.training_setup(results),
        "trainings": plural(len(trainings), "training"),
        "choices": f" Settings of our choice are named in the recipe of {enumerate_words(chosen)}." if chosen else "",
        "averaged": "averaged over mirrored inputs" if config.budget_settings.mirroring else "from one forward pass",
        "uncertainty": uncertainty,
        "varied": f"Trained with {enumerate_words(list(varied))}",
        "limits": " ".join(limits(results)),
        "available": f"Code: {f'Crossmodal {version}'.strip()}, Apache-2.0. {made}",
        "where": "where networks and tables can be had" + ("" if results.is_phantom else ", and how to get the data"),
    }


def _about_the_data(results: Results) -> dict[str, str]:
    """Sources, checks, reference standard and split."""
    config, phantom = results.config, results.is_phantom
    given = f"{len(config.subsets)} subsets"
    if len(config.subsets) <= facts.NAMED_SUBSETS:
        given = enumerate_words([modalities_label(subset) for subset in config.subsets], "or")
    errors, warned = problems(results, "error"), problems(results, "warning")
    counts = f": {plural(len(errors), 'error')}, {plural(len(warned), 'warning')}"
    made = "Labels that the images were simulated from: exact" if phantom else "Segmentations that came with the images"
    regions = enumerate_words([f"{text.lower()} ({name})" for name, text in REGION_LABELS.items()])
    seed = f"By a seed ({config.split.seed}), balanced over grade and enhancing tumour"
    external, left = _external(results)
    return {
        "data": facts.data(config),
        "why_data": "" if phantom else "why these data, and which patients they represent",
        "problems": counts if (results.folder / "cohort" / "problems.csv").is_file() else "",
        "subsets": given,
        "errors": "stop the run" if config.on_problem == "stop" else "are left out and named",
        "left_out": f" {plural(errors.case.nunique(), 'case')} left out for errors." if len(errors) else "",
        "reference": f"{made}. Regions: {regions}.",
        "who_segmented": "" if phantom else "who made them, by which rules and tools, and why these are the reference",
        "split": f"As {config.split.file} says" if config.split.file else seed,
        "assigned": _assigned(results),
        "disjoint": _disjoint(results),
        "tested": tested(results),
        "held_out": _found(lambda: _held_out(results)),
        "external": external,
        "how_external_differs": left,
        "cohorts": _found(lambda: enumerate_words([results.cohort, *results.externals])),
    }


def _about_the_results(results: Results) -> dict[str, str]:
    """Performance and failures, from the tables."""
    told = answer(results)
    gains = "; ".join(f"{row['region']} {row['value']} {row['interval']}".strip() for row in told["regions"])
    performance = " ".join(filter(None, (told["verdict"], f"{gains}." if gains else "", told["text"])))
    return {"performance": performance, "failures": _found(lambda: _failures(results))}


def _cases(results: Results) -> pd.DataFrame | None:
    try:
        return read_cases(results.folder / layout.CASES)
    except UserError:
        return None


def _assigned(results: Results) -> str:
    """As "phantom-a: 12 test, 28 train."; from cases.csv, or from the scores alone where that is not kept."""
    cases = _cases(results)
    if cases is None:
        return f"Scored: {tested(results)}; cases.csv, which lists the training cases, is not in this folder."
    parts = []
    for cohort, rows in cases.groupby("cohort", sort=False):
        counts = rows.groupby("split", sort=False).patient.nunique()
        parts.append(f"{cohort}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))
    return f"{results.unit.capitalize()}s of {'; '.join(parts)}."


def _disjoint(results: Results) -> str:
    """The level of the split, and whether cases.csv holds to it."""
    text = f"The {results.unit}: all cases of one lie in one part and one fold."
    cases = _cases(results)
    if cases is None:
        return text
    places = cases.groupby(["cohort", "patient"])[["split", "fold"]].nunique().max(axis=1)
    return f"{text} In cases.csv {int((places > 1).sum()) or 'none'} of {len(places)} lies in more than one."


def _held_out(results: Results) -> str:
    if not results.config.split.test_fraction and not results.config.split.file:
        return f"No held-out set: each fold is judged on its validation cases, {results.count()} together."
    return f"{plural(results.count(), results.unit)} of {results.cohort}."


def _external(results: Results) -> tuple[str, str]:
    """The cohorts that were only tested on, and what is left to the author."""
    try:
        found = [f"{plural(results.count(name), results.unit)} of {name}" for name in results.externals]
    except MissingDataError:
        return UNKNOWN, ""
    if not found:
        return "None: other scanners and hospitals were not tested.", ""
    left = "how these differ from the training data: hospital, criteria, scanners"
    return f"{enumerate_words(found)}.", "" if results.is_phantom else left


def _failures(results: Results) -> str:
    """The lowest Dice of the method that the experiment is about, methods without scores, regions never predicted."""
    method = results.focus_method or results.methods[0]
    scored = results.per_case[results.per_case.cohort == results.cohort]
    dice = results.at(scored, method, results.focus_subset).groupby("patient").dice.mean().sort_values()
    if dice.empty:
        raise MissingDataError
    text = f"Lowest mean Dice of {method_label(method)} in {results.cohort}: {number(dice.iloc[0])} ({dice.index[0]})."
    failed = [method_label(name) for name in results.unscored_methods]
    if failed:
        text += f" Without scores: {enumerate_words(failed)}."
    if "n_pred_empty" in results.summary:
        never = int((results.summary.n_pred_empty > 0).sum())
        text += f" Rows of summary.csv in which a {results.unit}'s region was never predicted: {never}."
    return text
