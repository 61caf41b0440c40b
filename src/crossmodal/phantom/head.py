"""A head: a brain with the tumour that grew in it, before any sequence is acquired."""

from dataclasses import dataclass, replace

import numpy as np

from crossmodal.phantom.anatomy import Template, Warp, brain
from crossmodal.phantom.grid import Grid
from crossmodal.phantom.tumour import GROWTH_SPACING_MM, Growth, Kind, centre_mm, choose_seeds, grow


@dataclass(frozen=True)
class Head:
    """A brain with its tumour: mask and labels (x, y, z), fractions of WM, GM and CSF (3, x, y, z), on `grid`."""

    grid: Grid
    mask: np.ndarray
    tissue: np.ndarray
    labels: np.ndarray


def with_tumour(
    rng: np.random.Generator, templates: dict[float, Template], spacing: float, warp: Warp, kind: Kind, growth: Growth
) -> Head:
    """Grow a tumour in a brain; the fronts are computed at 3 mm whatever the spacing."""
    coarsest, template = Grid.whole(GROWTH_SPACING_MM), templates[GROWTH_SPACING_MM]
    mask, tissue = brain(template, warp, coarsest)
    seeds = choose_seeds(rng, kind, growth, coarsest, mask, tissue)
    swellings = [
        (*centre_mm(coarsest, s), f.core_radius_mm, growth.mass_effect) for f, s in zip(kind.foci, seeds, strict=True)
    ]
    warp = replace(warp, bulge=(*warp.bulge, *swellings))
    box = _bounding_box(mask, coarsest)
    coarse, fine = coarsest.crop(*box), Grid.whole(spacing).crop(*box)
    coarse_brain = brain(template, warp, coarse)
    mask, tissue = coarse_brain if fine == coarse else brain(templates[spacing], warp, fine)
    inside = [tuple(i - o for i, o in zip(s, coarse.start, strict=True)) for s in seeds]
    labels = grow(rng, kind, growth, inside, coarse, coarse_brain, fine, mask)
    return Head(fine, mask, tissue, labels)


def _bounding_box(mask: np.ndarray, grid: Grid) -> tuple[list[float], list[float]]:
    """The brain's extent with a margin of two voxels, in mm."""
    low, high = [], []
    for axis, x in enumerate(grid.axes()):
        inside = x[mask.any(axis=tuple(a for a in range(3) if a != axis))]
        low.append(float(inside[0]) - 2 * grid.spacing)
        high.append(float(inside[-1]) + 2 * grid.spacing)
    return low, high


def whole(values: np.ndarray, box: Grid) -> np.ndarray:
    """The values of a box in the whole field of view, 0 outside the box."""
    everywhere = np.zeros(Grid.whole(box.spacing).shape, values.dtype)
    everywhere[box.slices()] = values
    return everywhere
