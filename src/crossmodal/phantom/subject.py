"""One subject: brain, tumour and four sequences from (seed, site, number) alone."""

from dataclasses import dataclass, replace

import numpy as np

from crossmodal.phantom.anatomy import Template, brain, draw_warp
from crossmodal.phantom.grid import Grid
from crossmodal.phantom.signal import acquire
from crossmodal.phantom.site import SITES
from crossmodal.phantom.tumour import GROWTH_SPACING_MM, Kind, centre_mm, choose_seeds, draw_kind, grow

MASS_EFFECT_SHARE = 0.5


@dataclass(frozen=True)
class Subject:
    """Four int16 images and uint8 labels over the whole field of view, with what kind of case it is."""

    name: str
    kind: Kind
    images: dict[str, np.ndarray]
    labels: np.ndarray


def case_name(site: str, number: int) -> str:
    """BraTS 2020's name for the site's case `number` (from 1); no two sites share a name below 500 cases."""
    return f"BraTS20_Training_{SITES[site].first_case + number - 1:03d}"


def kind_name(seed: int, site: str, number: int) -> str:
    """The kind of a case: each ten consecutive cases have the site's mix, in an order drawn for each ten."""
    block, place = divmod(number - 1, 10)
    rng = np.random.default_rng([seed, ord(site), 0, block])
    return SITES[site].mix[rng.permutation(10)[place]]


def make_subject(templates: dict[float, Template], spacing: float, seed: int, site: str, number: int) -> Subject:
    """The site's case `number` (from 1) at `spacing` mm; the same brain and tumour whatever the spacing.

    Args:
        templates: by spacing; those of `spacing` and of the growth grid (3 mm) are needed.
        spacing: edge of a voxel in mm.
        seed: of the cohort.
        site: A or B.
        number: of the case.
    """
    streams = np.random.default_rng([seed, ord(site), 1, number]).spawn(3)
    coarse = Grid.whole(GROWTH_SPACING_MM)
    warp = draw_warp(streams[0], templates[GROWTH_SPACING_MM])
    mask, tissue = brain(templates[GROWTH_SPACING_MM], warp, coarse)
    kind = draw_kind(streams[1], kind_name(seed, site, number))
    seeds = choose_seeds(streams[1], kind, coarse, mask, tissue)
    warp = replace(
        warp,
        bulge=warp.bulge
        + tuple(
            (*centre_mm(coarse, s), f.core_radius_mm, MASS_EFFECT_SHARE) for f, s in zip(kind.foci, seeds, strict=True)
        ),
    )
    box = _bounding_box(mask, coarse)
    coarse_box, fine_box = coarse.crop(*box), Grid.whole(spacing).crop(*box)
    coarse_brain = brain(templates[GROWTH_SPACING_MM], warp, coarse_box)
    fine_brain = coarse_brain if spacing == coarse.spacing else brain(templates[spacing], warp, fine_box)
    inside = [tuple(i - o for i, o in zip(s, coarse_box.start, strict=True)) for s in seeds]
    labels = grow(streams[1], kind, inside, coarse_box, coarse_brain, fine_box, fine_brain[0])
    images = acquire(streams[2], SITES[site], fine_box, kind.grade, *fine_brain, labels)
    return Subject(
        case_name(site, number),
        kind,
        {m: _whole(image, fine_box) for m, image in images.items()},
        _whole(labels, fine_box),
    )


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
