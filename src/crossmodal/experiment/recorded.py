"""A recorded config against today's: one experiment folder holds results of one config."""

from pathlib import Path
from typing import Any

from crossmodal.differences import refuse_other
from crossmodal.experiment.config import Config, Resolved, resolve
from crossmodal.experiment.recipe import FOR_READERS
from crossmodal.experiment.validation import read_yaml

# Changing one of these would mix results of two experiments in one folder.
FIXED = (
    *("brats", "cohort_lock", "release", "phantom", "external", "split", "on_problem"),
    *("budget_settings", "backbone"),
)


def given_part(resolved: Resolved) -> dict[str, Any]:
    """The keys of a resolved config that can be given; the others follow from them."""
    return {key: value for key, value in resolved.plain().items() if key in Config.model_fields}


def refuse_drift(experiment: Path) -> None:
    """Stop when this version resolves the recorded config of results/<experiment> otherwise; keys added since aside.

    Raises UserError with each recipe's or the budget's difference.
    """
    recorded = read_yaml(experiment / "config.yaml")
    given = {key: value for key, value in recorded.items() if key in Config.model_fields}
    now = resolve(given, str(experiment / "config.yaml"), check_paths=False).plain()
    remedy = "Check out the commit that published it, or change the recipe or budget back."
    made = "by another version of this workflow"
    refuse_other(without_words(recorded), now, experiment, remedy, made, added=False)


def refuse_mixture(resolved: Resolved, experiment: Path) -> None:
    """Stop when an experiment folder was made with another cohort, budget or split.

    Args:
        resolved: the config of now.
        experiment: results/<experiment>, which need not be there.

    Raises:
        UserError: listing each difference.
    """
    if (experiment / "config.yaml").exists():
        found, wanted = without_words(read_yaml(experiment / "config.yaml")), without_words(resolved.plain())
        fixed_then, fixed_now = ({key: config.get(key) for key in FIXED} for config in (found, wanted))
        remedy = f"Give this run a name of its own (--config experiment=NAME), or delete {experiment}."
        refuse_other(fixed_then, fixed_now, experiment, remedy, "with another config")


def without_words(config: dict) -> dict:
    """The config, changed: without what is for readers, since another title or citation is the same method."""
    for part in (config.get("budget_settings") or {}, *(config.get("recipes") or {}).values()):
        for words in FOR_READERS:
            part.pop(words, None)
    return config
