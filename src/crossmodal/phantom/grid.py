"""Positions in millimetres, and smooth random fields that are the same at every spacing.

All arithmetic is elementwise float64: the results of FFT and BLAS depend on the processor and on threads.
"""

from dataclasses import dataclass

import numpy as np

FIELD_OF_VIEW_MM = (240.0, 240.0, 155.0)  # BraTS: 240×240×155 voxels of 1 mm

# The integral of the squared cubic B-spline is 151/315: variance left in one dimension of a white lattice.
_SPLINE_VARIANCE = (151 / 315) ** 3
_SPLINE_WIDTH = (1 / 3) ** 0.5  # SD of the cubic B-spline, in lattice steps


@dataclass(frozen=True)
class Grid:
    """A box of voxels: `start` is its first voxel's index in the whole field of view, `spacing` is in mm."""

    spacing: float
    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    @classmethod
    def whole(cls, spacing: float) -> "Grid":
        """The BraTS field of view at this spacing: 240×240×155 at 1 mm, 80×80×52 at 3 mm."""
        return cls(spacing, (0, 0, 0), tuple(max(1, round(mm / spacing)) for mm in FIELD_OF_VIEW_MM))

    def axes(self) -> list[np.ndarray]:
        """Voxel centres along each axis in mm from the corner of the field of view."""
        return [(first + 0.5 + np.arange(n)) * self.spacing for first, n in zip(self.start, self.shape, strict=True)]

    def crop(self, low_mm: list[float], high_mm: list[float]) -> "Grid":
        """The part of this grid whose voxel centres lie within the box, in mm."""
        ranges = [np.flatnonzero((x >= a) & (x <= b)) for x, a, b in zip(self.axes(), low_mm, high_mm, strict=True)]
        start = tuple(int(first + r[0]) for first, r in zip(self.start, ranges, strict=True))
        return Grid(self.spacing, start, tuple(len(r) for r in ranges))

    def slices(self) -> tuple[slice, ...]:
        """Where this box lies in an array of the whole field of view."""
        return tuple(slice(first, first + n) for first, n in zip(self.start, self.shape, strict=True))


def smooth_field(rng: np.random.Generator, grid: Grid, sigma_mm: float) -> np.ndarray:
    """A stationary Gaussian field of mean 0, SD 1 and correlation as of noise smoothed with `sigma_mm`.

    White noise on a lattice, interpolated by cubic B-splines. The lattice always covers the whole field of view, so
    one state of the generator gives one field at all spacings.
    """
    step = sigma_mm / _SPLINE_WIDTH
    field = rng.standard_normal([int(np.ceil(mm / step)) + 4 for mm in FIELD_OF_VIEW_MM])
    for axis, x in enumerate(grid.axes()):
        field = _interpolate(field, x / step, axis)
    return field / _SPLINE_VARIANCE**0.5


def _interpolate(lattice: np.ndarray, position: np.ndarray, axis: int) -> np.ndarray:
    """Sum of cubic B-splines along one axis at `position`, in lattice steps."""
    cell = np.floor(position).astype(int)
    t = position - cell
    weights = [(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6]
    shape = [1, 1, 1]
    shape[axis] = len(position)
    return sum(
        w.reshape(shape) * np.take(lattice, np.minimum(cell + k, lattice.shape[axis] - 1), axis)
        for k, w in enumerate(weights)
    )
