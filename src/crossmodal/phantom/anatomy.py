"""A subject's normal brain: the ICBM152 tissue maps, scaled, smoothly deformed and with folds of its own.

Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033; the maps come with nilearn.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from crossmodal.phantom.grid import FIELD_OF_VIEW_MM, Grid, smooth_field

WM, GM, CSF = range(3)
DEFORMATION_SIGMA_MM, DEFORMATION_MM = 16.0, 3.0
FOLD_SIGMA_MM, FOLDS = 4.0, 0.5
SHARPENING = 3.0  # the maps are averages of 152 brains: their borders are wider than one brain's


@dataclass(frozen=True)
class Template:
    """ICBM152 at 1 mm in BraTS's orientation (LPS): `tissue` is WM, GM, CSF fractions that sum to `mask`."""

    mask: np.ndarray
    tissue: np.ndarray
    volume_ml: float

    def smoothed(self, spacing: float) -> "Template":
        """The same, averaged over voxels of `spacing` mm, so that sampling it gives partial volumes."""
        if spacing <= 1:
            return self
        sigma = 0.29 * spacing  # the SD of a box of this width
        tissue = np.stack([ndimage.gaussian_filter(t, sigma, truncate=3) for t in self.tissue])
        return Template(ndimage.gaussian_filter(self.mask, sigma, truncate=3), tissue, self.volume_ml)


def load_template() -> Template:
    """The maps that nilearn ships. It has no CSF map: CSF is the part of the mask that is neither GM nor WM."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template

    def lps(image) -> np.ndarray:
        return np.ascontiguousarray(np.asarray(image.dataobj, dtype=np.float64)[::-1, ::-1])

    mask = lps(load_mni152_brain_mask(resolution=1))
    gm, wm = (lps(load(resolution=1)) * mask for load in (load_mni152_gm_template, load_mni152_wm_template))
    tissue = np.stack([wm, gm, np.clip(mask - gm - wm, 0, 1)]) ** SHARPENING
    tissue /= np.maximum(tissue.sum(0), 1e-6)
    return Template(mask, tissue * mask, mask.sum() / 1000)


@dataclass(frozen=True)
class Warp:
    """How a subject's brain maps to the template; `bulge` lists swellings: centre (mm), radius (mm), share.

    `fluid` is the log of how much wider its fluid spaces are, `folds` the SD of the log of each tissue's share.
    """

    scale: tuple[float, float, float]
    seed: int
    fluid: float
    bulge: tuple[tuple[float, float, float, float, float], ...]
    deformation_mm: float = DEFORMATION_MM
    folds: float = FOLDS


def draw_warp(rng: np.random.Generator, template: Template) -> Warp:
    """A brain of 1400 to 1900 ml with its own proportions, folds and width of fluid spaces."""
    size = (rng.uniform(1400, 1900) / template.volume_ml) ** (1 / 3)
    stretch = rng.normal(0, 0.025, 3)
    scale = size * np.exp(stretch - stretch.mean())
    scale[2] = min(scale[2], 1.0)  # the template already fills the 155 mm
    ventricles = (120.0, 120.0, 77.5 + 9 * float(scale[2]), 30.0, float(rng.uniform(0.2, 0.7)))
    return Warp(tuple(scale.tolist()), int(rng.integers(2**32)), float(rng.uniform(1.2, 2.4)), (ventricles,))


def brain(template: Template, warp: Warp, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Mask (x, y, z) and tissue fractions (3, x, y, z: WM, GM, CSF) on a grid; the template is smoothed for it."""
    rng = np.random.default_rng(warp.seed)
    centre = [mm / 2 for mm in FIELD_OF_VIEW_MM]
    middle = [(n - 1) / 2 for n in template.mask.shape]
    shape = [(-1, 1, 1), (1, -1, 1), (1, 1, -1)]
    position = [x.reshape(s) for x, s in zip(grid.axes(), shape, strict=True)]
    wobble = [warp.deformation_mm * smooth_field(rng, grid, DEFORMATION_SIGMA_MM) for _ in range(3)]
    outer = [(x - c) / f + m + u for x, c, f, m, u in zip(position, centre, warp.scale, middle, wobble, strict=True)]
    mask = ndimage.map_coordinates(template.mask, outer, order=1) > 0.5
    inward = mass_effect(position, warp.bulge)
    inner = [o + d for o, d in zip(outer, inward, strict=True)]
    tissue = np.stack([ndimage.map_coordinates(t, inner, order=1) for t in template.tissue])
    folds = [warp.folds * smooth_field(rng, grid, FOLD_SIGMA_MM) for _ in range(3)]
    folds[CSF] = folds[CSF] + warp.fluid
    for t, fold in zip(tissue, folds, strict=True):
        t *= np.exp(fold)
    total = tissue.sum(0)
    tissue[CSF][mask & (total <= 1e-6)] = 1.0
    tissue /= np.maximum(tissue.sum(0), 1e-6)
    return mask, tissue * mask


def mass_effect(position: list[np.ndarray], bulge) -> list[np.ndarray]:
    """Displacement back to where the tissue was before incompressible swellings: x, y, z in mm, each an array.

    A swelling that takes the share k of the sphere of radius R moves tissue from r' to r with r'³ = r³ − kR³.
    """
    moved = [np.zeros(()) for _ in range(3)]
    for *centre, radius, share in bulge:
        delta = [x - c for x, c in zip(position, centre, strict=True)]
        r = np.sqrt(sum(d * d for d in delta)) + 1e-9
        before = np.cbrt(r**3 - share * np.minimum(r, radius) ** 3)
        moved = [m + d * (before / r - 1) for m, d in zip(moved, delta, strict=True)]
    return moved
