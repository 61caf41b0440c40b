"""Recipes: a method as data. Reading, overriding, checking, and what the workflow needs to know of one.

No torch here: the workflow reads recipes before any job runs.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from crossmodal.data import METHODS
from crossmodal.domain import ALL
from crossmodal.errors import UserError, nearest
from crossmodal.experiment.options import fault, known_losses
from crossmodal.experiment.validation import Model, read_yaml

TAP = re.compile(r"bottleneck|penultimate|logits|(encoder|decoder)\.(\d+|\*)")
TAPS = ("bottleneck", "penultimate", "logits", "encoder.0", "decoder.0", "encoder.*", "decoder.*")  # for messages
FOR_READERS = {"title", "source", "choice"}
# A training is identified by the weights that it starts from, wherever they lie (`train.job`).
NOT_IDENTIFYING = {*FOR_READERS, "init_from"}


class Teacher(Model):
    """Who teaches, and what the teacher sees."""

    trained: Literal["jointly", "beforehand", "itself"]
    """jointly: in the same iterations; beforehand: frozen; itself: the student on all modalities."""
    method: str = "teacher"
    """The method whose network teaches, when it is trained beforehand."""
    sees: Literal["all", "same"] = "all"
    """all: the four modalities; same: the student's."""


class Term(Model):
    """One term of the distillation: which tensors are compared, by which loss; further keys are the loss's options."""

    model_config = ConfigDict(extra="allow")

    at: str
    """bottleneck, penultimate, logits, encoder.N, decoder.N, or encoder.* and decoder.* for all stages (0 is the first
    that is computed)."""
    loss: str
    """Name of a loss (docs/methods.md lists them with their options)."""
    weight: int | float = Field(1, ge=0)
    """Weight of this term."""

    @property
    def options(self) -> dict[str, Any]:
        """Options of the loss."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not TAP.fullmatch(self.at):
            raise ValueError(f"unknown tap '{self.at}': {nearest(self.at, TAPS)}")
        losses = known_losses()
        if self.loss not in losses:
            raise ValueError(f"unknown loss '{self.loss}': {nearest(self.loss, losses)}")
        options = losses[self.loss]["options"]
        for name, value in self.options.items():
            if name not in options:
                known = {*options, "at", "loss", "weight"}
                raise ValueError(f"the loss '{self.loss}' has no option '{name}': {nearest(name, known)}")
            if problem := fault(value, options[name]):
                raise ValueError(f"the option '{name}' {problem}")
        return self


class Recipe(Model):
    """A method as data: who teaches, when, what the teacher sees, and what is matched where."""

    title: str
    """Name of the method in figures and tables."""
    source: str
    """The paper, with its doi, or 'ours'."""
    choice: str | list[str] = Field([])
    """What the source leaves open and we chose."""
    role: Literal["student", "teacher"] = "student"
    """Which generator initialises the network: a joint teacher and the method 'teacher' start from the same weights."""
    modalities: Literal["given", "all", "any"] = "given"
    """given: one network for each subset; all: always the four; any: one for all 15 subsets, trained on random ones."""
    input: Literal["modalities", "class_mean"] = "modalities"
    """class_mean: voxels hold their class's mean, from the ground truth; such a network is never predicted."""
    skip_connections: bool = True
    """false: the decoder sees the bottleneck alone."""
    seg_loss: Literal["nnunet", "cross_entropy"] = "nnunet"
    """nnunet: Dice and cross-entropy with deep supervision; cross_entropy: without the Dice."""
    seg_weight: int | float = Field(1, ge=0)
    """Weight of the student's segmentation loss."""
    update: Literal["together", "successive"] = "together"
    """together: one backward for both; successive: the teacher's step first, then the student's on its new features."""
    stop_gradient: Literal["none", "teacher"] = "none"
    """teacher: the distillation sends no gradient into a jointly trained teacher."""
    init_from: str | None = Field(None, min_length=1)
    """Model folder of a trained network whose weights this one starts from, to fine-tune it, or 'shipped' for the
    network that comes with the library; null for weights drawn from the seed."""
    teacher: Teacher | None = None
    """Who teaches; null for nobody."""
    distill: list[Term] = Field([])
    """What is matched where; the terms are added up."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        trained, joint = self.teacher_trained, self.teacher_trained == "jointly"
        needs_joint = "needs a teacher that is trained jointly"
        rules = (
            (self.distill and not self.teacher, "'distill' needs a 'teacher' (trained: jointly, beforehand or itself)"),
            (self.teacher and not self.distill, "the teacher has nothing to teach: give at least one 'distill' term"),
            (trained == "itself" and self.modalities != "any", "'trained: itself' is for 'modalities: any' alone"),
            (joint and self.teacher.method != "teacher", "a jointly trained teacher has no 'method' of its own"),
            (self.update == "successive" and not joint, f"'update: successive' {needs_joint}"),
            (self.stop_gradient == "teacher" and not joint, f"'stop_gradient: teacher' {needs_joint}"),
        )
        for wrong, message in rules:
            if wrong:
                raise ValueError(message)
        return self

    @model_serializer(mode="wrap")
    def _as_before_it_could_be_set(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if (key, value) != ("init_from", None)}

    @property
    def choices(self) -> list[str]:
        """What the source leaves open and we chose, as a list."""
        return [self.choice] if isinstance(self.choice, str) else list(self.choice)

    @property
    def teacher_trained(self) -> str | None:
        """When the teacher is trained: jointly, beforehand or itself; None without a teacher."""
        return self.teacher.trained if self.teacher else None

    @property
    def training_kind(self) -> str:
        """alone: no teacher; joint: one that learns beside the student; frozen: one that only runs."""
        return {None: "alone", "jointly": "joint"}.get(self.teacher_trained, "frozen")

    @property
    def networks_in_memory(self) -> int:
        """Networks that a training holds: a teacher beside the student is one more."""
        return 2 if self.teacher else 1

    @property
    def uses_ground_truth(self) -> bool:
        """Whether the network reads the ground truth. Such a network is never predicted, scored or listed."""
        return self.input == "class_mean"

    @property
    def always_sees_all(self) -> bool:
        """Whether the network is given all four modalities, whatever subset is asked for."""
        return self.modalities == "all"

    def training_fields(self) -> dict[str, Any]:
        """The part that a training follows from: another title or citation is the same method.

        The weights that it starts from are not in it: their hash stands beside it.
        """
        return {key: value for key, value in self.plain().items() if key not in NOT_IDENTIFYING}

    def trained_modalities(self, subset: str) -> str:
        """The subset under which the network that serves `subset` is trained."""
        return subset if self.modalities == "given" else ALL

    def scored_subsets(self, subsets: Sequence[str]) -> list[str]:
        """The subsets, of those that are asked for, on which the method is predicted and scored."""
        return [ALL] if self.always_sees_all else list(subsets)

    def teacher_before(self, subset: str) -> tuple[str, str] | None:
        """Method and subset of the teacher that must be trained before this recipe on `subset`, if any."""
        if self.teacher_trained != "beforehand":
            return None
        return self.teacher.method, (ALL if self.teacher.sees == "all" else subset)

    def check_taps(self, stages: int, where: str) -> None:
        """Refuse a tap that a network with this many encoder stages does not have.

        Raises:
            UserError: naming the stages that there are.
        """
        for term in self.distill:
            part, _, number = term.at.partition(".")
            last = stages - 1 if part == "encoder" else stages - 2
            if number.isdigit() and int(number) > last:
                raise UserError(
                    f"{where}: the tap '{term.at}' is not in this network: its {part} has the stages 0 to {last} "
                    f"(the budget sets the network)"
                )


def load(name: str, folders: Sequence[Path] = (), overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a method, with overrides, checked.

    Args:
        name: a method's name, or a path to a YAML file.
        folders: further folders with recipes, searched after the library's own.
        overrides: dotted keys to values, e.g. {"distill.0.weight": 2}; text is read as YAML.

    Raises:
        UserError: the method is unknown, its file is not a mapping, or a field of it is wrong.
    """
    path = find(name, folders)
    data = read_yaml(path)
    for key, value in (overrides or {}).items():
        new = yaml.safe_load(value) if isinstance(value, str) else value
        *parents, last = key.split(".")
        try:
            node: Any = data
            for part in parents:
                node = node.setdefault(part, {}) if isinstance(node, dict) else node[int(part)]
            node[last if isinstance(node, dict) else int(last)] = new
        except (IndexError, TypeError, ValueError):
            raise UserError(f"{path}: cannot set '{key}': no such field; count a list's entries from 0") from None
    return Recipe.parse(data, str(path))


