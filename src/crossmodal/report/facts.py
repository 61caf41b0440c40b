"""What a config and a recipe say, in words: for the report, the README and model cards."""

from crossmodal.experiment.budget import Budget
from crossmodal.experiment.config import Resolved
from crossmodal.experiment.recipe import Recipe, known_losses
from crossmodal.wording import enumerate_words, method_label, plural


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


def seeds(config: Resolved) -> str:
    """How many seeds were trained."""
    return plural(len(config.seeds), "seed")


def describe(recipe: Recipe) -> str:
    """A recipe in a sentence: who teaches, what the teacher sees, what is matched where."""
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
