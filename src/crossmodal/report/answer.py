"""The first screen: the question, the answer with its interval, and what made it."""

from typing import Any

import pandas as pd

from crossmodal.evaluate.comparisons import EQUIVALENT, GAIN, LOSS, TOO_FEW
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.evaluate.study_size import default_spread
from crossmodal.evaluate.summary import dice_with_interval
from crossmodal.experiment.runs import STUDENT
from crossmodal.report.facts import folds, network, seeds, training
from crossmodal.wording import (
    enumerate_words,
    interval,
    method_label,
    modalities_label,
    number,
    p_value,
    percent,
    plural,
)

NUMBERS = {1: "One training", 2: "Two trainings"}


def title(results: Results) -> str:
    """The paper that is reproduced, or the experiment's name."""
    paper = results.config.paper
    return f"{method_label(paper)}: {results.name}" if paper else results.name


def question(results: Results) -> str:
    """The config's own question, or one from its methods and subsets."""
    if results.config.title:
        return results.config.title
    try:
        subsets = results.subsets
    except MissingDataError:
        return "How well do the methods of this experiment segment a glioma?"
    if len(subsets) == len(results.shown_subsets):
        given = enumerate_words([modalities_label(subset) for subset in subsets], "or")
    else:
        given = f"any of {len(subsets)} subsets of the MRI sequences"
    if results.roles.compared and STUDENT in results.methods:
        return f"Does distillation help a network that is given {given} to segment a glioma?"
    listed = enumerate_words([method_label(method) for method in results.methods])
    return f"How well does a network segment a glioma from {given}? ({listed})"


def answer(results: Results) -> dict[str, Any]:
    """The answer in a few words, the gain in each region, and on what it rests."""
    try:
        method, subset = results.focus_method, results.focus_subset
        table = results.gains(method, subset)
        if method is None or table.empty:
            who = f"{method_label(method)} is not" if method else "No method is"
            raise MissingDataError(f"{who} compared with the student alone.")
    except MissingDataError as error:
        return {"verdict": "No comparison with the student alone.", "text": str(error), "regions": means(results)}
    words = verdict(table)
    if results.is_phantom:
        words = f"On the phantom{',' if ':' in words else ':'} {words[0].lower()}{words[1:]}"
    return {"verdict": words, "text": explain(results, table), "regions": list(map(region_gain, table.itertuples()))}


def verdict(table: pd.DataFrame) -> str:
    """Whether the method helps: no more than the findings of its rows of comparisons.csv allow, a row a region."""
    if (table.finding == TOO_FEW).any():
        if table.n.max() < 2:
            return "Too few cases for an interval."
        count = int(table[["n_trainings", "n_trainings_baseline"]].min(axis=None))
        return f"{NUMBERS.get(count, count)} of each: another training could turn this around."
    better, worse = (list(table.region[table.finding == finding]) for finding in (GAIN, LOSS))
    rest = list(table.region[~table.finding.isin([GAIN, LOSS])])
    if better and worse:
        return f"It raises Dice for {enumerate_words(better)} and lowers it for {enumerate_words(worse)}."
    if better:
        return f"Yes, for {enumerate_words(better)}" + (f"; not shown for {enumerate_words(rest)}." if rest else ".")
    if worse:
        return f"No: it lowers Dice for {enumerate_words(worse)}."
    if (table.finding == EQUIVALENT).all():
        return f"It makes no difference: within ±{table.margin.iloc[0]:g} Dice for {enumerate_words(rest)}."
    most = [f"{number(row.trainings_ci_high, sign=True)} for {row.region}" for row in table.itertuples()]
    return f"A gain is not shown: at most {enumerate_words(most)}."


