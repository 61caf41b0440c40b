"""One subject: brain, tumour and four sequences from (seed, site, number) alone."""

import numpy as np

from crossmodal.phantom.anatomy import Template, draw_warp
from crossmodal.phantom.head import whole, with_tumour
from crossmodal.phantom.randomised import Randomisation, make_random_subject
from crossmodal.phantom.signal import acquire
from crossmodal.phantom.site import RANDOMISED, SITES
from crossmodal.phantom.tumour import GROWTH_SPACING_MM, UNEVENNESS, Growth, draw_kind


def kind_name(seed: int, site: str, number: int) -> str:
    """The kind of a case: each ten consecutive cases have the site's mix, in an order drawn for each ten."""
    block, place = divmod(number - 1, 10)
    rng = np.random.default_rng([seed, ord(site), 0, block])
    return SITES[site].mix[rng.permutation(10)[place]]


def make_subject(
    templates: dict[float, Template],
    spacing: float,
    seed: int,
    site: str,
    number: int,
    randomisation: Randomisation | None = None,
) -> dict[str, np.ndarray]:
    """Images (int16) and labels ("seg", uint8) of the site's case `number` (from 1) over the whole field of view.

    The brain and the tumour are the same whatever the spacing.

    Args:
        templates: by spacing; those of `spacing` and of the growth grid (3 mm) are needed.
        spacing: edge of a voxel in mm.
        seed: of the cohort.
        site: A, B or R.
        number: of the case.
        randomisation: how wide site R is drawn; None for the default.
    """
    if site == RANDOMISED:
        return make_random_subject(templates, spacing, seed, number, randomisation or Randomisation())
    anatomy, growing, scan = np.random.default_rng([seed, ord(site), 1, number]).spawn(3)
    warp = draw_warp(anatomy, templates[GROWTH_SPACING_MM])
    kind = draw_kind(growing, kind_name(seed, site, number))
    head = with_tumour(growing, templates, spacing, warp, kind, Growth(UNEVENNESS[kind.grade]))
    images = acquire(scan, SITES[site], head.grid, kind.grade, head.mask, head.tissue, head.labels)
    return {name: whole(values, head.grid) for name, values in {**images, "seg": head.labels}.items()}
