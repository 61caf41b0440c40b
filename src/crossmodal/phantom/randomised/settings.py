"""How wide site R is drawn."""

from dataclasses import dataclass, fields

import numpy as np

from crossmodal.errors import UserError


@dataclass(frozen=True)
class Randomisation:
    """Widths of four groups, and what else is drawn; the defaults are what `--site R` writes.

    A width of 1 draws from the ranges of docs/phantom.md, 0 takes the middle of each range, 2 draws from twice the
    range. `random_intensities` is the share of sequences whose grey levels are drawn by tissue, and not from the
    signal equations. `lookalikes` adds what may be taken for tumour, `faults` what goes wrong in practice.

    Raises:
        UserError: a width is not from 0 to 2, or the share not from 0 to 1.
    """

    scanner: float = 1.0
    tissue: float = 1.0
    anatomy: float = 1.0
    tumour: float = 1.0
    random_intensities: float = 0.5
    lookalikes: bool = True
    faults: bool = True

    @classmethod
    def of_width(cls, width: float) -> "Randomisation":
        """All four groups drawn equally wide."""
        return cls(scanner=width, tissue=width, anatomy=width, tumour=width)

    def __post_init__(self) -> None:
        for field in fields(self):
            value, highest = getattr(self, field.name), 1 if field.name == "random_intensities" else 2
            if not isinstance(value, bool) and not 0 <= value <= highest:
                raise UserError(f"site R: {field.name} is {value}; give 0 to {highest}")


def uniform(rng: np.random.Generator, width: float, low: float, high: float) -> float:
    """A number from the range that has the same middle and is `width` times as wide."""
    middle, half = (low + high) / 2, width * (high - low) / 2
    return float(rng.uniform(middle - half, middle + half))


def log_uniform(rng: np.random.Generator, width: float, low: float, high: float) -> float:
    """The same on a logarithmic scale; `low` is above 0."""
    return float(np.exp(uniform(rng, width, np.log(low), np.log(high))))
