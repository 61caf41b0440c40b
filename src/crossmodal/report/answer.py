"""The first screen: the question, the answer with its interval, and what made it."""

from typing import Any

import pandas as pd

from crossmodal.evaluate.results import MissingDataError, Results
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

NO_DIFFERENCE = 0.0005  # in Dice: smaller ones vanish in three decimals
SIGNIFICANT = 0.05


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
    signs = {row.region: clear_sign(row) for row in table.itertuples()}
    words = "Too few cases for an interval." if table.ci_low.isna().all() else verdict(signs)
    if results.is_phantom and table.ci_low.notna().any():
        words = f"On the phantom: {words[0].lower()}{words[1:]}"
    regions = [region_gain(row) for row in table.itertuples()]
    return {"verdict": words, "text": explain(results, table), "regions": regions}


def verdict(signs: dict[str, int]) -> str:
    """Whether the method helps, from the sign of its gain in each region (`clear_sign`)."""
    better, worse, rest = ([region for region, sign in signs.items() if sign == wanted] for wanted in (1, -1, 0))
    if better and worse:
        return f"It raises Dice for {enumerate_words(better)} and lowers it for {enumerate_words(worse)}."
    if better:
        return f"Yes, for {enumerate_words(better)}" + (f"; not shown for {enumerate_words(rest)}." if rest else ".")
    return f"No: it lowers Dice for {enumerate_words(worse)}." if worse else "A gain is not shown."


def explain(results: Results, table: pd.DataFrame) -> str:
    """What the gains are of, on how many patients or phantoms, and what else was compared."""
    text = (
        f"Gain in Dice of {method_label(results.focus_method)} over the student alone, both given "
        f"{modalities_label(results.focus_subset)}, on {plural(int(table.n.max()), f'held-out {results.unit}')} "
        f"of {results.cohort}{'; 95% intervals' if table.ci_low.notna().any() else ''}."
    )
    others = len(results.roles.compared) - 1
    return text + (f" {plural(others, 'more method')}: see the tables." if others > 0 else "")


def region_gain(row: Any) -> dict[str, str]:
    """One region of the answer: the gain, its interval, the corrected p-value and the share of the gap recovered."""
    # One case has a difference, and nothing that could be said of others.
    p, gap = (row.p_holm, row.gap_recovered) if pd.notna(row.ci_low) else (None, None)
    return {
        "region": row.region,
        "value": number(row.dice_gain, sign=True),
        "interval": interval(row.ci_low, row.ci_high, sign=True),
        "p": "" if pd.isna(p) else f"p = {p_value(p)} (Holm)".replace("= <", "< "),
        "gap": "" if pd.isna(gap) else f"{percent(gap)} of the gap to the teacher",
    }


def clear_sign(row: Any) -> int:
    """1 for a gain, -1 for a loss, 0 where the interval holds zero, the corrected p-value is 0.05 or more, or the
    difference vanishes in three decimals."""
    unclear = pd.isna(row.ci_low) or (pd.notna(row.p_holm) and row.p_holm >= SIGNIFICANT)
    if unclear or abs(row.dice_gain) < NO_DIFFERENCE:
        return 0
    return 1 if row.ci_low > 0 else -1 if row.ci_high < 0 else 0


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
            "value": number(row.dice_mean),
            "interval": interval(row.dice_ci_low, row.dice_ci_high),
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
        ("Seeds, folds", f"{seeds(config)} ({', '.join(map(str, config.seeds))}), {folds(config)}"),
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
