"""What may be taken for tumour: vessels, dura, choroid plexus in T1ce; lesions of white matter in FLAIR; blood."""

import numpy as np
from scipy import ndimage

from crossmodal.phantom.grid import Grid, smooth_field
from crossmodal.phantom.randomised.settings import log_uniform, uniform

TUMOUR = ("necrosis", "non_enhancing", "oedema", "enhancing")
CORE = ("necrosis", "non_enhancing", "enhancing")
BLOOD = 0.2  # share of cases with blood in the tumour
LESIONS = 0.4  # share of cases with lesions of the white matter
VESSELS_MM = 7.0  # σ of the fields that make them
VENTRICLE_MM = 20.0  # fluid this far below the surface is taken for a ventricle


def add_lookalikes(
    rng: np.random.Generator, width: float, grid: Grid, mask: np.ndarray, parts: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The shares of a case's compartments, with more compartments that take their room from the others.

    Args:
        rng: of this step.
        width: of the tumour's and anatomy's ranges.
        grid: of the arrays.
        mask: the brain (x, y, z).
        parts: shares of each compartment (x, y, z), which sum to 1 in the brain.
    """
    depth = ndimage.distance_transform_edt(mask, sampling=grid.spacing)
    healthy = 1 - sum(parts[name] for name in TUMOUR if name in parts)
    ventricle = (depth > VENTRICLE_MM) & (parts["csf"] > 0.5)
    from_ventricle = ndimage.distance_transform_edt(~ventricle, sampling=grid.spacing)
    shares = {
        "dura": _dura(rng, width, grid, depth) * healthy,
        "vessel": _vessels(rng, width, grid) * np.clip(0.35 + parts["csf"], 0, 1) * healthy,
        "choroid": ventricle * _blobs(rng, grid, 3.0, uniform(rng, width, 0.8, 1.8)) * healthy,
        "lesion": _lesions(rng, width, grid, depth, from_ventricle) * parts["wm"] * healthy,
    }
    bleeds, blood = rng.uniform() < BLOOD, _blobs(rng, grid, 4.0, uniform(rng, width, 0.5, 1.8))
    if bleeds:
        shares["blood"] = blood * sum(parts[name] for name in CORE if name in parts)
    for name, share in shares.items():
        parts = {other: part * (1 - share) for other, part in parts.items()} | {name: share}
    return parts


def _blobs(rng: np.random.Generator, grid: Grid, sigma_mm: float, threshold: float) -> np.ndarray:
    """0 to 1: where a smooth field is above the threshold, with soft borders."""
    return np.clip(0.5 + 3 * (smooth_field(rng, grid, sigma_mm) - threshold), 0, 1)


def _vessels(rng: np.random.Generator, width: float, grid: Grid) -> np.ndarray:
    """Tubes: where two smooth fields are both near 0, which is along lines."""
    spread = log_uniform(rng, width, 0.8, 2.2) / (2**0.5 * VESSELS_MM)  # the slope of such a field has the SD 1/(√2 σ)
    a, b, c = (smooth_field(rng, grid, VESSELS_MM) for _ in range(3))
    nearest = np.minimum(a * a + b * b, b * b + c * c)
    return np.exp(-nearest / (2 * spread * spread))


def _dura(rng: np.random.Generator, width: float, grid: Grid, depth: np.ndarray) -> np.ndarray:
    """Patches of the surface, the falx between the hemispheres, and the sinus where both meet."""
    x, _, z = (
        axis.reshape(shape) for axis, shape in zip(grid.axes(), [(-1, 1, 1), (1, -1, 1), (1, 1, -1)], strict=True)
    )
    thick = log_uniform(rng, width, 0.5, 2.5)
    surface = np.clip((thick + grid.spacing - depth) / grid.spacing, 0, 1) * _blobs(
        rng, grid, 12.0, uniform(rng, width, -1.2, 1.2)
    )
    beside = np.abs(x - 120 + 1.5 * smooth_field(rng, grid, 16.0))
    middle = np.exp(-((beside / log_uniform(rng, width, 0.6, 1.6)) ** 2)) * (z > 75)
    falx = middle * _blobs(rng, grid, 12.0, uniform(rng, width, -1.0, 1.5)) * np.clip(1.5 - depth / 25, 0, 1)
    sinus = np.clip(2 - depth / 4, 0, 1) * np.exp(-((beside / 3) ** 2)) * (z > 75)
    return np.clip(np.maximum(np.maximum(surface, falx), sinus), 0, 1)


def _lesions(rng: np.random.Generator, width: float, grid: Grid, depth: np.ndarray, from_ventricle: np.ndarray):
    """Caps and bands along the ventricles, and spots in deep white matter."""
    caps = np.exp(-from_ventricle / log_uniform(rng, width, 1.0, 3.0)) * _blobs(
        rng, grid, 8.0, uniform(rng, width, -1.0, 1.5)
    )
    present, spots = rng.uniform() < LESIONS, _blobs(rng, grid, 3.0, uniform(rng, width, 2.0, 3.2)) * (depth > 8)
    return np.clip(caps + (spots if present else 0), 0, 1)
