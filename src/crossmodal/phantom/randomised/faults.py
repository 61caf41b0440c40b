"""What goes wrong in practice: shifted sequences, faulty skull-stripping, empty slices, clipped or bent grey levels."""

import numpy as np
from scipy import ndimage

from crossmodal.phantom.grid import Grid, smooth_field

# Share of cases with each fault.
SHIFTED, CUT, LEFT, EMPTY, CLIPPED, BENT = 0.25, 0.2, 0.3, 0.1, 0.4, 0.4
SHIFT_MM = 2.0
DEEPEST_CUT_MM, THICKEST_REST_MM = 8.0, 8.0
EMPTY_SLICES = 3


def skull_strip(rng: np.random.Generator, grid: Grid, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of the brain (x, y, z), and the tissue outside it that was not removed; often as they should be."""
    cuts, leaves = rng.uniform() < CUT, rng.uniform() < LEFT
    cut, left = (deepest * rng.uniform() for deepest in (DEEPEST_CUT_MM, THICKEST_REST_MM))
    where_cut, where_left = (smooth_field(rng, grid, 18.0) - rng.uniform(0.5, 1.8) for _ in range(2))
    inside = ndimage.distance_transform_edt(mask, sampling=grid.spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=grid.spacing)
    kept = mask & (inside > cut * np.clip(where_cut, 0, 1)) if cuts else mask
    rest = ~mask & (outside < left * np.clip(where_left, 0, 1)) if leaves else np.zeros_like(mask)
    return kept, rest


def fill_rest(rng: np.random.Generator, grid: Grid, image: np.ndarray, mask: np.ndarray, rest: np.ndarray):
    """Skin, muscle or fat where the skull-stripping left them: any grey level from dark to twice the brain's brightest.

    `image` is one sequence (x, y, z) on `grid`, `mask` its brain, `rest` where tissue is left.
    """
    brightest, level = np.percentile(image[mask], 98), rng.uniform(0.1, 2.0)
    texture = np.exp(0.3 * smooth_field(rng, grid, 4.0))
    return np.where(rest, brightest * level * texture, image)


def draw_shifts(rng: np.random.Generator, names) -> dict[str, np.ndarray]:
    """How far each sequence is from the first of a random order: 0, or up to 2 mm in any direction (x, y, z in mm)."""
    shifted, right = rng.uniform() < SHIFTED, str(rng.choice(list(names)))
    shifts = {}
    for name in names:
        direction, length = rng.standard_normal(3), SHIFT_MM * rng.uniform()
        moved = shifted and name != right
        shifts[name] = direction / np.sqrt((direction**2).sum()) * length if moved else np.zeros(3)
    return shifts


def shift(image: np.ndarray, by_mm: np.ndarray, spacing: float) -> np.ndarray:
    """The image moved by less than a few voxels, linearly interpolated; what comes in repeats the border."""
    return ndimage.shift(image, by_mm / spacing, order=1, mode="nearest") if by_mm.any() else image


def draw_empty(rng: np.random.Generator, mask: np.ndarray, names) -> dict[str, slice]:
    """The axial slices that a sequence lacks: none, or a few of the lowest or highest of the brain."""
    occupied = np.flatnonzero(mask.any(axis=(0, 1)))
    found = {}
    for name in names:
        lacks, count, low = rng.uniform() < EMPTY, int(rng.integers(1, EMPTY_SLICES + 1)), rng.uniform() < 0.5
        if lacks:
            found[name] = slice(0, occupied[0] + count) if low else slice(occupied[-1] + 1 - count, mask.shape[2])
    return found


def bend(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Grey levels clipped at a high percentile of the brain, or bent by a power, or left as they are."""
    clips, bends = rng.uniform() < CLIPPED, rng.uniform() < BENT
    top, power = rng.uniform(97.0, 99.9), np.exp(rng.uniform(np.log(0.7), np.log(1.4)))
    if clips:
        image = np.minimum(image, np.percentile(image[mask], top))
    if bends:
        brightest = image[mask].max()
        image = brightest * (image / brightest) ** power
    return image
