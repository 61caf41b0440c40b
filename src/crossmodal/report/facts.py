"""What a config and its recipes say, in words: for the report, its methods section, the README and model cards.

Computed from what was resolved, the methods section cannot say what was not run.
"""

from contextlib import suppress

from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.experiment.budget import Budget
from crossmodal.experiment.config import Resolved
from crossmodal.experiment.initial import SHIPPED
from crossmodal.experiment.recipe import Recipe, known_losses
from crossmodal.wording import enumerate_words, method_label, modalities_label, percent, plural

NAMED_SUBSETS = 6  # more of them are counted, not listed
EVALUATION = (
    "Predictions in native geometry were scored for whole tumour (WT), tumour core (TC) and enhancing tumour (ET) "
    "with Dice, normalised surface Dice at 1 mm (NSD), the 95th percentile of the Hausdorff distance (HD95) and "
    "lesion-wise scores, by the BraTS convention for empty regions. "
    "Scores of a case were averaged over seeds and folds, then over a patient's cases, before any statistic, so no "
    "patient counts twice. Gains are differences between the same patients. Their 95% intervals and p values hold over "
    "patients and trainings (variances of both added, Satterthwaite's degrees of freedom), p corrected after Holm over "
    "all comparisons within a cohort and region; with fewer than three trainings of each method none is given."
)


def training(budget: Budget) -> str:
    """Length of training."""
    return f"{budget.epochs} epochs of {budget.steps_per_epoch} steps"


def network(config: Resolved) -> str:
    """The backbone, and by which settings it differs from nnU-Net's own plan."""
    budget = config.budget_settings
    backbone = "nnU-Net's plain U-Net" if config.backbone == "plain" else f"nnU-Net, {config.backbone}"
    parts = []
    if budget.features:
        parts.append(
            f"{plural(len(budget.features), 'stage')} of {budget.features[0]} to {budget.features[-1]} features"
        )
    if budget.patch_size:
        parts.append(f"patch {'×'.join(map(str, budget.patch_size))}")
    if budget.spacing:
        parts.append(f"spacing {'×'.join(f'{size:g}' for size in budget.spacing)} mm")
    return f"{backbone}, reduced: {', '.join(parts)}" if parts else f"{backbone} as planned"


def folds(config: Resolved) -> str:
    """How many folds were trained, of how many the split has."""
    return f"{plural(len(config.folds), 'fold')} of {config.split.folds}"


def seeds(results: Results) -> str:
    """How many seeds were trained: of all methods, or from the fewest to the most of one."""
    counts = [len(results.config.seeds)]
    with suppress(MissingDataError):  # nothing is scored yet
        counts = sorted(results.scores.groupby("method").seed.nunique()) or counts
    return plural(counts[0], "seed") if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]} seeds of a method"


def describe(recipe: Recipe) -> str:
    """A recipe in words: who teaches, what the teacher sees, what is matched where, and what training starts from."""
    if recipe.init_from is None:
        return _describe_teaching(recipe)
    start = "the network that comes with Crossmodal" if recipe.init_from == SHIPPED else recipe.init_from
    return f"{_describe_teaching(recipe)} Training starts from the weights of {start}."


def _describe_teaching(recipe: Recipe) -> str:
    teacher = recipe.teacher
    if teacher is None:
        if recipe.modalities == "any":
            return "One network for every subset, trained with a random subset of the sequences for each sample."
        return "Trained on its own, without distillation."
    names = {name: loss["words"] for name, loss in known_losses().items()}
    terms = [f"{names[term.loss]} at the {term.at} (weight {term.weight})" for term in recipe.distill]
    matched = enumerate_words(terms)
    if teacher.trained == "itself":
        return f"The network itself, when it is given all four sequences, is its own teacher: {matched}."
    when = {
        "jointly": "A teacher trained in the same iterations",
        "beforehand": f"A teacher trained beforehand ({method_label(teacher.method)}) and frozen",
    }[teacher.trained]
    sees = {"all": "all four sequences", "same": "the student's sequences"}[teacher.sees]
    return f"{when}, given {sees}; {matched}."


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


def training_setup(results: Results) -> str:
    """Backbone, budget, seeds."""
    config = results.config
    budget = config.budget_settings
    batches = f" with batches of {budget.batch_size}" if budget.batch_size else ""
    return (
        f"All methods use {network(config)}. Each network was trained for {training(budget)}{batches}, "
        f"{seeds(results)} and {folds(config)}. Preprocessing, augmentation, optimiser and the segmentation loss with "
        "deep supervision are nnU-Net's own; one preprocessed dataset of four channels serves all subsets, "
        "and every method sees the same random batches."
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
