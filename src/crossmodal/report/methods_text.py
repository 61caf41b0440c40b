"""The methods section, computed from the resolved config and recipes: it cannot say what was not run."""

from typing import Any

from crossmodal.evaluate.results import Experiment
from crossmodal.wording import enumerate_words, method_label, modalities_label, plural
from crossmodal.report.answer import folds, network, training

LOSSES = {
    "barlow_twins": "the Barlow Twins loss",
    "mse": "mean-squared error",
    "soft_targets": "soft targets (a Bernoulli divergence for each region)",
    "attention_transfer": "attention transfer",
    "channel_kl": "the Kullback-Leibler divergence of channel activations",
    "prototypes": "the distance of prototype similarity maps",
}


def paragraphs(experiment: Experiment) -> list[str]:
    """Data, network and training, evaluation."""
    config = experiment.config
    return [data(experiment, config), networks(config), evaluation(config)]


def data(experiment: Experiment, config: dict[str, Any]) -> str:
    """Cohorts and the split."""
    cohorts, split = [str(c) for c in config.get("cohorts") or []], config.get("split") or {}
    if experiment.is_phantom:
        text = "Images are the embedded phantom cohort, simulated with the contrasts of BraTS; they are not patients. "
    else:
        text = f"Images were read from {config['brats']}. "
    if lock := config.get("cohort_lock"):
        text += f"{lock['files']} files of the cohort are locked by {lock['file']} (md5 {lock['md5']}). "
    if cohorts:
        text += f"Networks were trained on {cohorts[0]}"
        text += f" and also tested on {enumerate_words(cohorts[1:])}. " if len(cohorts) > 1 else ". "
    if split.get("file"):
        text += f"The split was taken from {split['file']}. "
    elif split:
        share = 100 * float(split.get("test_fraction") or 0)
        text += (
            f"Patients were split once for all methods: {share:.0f}% held out for testing, "
            f"the rest in {split.get('folds', '?')} folds, seed {split.get('seed', 0)}. "
        )
    subsets = config.get("subsets") or []
    given = enumerate_words([modalities_label(str(s)) for s in subsets], "or") if len(subsets) <= 6 else ""
    return text + f"Students were given {given or f'{len(subsets)} subsets of the four sequences'}."


def networks(config: dict[str, Any]) -> str:
    """Backbone, budget, seeds."""
    settings, seeds = config.get("budget_settings") or {}, config.get("seeds") or []
    text = f"All methods use {network(config)}. Each network was trained for {training(settings)}"
    text += f" with batches of {settings['batch_size']}" if settings.get("batch_size") else ""
    text += f", {plural(len(seeds), 'seed')} and {folds(config)}. "
    return text + (
        "Preprocessing, augmentation, optimiser and the segmentation loss with deep supervision are nnU-Net's own; one "
        "preprocessed dataset of four channels serves all subsets, and every method sees the same random batches."
    )


def evaluation(config: dict[str, Any]) -> str:
    """Metrics and statistics."""
    return (
        "Predictions in native geometry were scored for whole tumour (WT), tumour core (TC) and enhancing tumour (ET) "
        "with Dice and the 95th percentile of the Hausdorff distance (HD95), by the BraTS convention for empty "
        "regions. Scores of a case were averaged over seeds and folds before any statistic, so no patient counts "
        "twice. Intervals are bootstrap 95% intervals over patients; gains are paired and tested with the Wilcoxon "
        "signed-rank test, corrected after Holm over all comparisons within a cohort and region."
    )


def recipes(experiment: Experiment) -> list[dict[str, str]]:
    """Title, source, our choices and a sentence for each method of the config."""
    found = []
    for method in experiment.config.get("methods") or []:
        recipe = experiment.recipe(method)
        choice = recipe.get("choice") or ""
        choice = "; ".join(map(str, choice)) if isinstance(choice, list) else str(choice)
        found.append(
            {"name": method_label(method), "title": str(recipe.get("title") or ""), "text": describe(recipe)}
            | {"source": str(recipe.get("source") or ""), "choice": choice}
        )
    return found


def describe(recipe: dict[str, Any]) -> str:
    """A recipe in a sentence: who teaches, what the teacher sees, what is matched where."""
    steps, teacher = recipe.get("distill") or [], recipe.get("teacher") or {}
    if not steps and recipe.get("modalities") == "any":
        return "One network for every subset, trained with a random subset of the sequences for each sample."
    if not steps:
        return "Trained on its own, without distillation."
    sees = {"all": "all four sequences", "same": "the student's sequences"}.get(str(teacher.get("sees")), "its input")
    trained = method_label(str(teacher.get("method") or "teacher"))
    when = {
        "jointly": "A teacher trained in the same iterations",
        "beforehand": f"A teacher trained beforehand ({trained}) and frozen",
        "itself": "The network itself, when it is given all four sequences, is its own teacher",
    }.get(str(teacher.get("trained")), "A teacher")
    matched = [
        f"{LOSSES.get(str(s.get('loss')), str(s.get('loss')))} at the {s.get('at')} (weight {s.get('weight', 1)})"
        for s in steps
    ]
    if teacher.get("trained") == "itself":
        return f"{when}: {enumerate_words(matched)}."
    return f"{when}, given {sees}; {enumerate_words(matched)}."
