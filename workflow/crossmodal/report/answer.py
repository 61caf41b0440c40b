"""The first screen: the question, the answer with its interval, and what made it."""

from typing import Any

import pandas as pd

from crossmodal.figures.experiment import Experiment, MissingDataError
from crossmodal.figures.gain_over_student import gains
from crossmodal.figures.wording import REGIONS, enumerate_words, method_label, modalities_label, plural


def title(experiment: Experiment) -> str:
    """The paper that is reproduced, or the experiment's name."""
    paper = experiment.config.get("paper")
    return f"{method_label(str(paper))}: {experiment.name}" if paper else experiment.name


def question(experiment: Experiment) -> str:
    """What the experiment asks, from its methods and subsets."""
    try:
        subsets, methods = experiment.subsets, experiment.methods
    except MissingDataError:
        return "How well do the methods of this experiment segment a glioma?"
    if len(subsets) <= 3:
        given = enumerate_words([modalities_label(s) for s in subsets], "or")
    else:
        given = f"any of {len(subsets)} subsets of the MRI sequences"
    if not experiment.distilled or "student" not in methods:
        listed = enumerate_words([method_label(m) for m in methods])
        return f"How well does a network segment a glioma from {given}? ({listed})"
    return f"Does distillation help a network that is given {given} to segment a glioma?"


def answer(experiment: Experiment) -> dict[str, Any]:
    """A verdict in a few words, the gain per region, and what stands in the way of more."""
    try:
        table = gains(experiment)
        table = table[table.method == experiment.focus_method]
        table = table[table.modalities == experiment.focus_subset]
        if table.empty:
            raise MissingDataError(
                f"{method_label(str(experiment.focus_method))} is not compared with the student alone."
            )
    except MissingDataError as error:
        return {
            "verdict": "No comparison with the student alone.",
            "text": str(error),
            "regions": means(experiment),
        }
    regions = [region_gain(row) for row in table.itertuples()]
    regions.sort(key=lambda r: REGIONS.index(r["region"]) if r["region"] in REGIONS else 3)
    better = [r["region"] for r in regions if r["low"] > 0]
    worse = [r["region"] for r in regions if r["high"] < 0]
    if better and worse:
        verdict = f"It raises Dice for {enumerate_words(better)} and lowers it for {enumerate_words(worse)}."
    elif better:
        rest = [r["region"] for r in regions if r["region"] not in better]
        verdict = f"Yes, for {enumerate_words(better)}" + (f"; not shown for {enumerate_words(rest)}." if rest else ".")
    elif worse:
        verdict = f"No: it lowers Dice for {enumerate_words(worse)}."
    else:
        verdict = "Not shown: each interval includes no gain."
    text = (
        f"Gain in Dice of {method_label(experiment.focus_method)} over the student alone, both given "
        f"{modalities_label(experiment.focus_subset)}, on {plural(int(table.n.max()), 'held-out case')} of "
        f"{experiment.cohort}; 95% intervals over patients."
    )
    return {"verdict": verdict, "text": text, "regions": regions}


def region_gain(row: Any) -> dict[str, Any]:
    """One region of the answer: the gain as text, its interval, the corrected p-value and the gap closed."""
    gap = getattr(row, "gap_recovered", float("nan"))
    return {
        "region": row.region,
        "value": f"{row.dice_gain:+.3f}",
        "interval": f"{row.ci_low:+.3f} to {row.ci_high:+.3f}",
        "low": row.ci_low,
        "high": row.ci_high,
        "p": ""
        if pd.isna(row.p_holm)
        else f"p = {row.p_holm:.3f} (Holm)"
        if row.p_holm >= 0.001
        else "p < 0.001 (Holm)",
        "gap": "" if pd.isna(gap) else f"{100 * gap:.0f}% of the gap to the teacher",
    }


def means(experiment: Experiment) -> list[dict[str, Any]]:
    """In place of gains: the mean Dice of the first method for each region."""
    try:
        summary = experiment.table("summary")
        method = (experiment.distilled or experiment.methods)[0]
    except (MissingDataError, IndexError):
        return []
    rows = experiment.at(summary[summary.cohort == experiment.cohort], method, experiment.focus_subset)
    return [
        {
            "region": r.region,
            "value": f"{r.dice_mean:.3f}",
            "interval": f"{r.dice_ci_low:.3f} to {r.dice_ci_high:.3f}",
        }
        | {"p": f"mean Dice, {method_label(method)}", "gap": ""}
        for r in rows.itertuples()
    ]


def made_by(experiment: Experiment) -> list[tuple[str, str]]:
    """Cohort, budget, network, seeds, versions: what a number means nothing without."""
    config = experiment.config
    seeds = config.get("seeds") or []
    cohorts = [str(c) for c in config.get("cohorts") or []]
    source = "embedded phantom, simulated" if experiment.is_phantom else str(config["brats"])
    facts = [
        ("Cohort", f"{cohorts[0] if cohorts else '?'} ({source})"),
        ("Tested on", enumerate_words(tested(experiment))),
        ("Budget", f"{config.get('budget', '?')}: {training(config.get('budget_settings') or {})}"),
        ("Network", network(config)),
        ("Seeds, folds", f"{plural(len(seeds), 'seed')} ({', '.join(map(str, seeds))}), {folds(config)}"),
        (
            "Versions",
            ", ".join(f"{k} {v}" for k, v in list(experiment.versions.items())[:6]) or "not recorded",
        ),
    ]
    return facts


def tested(experiment: Experiment) -> list[str]:
    """Each scored cohort with its number of cases."""
    try:
        cases = experiment.per_case.groupby("cohort", sort=False).patient.nunique()
    except MissingDataError:
        return ["nothing yet"]
    return [f"{plural(count, 'case')} of {cohort}" for cohort, count in cases.items()]


def training(settings: dict[str, Any]) -> str:
    """Length of training in words."""
    epochs, steps = settings.get("epochs"), settings.get("steps_per_epoch")
    if not epochs or not steps:
        return "nnU-Net's own 1000 epochs of 250 steps"
    return f"{epochs} epochs of {steps} steps"


def network(config: dict[str, Any]) -> str:
    """The backbone, and by which settings it departs from nnU-Net's own."""
    settings = config.get("budget_settings") or {}
    backbone = {"plain": "nnU-Net's plain U-Net"}.get(
        str(config.get("backbone") or "plain"), f"nnU-Net, {config.get('backbone')}"
    )
    parts = []
    if settings.get("features"):
        parts.append(f"features {'–'.join(str(f) for f in bounds(settings['features']))}")
    if settings.get("stages"):
        parts.append(f"{settings['stages']} stages")
    if settings.get("patch_size"):
        parts.append(f"patch {'×'.join(map(str, settings['patch_size']))}")
    if settings.get("spacing"):
        parts.append(f"spacing {'×'.join(f'{s:g}' for s in settings['spacing'])} mm")
    return f"{backbone}, reduced: {', '.join(parts)}" if parts else f"{backbone} as planned"


def bounds(features: Any) -> list[Any]:
    """First and last of a list of feature counts."""
    return [features[0], features[-1]] if isinstance(features, list) and len(features) > 1 else [features]


def folds(config: dict[str, Any]) -> str:
    """How many folds were trained, of how many the split has."""
    trained, split = config.get("folds"), (config.get("split") or {}).get("folds")
    count = len(trained) if isinstance(trained, list) else trained
    return f"{plural(count or 1, 'fold')} of {split}" if split else plural(count or 1, "fold")
