"""A normal brain of any size, with narrow or wide fluid spaces, and its deep grey matter as a tissue of its own."""

import numpy as np
from scipy import ndimage

from crossmodal.phantom.anatomy import CSF, GM, WM, Template, Warp
from crossmodal.phantom.grid import Grid
from crossmodal.phantom.randomised.settings import log_uniform, uniform

DEEP_MM = (16.0, 26.0)  # grey matter this far below the surface is more and more that of the basal ganglia


def draw_warp(rng: np.random.Generator, template: Template, width: float) -> Warp:
    """A brain of 1050 to 1950 ml; small or large ventricles, and fluid spaces from tight to atrophic."""
    size = (log_uniform(rng, width, 1050, 1950) / template.volume_ml) ** (1 / 3)
    stretch = 0.035 * width * rng.standard_normal(3)
    scale = size * np.exp(stretch - stretch.mean())
    scale[2] = min(scale[2], 1.0)  # the template already fills the 155 mm
    ventricles = (120.0, 120.0, 77.5 + 9 * float(scale[2]), 30.0, np.clip(uniform(rng, width, 0.05, 0.75), 0, 0.9))
    return Warp(
        tuple(scale.tolist()),
        int(rng.integers(2**32)),
        uniform(rng, width, 0.8, 2.8),
        (ventricles,),
        deformation_mm=log_uniform(rng, width, 2.0, 5.0),
        folds=log_uniform(rng, width, 0.3, 0.8),
    )


def normal_parts(
    rng: np.random.Generator, width: float, grid: Grid, mask: np.ndarray, tissue: np.ndarray
) -> dict[str, np.ndarray]:
    """Shares of wm, gm, deep (grey matter) and csf, each (x, y, z); borders from soft to sharp."""
    tissue = tissue ** log_uniform(rng, width, 1.0, 3.0)
    tissue = tissue / np.maximum(tissue.sum(0), 1e-6) * mask
    depth = ndimage.distance_transform_edt(mask, sampling=grid.spacing)
    deep = tissue[GM] * np.clip((depth - DEEP_MM[0]) / (DEEP_MM[1] - DEEP_MM[0]), 0, 1)
    return {"wm": tissue[WM], "gm": tissue[GM] - deep, "deep": deep, "csf": tissue[CSF]}
