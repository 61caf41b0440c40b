"""A scanner for each case and sequence: timings, relaxivity, resolution, slices and gaps, noise, bias, grey levels."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from crossmodal.domain import MODALITIES
from crossmodal.phantom.grid import Grid, smooth_field
from crossmodal.phantom.randomised.settings import log_uniform, uniform
from crossmodal.phantom.signal import rician
from crossmodal.phantom.site import Site

SPIN_ECHO_T1 = 0.3  # share of cases whose T1 is a spin echo, and not MPRAGE
OTHER_T1CE = 0.25  # share of cases whose T1ce has other timings than T1


@dataclass(frozen=True)
class Sequence:
    """How one sequence of a case is acquired: timings and relaxivity in `site`; lengths in mm.

    `noise` is a share of white matter's signal, `bias` the largest deviation from 1, `level` white matter's grey level.
    """

    site: Site
    blur_mm: float
    axis: int
    slice_mm: float
    gap_mm: float
    noise: float
    bias: float
    bias_mm: float
    level: float


def draw_scanner(rng: np.random.Generator, width: float) -> dict[str, Sequence]:
    """The four sequences of one case."""
    t1 = _t1_timing(rng, width)
    t1ce = _t1_timing(rng, width) if rng.uniform() < OTHER_T1CE else t1
    t2 = (uniform(rng, width, 3000, 7500), uniform(rng, width, 75, 120))
    tr = uniform(rng, width, 7000, 11000)
    # Fluid is nulled at TI = T1 (ln 2 − ln(1 + e^(−TR/T1))); scanners are set near it.
    ti = 4000 * (np.log(2) - np.log(1 + np.exp(-tr / 4000))) * uniform(rng, width, 0.95, 1.04)
    flair = (tr, ti, uniform(rng, width, 85, 145))
    relaxivity = uniform(rng, width, 3.3, 5.5)
    return {m: _sequence(rng, width, t1ce if m == "t1ce" else t1, t2, flair, relaxivity) for m in MODALITIES}


def _t1_timing(rng: np.random.Generator, width: float) -> tuple[float, float, float]:
    if rng.uniform() < SPIN_ECHO_T1:
        return uniform(rng, width, 400, 750), 0.0, uniform(rng, width, 8, 18)
    return uniform(rng, width, 1500, 2500), uniform(rng, width, 850, 1150), uniform(rng, width, 2.5, 5)


def _sequence(rng: np.random.Generator, width: float, t1, t2, flair, relaxivity: float) -> Sequence:
    return Sequence(
        Site(1, (), t1_timing=t1, t2_timing=t2, flair_timing=flair, relaxivity=relaxivity),
        blur_mm=max(uniform(rng, width, 0.0, 0.8), 0.0),
        axis=int(rng.integers(3)),
        slice_mm=log_uniform(rng, width, 1.0, 4.0),
        gap_mm=max(uniform(rng, width, -1.5, 0.5), 0.0),
        noise=log_uniform(rng, width, 0.008, 0.035),
        bias=max(uniform(rng, width, 0.0, 0.25), 0.0),
        bias_mm=log_uniform(rng, width, 30.0, 60.0),
        level=200 * log_uniform(rng, width, 0.4, 20.0),
    )


def acquire(rng: np.random.Generator, sequence: Sequence, grid: Grid, mask: np.ndarray, clean: np.ndarray):
    """What the scanner gives for a noise-free image (x, y, z; white matter is 1): bias, slices, noise; no rounding."""
    image = _averaged(clean, mask, [sequence.blur_mm / grid.spacing] * 3)
    widths = [0.0] * 3
    widths[sequence.axis] = 0.29 * sequence.slice_mm / grid.spacing  # the SD of a box of this width
    image = _averaged(image, mask, widths)
    image = only_slices(image, sequence.axis, (sequence.slice_mm + sequence.gap_mm) / grid.spacing)
    bias = np.exp(sequence.bias * np.tanh(smooth_field(rng, grid, sequence.bias_mm)))
    return rician(rng, image * bias, sequence.noise) * sequence.level


def _averaged(image: np.ndarray, mask: np.ndarray, sigma: list[float]) -> np.ndarray:
    """Smoothed within the mask alone; `sigma` in voxels along each axis."""
    if max(sigma) < 0.2:
        return image
    weight = ndimage.gaussian_filter(mask.astype(np.float64), sigma, truncate=3)
    return ndimage.gaussian_filter(image * mask, sigma, truncate=3) / np.maximum(weight, 1e-3)


def only_slices(image: np.ndarray, axis: int, step: float) -> np.ndarray:
    """The image as interpolated from slices that are `step` voxels apart along an axis."""
    length = image.shape[axis]
    if step <= 1:
        return image
    slices = _along(image, axis, np.arange(0, length - 1 + step, step))
    return _along(slices, axis, np.arange(length) / step)


def _along(image: np.ndarray, axis: int, position: np.ndarray) -> np.ndarray:
    """Linear interpolation along one axis at positions in voxels."""
    last = image.shape[axis] - 1
    low = np.clip(np.floor(position).astype(int), 0, last)
    shape = [1, 1, 1]
    shape[axis] = len(position)
    part = np.clip(position - low, 0, 1).reshape(shape)
    return (1 - part) * np.take(image, low, axis) + part * np.take(image, np.minimum(low + 1, last), axis)
