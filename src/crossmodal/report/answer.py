"""The first screen: the question, the answer with its interval, and what made it."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from crossmodal.evaluate.results import Experiment, MissingDataError
from crossmodal.figures.gain_over_student import gains
from crossmodal.wording import REGIONS, enumerate_words, method_label, modalities_label, plural, signed


def title(experiment: Experiment) -> str:
    """The paper that is reproduced, or the experiment's name."""
    paper = experiment.config.get("paper")
    return f"{method_label(str(paper))}: {experiment.name}" if paper else experiment.name


def question(experiment: Experiment) -> str:
    """The config's own question, or one from its methods and subsets."""
    if experiment.config.get("title"):
        return str(experiment.config["title"])
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
    order = {region: i for i, region in enumerate(REGIONS)}
    regions = [region_gain(row) for row in table.itertuples()]
    regions.sort(key=lambda r: order.get(r["region"], len(order)))
    if all(pd.isna(r["low"]) for r in regions):
        verdict = "Too few cases for an interval."
        return {"verdict": verdict, "text": explain(experiment, table), "regions": regions}
    better = [r["region"] for r in regions if r["clear"] > 0]
    worse = [r["region"] for r in regions if r["clear"] < 0]
    if better and worse:
        verdict = f"It raises Dice for {enumerate_words(better)} and lowers it for {enumerate_words(worse)}."
    elif better:
        rest = [r["region"] for r in regions if r["region"] not in better]
        verdict = f"Yes, for {enumerate_words(better)}" + (f"; not shown for {enumerate_words(rest)}." if rest else ".")
    elif worse:
        verdict = f"No: it lowers Dice for {enumerate_words(worse)}."
    else:
        verdict = "A gain is not shown."
    if experiment.is_phantom:
        verdict = f"On the phantom: {verdict[0].lower()}{verdict[1:]}"
    return {"verdict": verdict, "text": explain(experiment, table), "regions": regions}


def explain(experiment: Experiment, table: pd.DataFrame) -> str:
    """What the gains are of, on how many patients or phantoms, and what else was compared."""
    text = (
        f"Gain in Dice of {method_label(str(experiment.focus_method))} over the student alone, both given "
        f"{modalities_label(experiment.focus_subset)}, on {plural(int(table.n.max()), f'held-out {experiment.unit}')} "
        f"of {experiment.cohort}{'; 95% intervals' if table.ci_low.notna().any() else ''}."
    )
    others = len(experiment.distilled) - 1
    return text + (f" {plural(others, 'more method')}: see the tables." if others > 0 else "")


def region_gain(row: Any) -> dict[str, Any]:
    """One region of the answer: the gain as text, its interval, the corrected p-value and the gap closed."""
    known = pd.notna(row.ci_low)  # one case has a difference, and nothing that could be said of others
    gap, p = (getattr(row, "gap_recovered", None), row.p_holm) if known else (None, None)
    return {
        "region": row.region,
        "value": signed(row.dice_gain),
        "interval": "" if pd.isna(row.ci_low) else f"{signed(row.ci_low)} to {signed(row.ci_high)}",
        "low": row.ci_low,
        "clear": clear_sign(row),
        "p": "" if pd.isna(p) else "p < 0.001 (Holm)" if p < 0.001 else f"p = {p:.3f} (Holm)",
        "gap": "" if pd.isna(gap) else f"{signed(100 * gap, 0).lstrip('+')}% of the gap to the teacher",
    }


def clear_sign(row: Any) -> int:
    """1 for a gain, -1 for a loss, 0 where the interval holds zero, the corrected p-value is 0.05 or more, or the
    difference vanishes in three decimals."""
    if pd.isna(row.ci_low) or (pd.notna(row.p_holm) and row.p_holm >= 0.05) or abs(row.dice_gain) < 0.0005:
        return 0
    return 1 if row.ci_low > 0 else -1 if row.ci_high < 0 else 0


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
            "interval": "" if pd.isna(r.dice_ci_low) else f"{r.dice_ci_low:.3f} to {r.dice_ci_high:.3f}",
            "p": f"mean Dice, {method_label(method)}",
            "gap": "",
        }
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
        ("Budget", budget(config)),
        ("Network", network(config)),
        ("Seeds, folds", f"{plural(len(seeds), 'seed')} ({', '.join(map(str, seeds))}), {folds(config)}"),
        (
            "Versions",
            ", ".join(f"{k} {v}" for k, v in list(experiment.versions.items())[:6]) or "not recorded",
        ),
    ]
    lock = config.get("brats_lock")
    return [*facts, ("Data lock", locked(Path(str(lock))))] if lock else facts


def locked(path: Path) -> str:
    """The DVC lock of the cohort and its hash."""
    try:
        outs = yaml.safe_load(path.read_text(encoding="utf-8"))["outs"]
        return f"{path}, md5 {outs[0]['md5']}"
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError):
        return f"{path} (not readable here)"


def budget(config: dict[str, Any]) -> str:
    """Name, length of training, and what the budget says of itself."""
    settings = config.get("budget_settings") or {}
    title = f" ({settings['title']})" if settings.get("title") else ""
    return f"{config.get('budget', '?')}: {training(settings)}{title}"


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
    features = settings.get("features")
    if isinstance(features, list) and features:
        parts.append(f"{plural(len(features), 'stage')} of {features[0]} to {features[-1]} features")
    elif features:
        parts.append(f"{features} features")
    if settings.get("patch_size"):
        parts.append(f"patch {'×'.join(map(str, settings['patch_size']))}")
    if settings.get("spacing"):
        parts.append(f"spacing {'×'.join(f'{s:g}' for s in settings['spacing'])} mm")
    return f"{backbone}, reduced: {', '.join(parts)}" if parts else f"{backbone} as planned"


def folds(config: dict[str, Any]) -> str:
    """How many folds were trained, of how many the split has."""
    trained, split = config.get("folds"), (config.get("split") or {}).get("folds")
    count = len(trained) if isinstance(trained, list) else trained
    return f"{plural(count or 1, 'fold')} of {split}" if split else plural(count or 1, "fold")
