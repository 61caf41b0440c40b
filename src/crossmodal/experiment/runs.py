"""Which trainings, predictions and roles an experiment has: read from its recipes, and from nowhere else."""

from collections.abc import Iterable, Mapping

from crossmodal.domain import ALL
from crossmodal.experiment.config import Resolved
from crossmodal.experiment.layout import Prediction, Training
from crossmodal.experiment.recipe import Recipe

# The share of the gap recovered is defined by these two methods: (method − student) / (teacher − student).
STUDENT, TEACHER = "student", "teacher"
TWO_STAGE = "_two_stage"  # choi2023_two_stage is the control of choi2023


def scored_subsets(config: Resolved, method: str) -> list[str]:
    """The subsets on which a method is predicted and scored."""
    recipe = config.recipes[method]
    of_any = recipe.modalities == "any" and config.any_subsets
    return recipe.scored_subsets(of_any or config.subsets)


def trainings(config: Resolved) -> dict[Training, Training | None]:
    """Every training of an experiment, with the teacher that must be trained before it (teachers come first)."""
    found: dict[Training, Training | None] = {}

    def add(training: Training) -> Training:
        needed = config.recipes[training.method].teacher_before(training.modalities)
        teacher = add(Training(*needed, training.seed, training.fold)) if needed else None
        found.setdefault(training, teacher)
        return training

    for method in config.methods:
        recipe = config.recipes[method]
        for subset in sorted({recipe.trained_modalities(one) for one in scored_subsets(config, method)}):
            for seed in config.seeds:
                for fold in config.folds:
                    add(Training(method, subset, seed, fold))
    return found


def students_of_jobs(config: Resolved) -> dict[str, list[list[str]]]:
    """Of each method, the subsets whose students one job trains: one in each, or several (`students` in the config)."""
    subsets: dict[str, dict[str, None]] = {}
    for training in trainings(config):
        subsets.setdefault(training.method, {})[training.modalities] = None
    at_most = {"separate": 1, "together": None}.get(config.students, config.students)
    found = {}
    for method, of_method in subsets.items():
        ordered, size = sorted(of_method), at_most or len(of_method)
        found[method] = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return found


def training_jobs(config: Resolved) -> dict[tuple[Training, ...], set[Training]]:
    """The trainings of each job, with the teachers that must be there before it (their jobs come first)."""
    needed, jobs = trainings(config), students_of_jobs(config)
    found: dict[tuple[Training, ...], set[Training]] = {}
    for training in needed:
        of_job = next(subsets for subsets in jobs[training.method] if training.modalities in subsets)
        job = tuple(Training(training.method, subset, training.seed, training.fold) for subset in of_job)
        found[job] = {teacher for teacher in map(needed.get, job) if teacher}
    return found


def predictions(config: Resolved) -> list[Prediction]:
    """Every prediction of an experiment that is scored, in the config's order."""
    return [
        Prediction(cohort, method, subset, seed, fold)
        for cohort in config.cohorts
        for method in config.methods
        for subset in scored_subsets(config, method)
        for seed in config.seeds
        for fold in config.folds
    ]


class Roles:
    """What each method of an experiment is for the comparison of methods.

    The student alone is the baseline. A method that always sees all four modalities without being taught (the
    method `teacher`, or another such recipe) is an upper bound. All others are compared.

    Args:
        methods: the methods, in the order of the config.
        recipes: their recipes; of a method without one, the name decides (`teacher` always sees all four).
    """

    def __init__(self, methods: Iterable[str], recipes: Mapping[str, Recipe] | None = None) -> None:
        self.recipes = recipes or {}
        self.methods = self.in_order(methods)

    @classmethod
    def of(cls, config: Resolved) -> "Roles":
        """The roles of the methods of a resolved config."""
        return cls(config.methods, config.recipes)

    def always_sees_all(self, method: str) -> bool:
        """Whether a method is given all four modalities, whatever subset is asked for."""
        recipe = self.recipes.get(method)
        return recipe.always_sees_all if recipe else method == TEACHER

    def takes_any(self, method: str) -> bool:
        """Whether one network of a method serves every subset."""
        return method in self.recipes and self.recipes[method].modalities == "any"

    def is_upper_bound(self, method: str) -> bool:
        """Whether a method is a bound that sees all four modalities and is not taught."""
        recipe = self.recipes.get(method)
        return self.always_sees_all(method) and (recipe is None or recipe.teacher is None)

    def in_order(self, methods: Iterable[str]) -> list[str]:
        """Student first, then the compared methods as given, then the upper bounds with `teacher` last."""
        rank = {STUDENT: 0, TEACHER: 3}
        return sorted(
            dict.fromkeys(methods), key=lambda method: rank.get(method, 2 if self.is_upper_bound(method) else 1)
        )

    @property
    def compared(self) -> list[str]:
        """Methods that are neither the student alone nor an upper bound."""
        return [method for method in self.methods if method != STUDENT and not self.is_upper_bound(method)]

    @property
    def upper_bounds(self) -> list[str]:
        """Methods that see all four modalities and are not taught, `teacher` last."""
        return [method for method in self.methods if self.is_upper_bound(method)]

    def row_subset(self, method: str, subset: str) -> str:
        """The subset under which a method's rows for `subset` are: all four for one that always sees them."""
        return ALL if self.always_sees_all(method) else subset

    def subsets(self, scored: Iterable[tuple[str, str]]) -> list[str]:
        """Subsets, of scored (method, modalities) pairs, that a student was given; all four when none was."""
        return list(dict.fromkeys(subset for method, subset in scored if not self.always_sees_all(method))) or [ALL]