def find(name: str, folders: Sequence[Path] = ()) -> Path:
    """The file of a method. Raises UserError with the nearest known name."""
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UserError(f"{name}: no such recipe file")
        return Path(name)
    for folder in (METHODS, *folders):
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    raise UserError(f"unknown method '{name}': {nearest(name, known_methods(folders))}")


def known_methods(folders: Sequence[Path] = ()) -> list[str]:
    """Names of all methods: the library's own and those in further folders."""
    return sorted({path.stem for folder in (METHODS, *folders) for path in folder.glob("*.yaml")})


def load_all(
    names: Sequence[str], folders: Sequence[Path] = (), overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Recipe]:
    """The recipes of the methods and of every teacher they need.

    Args:
        names: the methods.
        folders: further folders with recipes.
        overrides: method -> dotted keys to values.

    Raises:
        UserError: a teacher is not a method, teachers form a circle, or a teacher cannot serve its student.
    """
    overrides = overrides or {}
    recipes: dict[str, Recipe] = {}

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            raise UserError(f"the teachers form a circle: {' -> '.join([*path, name])}")
        if name not in recipes:
            try:
                recipes[name] = load(name, folders, overrides.get(name))
            except UserError as error:
                raise UserError(f"the teacher of '{path[-1]}' is wrong: {error}" if path else str(error)) from None
        needed = recipes[name].teacher_before(ALL)
        if needed:
            visit(needed[0], [*path, name])
            _check_teacher(name, recipes[name].teacher, recipes[needed[0]])

    for name in names:
        visit(name, [])
    for name in overrides:
        if name not in recipes:
            raise UserError(f"'overrides' names the method '{name}', which is not run: {nearest(name, recipes)}")
    return recipes


def _check_teacher(name: str, teacher: Teacher, recipe: Recipe) -> None:
    if recipe.modalities == "any":
        raise UserError(f"'{name}': its teacher '{teacher.method}' is a network for any subset: not a teacher")
    if teacher.sees == "same" and recipe.always_sees_all:
        raise UserError(
            f"'{name}' asks for a teacher that sees the same modalities, but '{teacher.method}' "
            f"is always trained on all four: write 'sees: all', or name another method"
        )
