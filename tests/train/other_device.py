"""A second device for tests on machines without one: tensors that say they are elsewhere, and mix with no others.

Torch's own stand-ins (fake and meta tensors) hold no values, so code that looks at a value stops there. These hold
theirs in a tensor of the CPU, and their device is called "meta".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

ELSEWHERE = torch.device("meta")
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Elsewhere(torch.Tensor):
    """A tensor on the other device; `values` holds its numbers."""

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "Elsewhere":
        made = torch.Tensor._make_wrapper_subclass(
            cls, values.size(), strides=values.stride(), dtype=values.dtype, device=ELSEWHERE
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Makes tensors on the other device where code asks for them there."""

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {})


def _run(function: Any, args: tuple, kwargs: dict) -> Any:
    given, structure = tree_flatten((args, kwargs))
    tensors = [value for value in given if isinstance(value, torch.Tensor)]
    there = [value for value in tensors if isinstance(value, Elsewhere)]
    if there and function not in COPIES:
        strangers = [value for value in tensors if not isinstance(value, Elsewhere) and value.dim()]
        if strangers:
            raise RuntimeError(f"{function}: tensors on two devices")
    asked = kwargs.get("device")
    values = [value.values if isinstance(value, Elsewhere) else value for value in given]
    values = [torch.device("cpu") if isinstance(value, torch.device) else value for value in values]
    new_args, new_kwargs = tree_unflatten(values, structure)
    result = function(*new_args, **new_kwargs)
    if asked is not None and torch.device(asked).type == "cpu":
        return result
    if (asked is not None and torch.device(asked) == ELSEWHERE) or there:
        originals = {id(value.values): value for value in there}  # of operations in place
        return tree_map_only(
            torch.Tensor, lambda made: originals[id(made)] if id(made) in originals else Elsewhere(made), result
        )
    return result


@contextmanager
def other_device() -> Iterator[torch.device]:
    """While the block runs, the device that it yields holds values."""
    with _Factories():
        yield ELSEWHERE


def fetched(tensor: torch.Tensor) -> torch.Tensor:
    """Its values on the CPU."""
    assert isinstance(tensor, Elsewhere), "it is not on the other device"
    return tensor.values
