"""The base class of the losses, their registry, and `make_loss`, which builds one from a recipe's term."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, get_args, get_origin

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import nearest
from crossmodal.experiment.options import fault

JSON_TYPES = {float: "number", int: "integer", bool: "boolean", str: "string", type(None): "null"}

# Types of options: their limits go into the schemas, and a value outside raises ValueError.
NotNegative = Annotated[float, {"minimum": 0}]
Positive = Annotated[float, {"exclusiveMinimum": 0}]
Count = Annotated[int, {"minimum": 1}]
OptionalCount = Annotated[int | None, {"minimum": 1}]


class DistillationLoss(nn.Module):
    """Base: checks options and shapes, casts both sides to float32 and switches autocast off around `compare`.

    A subclass passes its options to `super().__init__`, which keeps them as attributes, and writes its equation
    in `compare`. What it learns (a projection) is optimised with the student and never exported.

    Attributes:
        name: name in recipes, given to `register`.
        words: name in the sentences of the report, given to `register`.
        projection_option: the option that asks for a learnt projection, which needs the argument `channels`.
        any_channels: whether the two sides may differ in their number of channels without a projection.
        fewest_dims: 2 where (B, C) features will do, 3 where there must be positions.
    """

    name: ClassVar[str]
    words: ClassVar[str]
    projection_option: ClassVar[str | None] = None
    any_channels: ClassVar[bool] = False
    fewest_dims: ClassVar[int] = 2

    def __init__(self, channels: tuple[int, int] | None = None, **options: Any) -> None:
        """Check and keep the options.

        Args:
            channels: numbers of channels of student and teacher, for a projection alone.
            options: name -> value.

        Raises:
            ValueError: a value is outside its limits, or `channels` is missing or has no use.
        """
        super().__init__()
        rules = options_of(type(self))
        for option, value in options.items():
            if option in rules and (problem := fault(value, rules[option])):
                raise ValueError(f"{type(self).__name__}: '{option}' {problem}")
            setattr(self, option, value)
        if bool(options.get(self.projection_option)) != (channels is not None):
            raise ValueError(
                f"{type(self).__name__}: give 'channels' together with '{self.projection_option}', and only then"
            )
        self.channels = channels

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """The loss, a scalar in float32.

        Args:
            student: (B, C, ...) features or logits, with any number of spatial dimensions.
            teacher: the teacher's at the same place.
            labels: (B, 1, ...) of integers at any resolution, for the losses that use them.

        Raises:
            ValueError: the shapes do not fit each other or the loss.
        """
        ours, theirs = tuple(student.shape), tuple(teacher.shape)
        sides = f"{type(self).__name__}: the student's features are {ours}, the teacher's {theirs}"
        if min(len(ours), len(theirs)) < self.fewest_dims:
            raise ValueError(f"{sides}: they should be (B, C, ...) with {self.fewest_dims} dimensions or more")
        if (ours[0], *ours[2:]) != (theirs[0], *theirs[2:]):
            raise ValueError(f"{sides}: batch and positions should be the same")
        if self.channels is None:
            _check_channels(type(self), ours[1], theirs[1])
        elif (ours[1], theirs[1]) != tuple(self.channels):
            raise ValueError(f"{sides}: 'channels' was {tuple(self.channels)}")
        with torch.autocast(student.device.type, enabled=False):
            return self.compare(student.float(), teacher.float(), labels)

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """The loss's equation, without checks of shapes and in the precision of its arguments."""
        raise NotImplementedError


class Projection(nn.Linear):
    """A learnt linear map of the channels at each position: a 1×1 convolution in any number of dimensions."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_features, ...) to (B, out_features, ...), with up to three dimensions of positions."""
        positions = features.ndim - 2
        weight = self.weight.reshape(*self.weight.shape, *[1] * positions)
        return (F.linear, F.conv1d, F.conv2d, F.conv3d)[positions](features, weight, self.bias)


LOSSES: dict[str, type[DistillationLoss]] = {}


def register(name: str, words: str) -> Callable[[type[DistillationLoss]], type[DistillationLoss]]:
    """Class decorator that adds a loss to `LOSSES`.

    Args:
        name: its name in recipes.
        words: its name in the sentences of the report, e.g. "the Barlow Twins loss".
    """

    def add(kind: type[DistillationLoss]) -> type[DistillationLoss]:
        if name in LOSSES and LOSSES[name].__qualname__ != kind.__qualname__:
            raise ValueError(f"the name '{name}' is taken by {LOSSES[name].__qualname__}")
        kind.name, kind.words = name, words
        LOSSES[name] = kind
        return kind

    return add


def options_of(kind: type[DistillationLoss]) -> dict[str, dict[str, Any]]:
    """Each option of a loss with its JSON type, limits and default, from the constructor's signature."""
    found = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name != "channels" and parameter.kind is not parameter.VAR_KEYWORD:
            hint = parameter.annotation
            annotation, limits = get_args(hint) if get_origin(hint) is Annotated else (hint, {})
            types = [JSON_TYPES[part] for part in get_args(annotation) or (annotation,)]
            found[name] = {"type": types, **limits, "default": parameter.default}
    return found


def make_loss(
    name: str, student_channels: int, teacher_channels: int, options: Mapping[str, Any] | None = None
) -> DistillationLoss:
    """The loss of a name for features with these numbers of channels.

    Args:
        name: one of `LOSSES`.
        student_channels: channels of the student at the tap.
        teacher_channels: channels of the teacher there.
        options: the loss's options; the channels are passed on only where a projection is learnt.

    Raises:
        ValueError: an unknown name or option, a value outside its limits, or sides that cannot be compared.
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss '{name}': {nearest(name, LOSSES)}")
    kind, options = LOSSES[name], dict(options or {})
    for option in options:
        if option not in options_of(kind):
            raise ValueError(f"the loss '{name}' has no option '{option}': {nearest(option, options_of(kind))}")
    if options.get(kind.projection_option):
        return kind(**options, channels=(student_channels, teacher_channels))
    _check_channels(kind, student_channels, teacher_channels)
    return kind(**options)


def _check_channels(kind: type[DistillationLoss], student: int, teacher: int) -> None:
    if student != teacher and not kind.any_channels:
        remedy = f"set '{kind.projection_option}'" if kind.projection_option else "choose a place where they are equal"
        raise ValueError(
            f"{kind.__name__}: the student has {student} channels here and the teacher {teacher}: {remedy}"
        )
