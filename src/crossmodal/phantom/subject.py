"""One subject: brain, tumour and four sequences from (seed, site, number) alone."""

from dataclasses import replace

import numpy as np

from crossmodal.phantom.anatomy import Template, brain, draw_warp
from crossmodal.phantom.grid import Grid
from crossmodal.phantom.signal import acquire
from crossmodal.phantom.site import SITES
from crossmodal.phantom.tumour import GROWTH_SPACING_MM, centre_mm, choose_seeds, draw_kind, grow

MASS_EFFECT_SHARE = 0.5


def case_name(site: str, number: int) -> str:
    """BraTS 2020's name for the site's case `number` (from 1); no two sites share a name below 500 cases."""
    return f"BraTS20_Training_{SITES[site].first_case + number - 1:03d}"


def kind_name(seed: int, site: str, number: int) -> str:
    """The kind of a case: each ten consecutive cases have the site's mix, in an order drawn for each ten."""
    block, place = divmod(number - 1, 10)
    rng = np.random.default_rng([seed, ord(site), 0, block])
    return SITES[site].mix[rng.permutation(10)[place]]


def make_subject(
    templates: dict[float, Template], spacing: float, seed: int, site: str, number: int
) -> dict[str, np.ndarray]:
    """Images (int16) and labels ("seg", uint8) of the site's case `number` (from 1) over the whole field of view.

    The brain and the tumour are the same whatever the spacing.

    Args:
        templates: by spacing; those of `spacing` and of the growth grid (3 mm) are needed.
        spacing: edge of a voxel in mm.
        seed: of the cohort.
        site: A or B.
        number: of the case.
    """
    anatomy, growth, scan = np.random.default_rng([seed, ord(site), 1, number]).spawn(3)
    whole, template = Grid.whole(GROWTH_SPACING_MM), templates[GROWTH_SPACING_MM]
    warp = draw_warp(anatomy, template)
    mask, tissue = brain(template, warp, whole)
    kind = draw_kind(growth, kind_name(seed, site, number))
    seeds = choose_seeds(growth, kind, whole, mask, tissue)
    swellings = [
        (*centre_mm(whole, s), f.core_radius_mm, MASS_EFFECT_SHARE) for f, s in zip(kind.foci, seeds, strict=True)
    ]
    warp = replace(warp, bulge=(*warp.bulge, *swellings))
    box = _bounding_box(mask, whole)
    coarse, fine = whole.crop(*box), Grid.whole(spacing).crop(*box)
    coarse_brain = brain(template, warp, coarse)
    fine_brain = coarse_brain if fine == coarse else brain(templates[spacing], warp, fine)
    inside = [tuple(i - o for i, o in zip(s, coarse.start, strict=True)) for s in seeds]
    labels = grow(growth, kind, inside, coarse, coarse_brain, fine, fine_brain[0])
    images = acquire(scan, SITES[site], fine, kind.grade, *fine_brain, labels)
    return {name: _whole(values, fine) for name, values in {**images, "seg": labels}.items()}


def _bounding_box(mask: np.ndarray, grid: Grid) -> tuple[list[float], list[float]]:
    """The brain's extent with a margin of two voxels, in mm."""
    low, high = [], []
    for axis, x in enumerate(grid.axes()):
        inside = x[mask.any(axis=tuple(a for a in range(3) if a != axis))]
        low.append(float(inside[0]) - 2 * grid.spacing)
        high.append(float(inside[-1]) + 2 * grid.spacing)
    return low, high


def _whole(values: np.ndarray, box: Grid) -> np.ndarray:
    whole = np.zeros(Grid.whole(box.spacing).shape, values.dtype)
    whole[box.slices()] = values
    return whole