def explain(results: Results, table: pd.DataFrame) -> str:
    """What the gains are of, on how many patients or phantoms and trainings, and what else was compared."""
    counts = sorted({*table.n_trainings, *table.n_trainings_baseline})
    trained = f"{' or '.join(map(str, counts))} {'training' if counts == [1] else 'trainings'} of each"
    text = (
        f"Gain in Dice of {method_label(results.focus_method)} over the student alone, both given "
        f"{modalities_label(results.focus_subset)}, on {plural(int(table.n.max()), f'held-out {results.unit}')} "
        f"of {results.cohort}; {trained}."
    )
    if (table.finding != TOO_FEW).all():
        text += f" 95% intervals are over {results.unit}s and trainings."
    text += training_noise(results, table)
    others = len(results.roles.compared) - 1
    return text + (f" {plural(others, 'more method')}: see the tables." if others > 0 else "")


def training_noise(results: Results, table: pd.DataFrame) -> str:
    """By how much trainings of one method differ: here, or where there is one of each, as measured on this phantom."""
    known, where = table.set_index("region")[["sd_trainings", "sd_trainings_baseline"]].max(axis=1).dropna(), ""
    if known.empty and results.is_phantom:
        measured = default_spread()
        measured = measured[measured.cohort == results.cohort].set_index("region")
        if len(measured):
            known, where = measured.sd_trainings, f", measured with the budget {measured.budget.iloc[0]}"
    listed = ", ".join(f"{region} {number(sd)}" for region, sd in known.items())
    return f" SD between trainings of one method{where}: {listed}." if listed else ""


def region_gain(row: Any) -> dict[str, str]:
    """One region of the answer: the gain, its interval, the corrected p-value and the share of the gap recovered."""
    found = {"region": row.region, "value": number(row.dice_gain, sign=True), "interval": "", "p": "", "gap": ""}
    if row.finding == TOO_FEW:
        of_networks = interval(row.ci_low, row.ci_high, sign=True)
        return found | {"p": f"these networks alone: {of_networks}" if of_networks else ""}
    return found | {
        "interval": interval(row.trainings_ci_low, row.trainings_ci_high, sign=True),
        "p": f"p = {p_value(row.p_trainings_holm)} (Holm)".replace("= <", "< "),
        "gap": "" if pd.isna(row.gap_recovered) else f"{percent(row.gap_recovered)} of the gap to the teacher",
    }


def means(results: Results) -> list[dict[str, str]]:
    """In place of gains: the mean Dice of the first method for each region."""
    try:
        method = (results.roles.compared or results.methods)[0]
        rows = results.at(results.summary_of(), method, results.focus_subset)
    except MissingDataError:
        return []
    return [
        {
            "region": row.region,
            "value": dice_with_interval(row),
            "interval": "",
            "p": f"mean Dice, {method_label(method)}",
            "gap": "",
        }
        for row in rows.itertuples()
    ]


def made_by(results: Results) -> list[tuple[str, str]]:
    """Cohort, budget, network, seeds, versions: what a number means nothing without."""
    config, budget = results.config, results.config.budget_settings
    source = "embedded phantom, simulated" if results.is_phantom else config.brats
    about = f" ({budget.title})" if budget.title else ""
    versions = ", ".join(f"{name} {version}" for name, version in list(results.versions.items())[:6])
    facts = [
        ("Cohort", f"{config.cohorts[0] if config.cohorts else '?'} ({source})"),
        ("Tested on", tested(results)),
        ("Budget", f"{config.budget}: {training(budget)}{about}"),
        ("Network", network(config)),
        ("Seeds, folds", f"{seeds(results)} ({', '.join(map(str, config.seeds))}), {folds(config)}"),
        ("Versions", versions or "not recorded"),
    ]
    if lock := config.cohort_lock:
        facts.append(("Data lock", f"{lock['file']}, md5 {lock['md5']}"))
    return facts


def tested(results: Results) -> str:
    """Each scored cohort with its number of cases."""
    try:
        cases = results.per_case.groupby("cohort", sort=False).patient.nunique()
    except MissingDataError:
        return "nothing yet"
    return enumerate_words([f"{plural(count, 'case')} of {cohort}" for cohort, count in cases.items()])
