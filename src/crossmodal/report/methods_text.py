"""The methods section, computed from the resolved config and recipes: it cannot say what was not run."""

from crossmodal.experiment.config import Resolved
from crossmodal.report.facts import describe, folds, network, seeds, training
from crossmodal.wording import enumerate_words, method_label, modalities_label, percent

NAMED_SUBSETS = 6  # more of them are counted, not listed
EVALUATION = (
    "Predictions in native geometry were scored for whole tumour (WT), tumour core (TC) and enhancing tumour (ET) "
    "with Dice and the 95th percentile of the Hausdorff distance (HD95), by the BraTS convention for empty regions. "
    "Scores of a case were averaged over seeds and folds, then over a patient's cases, before any statistic, so no "
    "patient counts twice. Intervals are bootstrap 95% intervals over patients; gains are paired and tested with the "
    "Wilcoxon signed-rank test, corrected after Holm over all comparisons within a cohort and region."
)


def paragraphs(config: Resolved) -> list[str]:
    """Data, network and training, evaluation."""
    return [data(config), networks(config), EVALUATION]


def data(config: Resolved) -> str:
    """Cohorts and the split."""
    cohorts, split, lock = config.cohorts, config.split, config.cohort_lock
    if config.is_phantom:
        text = "Images are the embedded phantom cohort, simulated with the contrasts of BraTS; they are not patients. "
    else:
        text = f"Images were read from {config.brats}. "
    if lock:
        text += f"{lock['files']} files of the cohort are locked by {lock['file']} (md5 {lock['md5']}). "
    if cohorts:
        text += f"Networks were trained on {cohorts[0]}"
        text += f" and also tested on {enumerate_words(cohorts[1:])}. " if len(cohorts) > 1 else ". "
    if split.file:
        text += f"The split was taken from {split.file}. "
    else:
        text += (
            f"Patients were split once for all methods: {percent(split.test_fraction)} held out for testing, "
            f"the rest in {split.folds} folds, seed {split.seed}. "
        )
    given = f"{len(config.subsets)} subsets of the four sequences"
    if len(config.subsets) <= NAMED_SUBSETS:
        given = enumerate_words([modalities_label(subset) for subset in config.subsets], "or")
    return f"{text}Students were given {given}."


def networks(config: Resolved) -> str:
    """Backbone, budget, seeds."""
    budget = config.budget_settings
    batches = f" with batches of {budget.batch_size}" if budget.batch_size else ""
    return (
        f"All methods use {network(config)}. Each network was trained for {training(budget)}{batches}, {seeds(config)} "
        f"and {folds(config)}. Preprocessing, augmentation, optimiser and the segmentation loss with deep supervision "
        "are nnU-Net's own; one preprocessed dataset of four channels serves all subsets, and every method sees the "
        "same random batches."
    )


def recipes(config: Resolved) -> list[dict[str, str]]:
    """Title, source, our choices and a sentence for each method of the config."""
    return [
        {
            "name": method_label(method),
            "title": recipe.title,
            "text": describe(recipe),
            "source": recipe.source,
            "choice": "; ".join(recipe.choices),
        }
        for method in config.methods
        if (recipe := config.recipes.get(method))
    ]
