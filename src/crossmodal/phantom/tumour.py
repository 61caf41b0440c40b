"""A glioma grown in a subject's white matter: necrotic core, enhancing rim, oedema along the tracts.

The front of a reaction-diffusion tumour moves at 2√(ρD) (Swanson et al. 2000; Konukoglu et al. 2010,
doi:10.1109/TMI.2009.2026413), so its arrival time is a shortest path through tissue of different speeds.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.graph import MCP_Geometric

from crossmodal import domain
from crossmodal.phantom.anatomy import CSF, GM, WM
from crossmodal.phantom.grid import Grid, smooth_field

_BRATS_2020 = domain.from_internal("brats2020")
NCR, ED, ET = (_BRATS_2020[label] for label in (domain.NCR, domain.ED, domain.ET))
GROWTH_SPACING_MM = 3.0
RIM_MM = 5.0  # of a core that enhances all around: a thinner rim is lost between voxels of 3 mm
UNEVENNESS = {"HGG": 0.2, "LGG": 0.6}  # how one-sided the enhancing part of a core is
OUTSIDE_SPEED = 0.01
MASS_EFFECT_SHARE = 0.5


@dataclass(frozen=True)
class Growth:
    """How a tumour grows: speeds relative to white matter, SD and width (mm) of the noise on the log of the speed.

    `unevenness` is that of the enhancing part in the core, `midline_mm` and `lowest_mm` are how near to the middle
    and how low (from the lower end of the field of view) a tumour may start, `smallest_ml` what a component has at
    least, `mass_effect` the share of the core's sphere that pushes tissue away. `ragged` is the SD of the log of
    what the oedema's front is late by after it was found, over `ragged_mm`: its border is then that uneven.
    """

    unevenness: float
    core_grey: float = 0.8
    core_fluid: float = 0.25
    oedema_grey: float = 0.15
    oedema_fluid: float = 0.04
    noise: float = 0.25
    oedema_noise: float = 0.25
    noise_mm: float = 8.0
    midline_mm: float = 10.0
    lowest_mm: float = 62.0
    smallest_ml: float = 1.0
    mass_effect: float = MASS_EFFECT_SHARE
    ragged: float = 0.0
    ragged_mm: float = 5.0

    @property
    def core_speed(self) -> dict[int, float]:
        """Of the front that makes the core, by tissue."""
        return {WM: 1.0, GM: self.core_grey, CSF: self.core_fluid}

    @property
    def oedema_speed(self) -> dict[int, float]:
        """Of the front that makes the oedema, by tissue."""
        return {WM: 1.0, GM: self.oedema_grey, CSF: self.oedema_fluid}


@dataclass(frozen=True)
class Focus:
    """One lesion: volumes in ml."""

    ncr_ml: float
    et_ml: float
    ed_ml: float

    @property
    def core_radius_mm(self) -> float:
        """Radius of the sphere with the core's volume."""
        return _radius_mm(self.ncr_ml + self.et_ml)


def _radius_mm(ml: float) -> float:
    return (3000 * ml / (4 * np.pi)) ** (1 / 3)


@dataclass(frozen=True)
class Kind:
    """A case's grade, HGG or LGG, and its lesions."""

    grade: str
    foci: tuple[Focus, ...]


def draw_kind(rng: np.random.Generator, name: str) -> Kind:
    """Lesions with volumes in the range of four real cases; `name` is classic, bifocal, low_grade or no_et."""
    ed = rng.uniform(46, 105)
    ncr = float(np.exp(rng.uniform(np.log(2.0), np.log(25.0))))
    radius = _radius_mm(ncr)
    shell = 4 / 3 * np.pi * ((radius + RIM_MM) ** 3 - radius**3) / 1000
    et = rng.uniform(max(9.0, shell), 28)
    if name == "low_grade":
        ncr, et = rng.uniform(15, 35), rng.uniform(8, 11)
    if name == "no_et":
        ncr, et = rng.uniform(15, 38), 0.0
    foci = [Focus(ncr, et, ed)]
    if name == "bifocal":
        foci.append(Focus(rng.uniform(0.3, 0.8), rng.uniform(1.5, 2.8), rng.uniform(3, 6)))
    return Kind("LGG" if name in ("low_grade", "no_et") else "HGG", tuple(foci))


def choose_seeds(
    rng: np.random.Generator, kind: Kind, growth: Growth, grid: Grid, mask, tissue
) -> list[tuple[int, int, int]]:
    """Where each focus starts: a voxel of supratentorial white matter, deep enough for its core and far from others.

    `mask` (x, y, z) is the brain, `tissue` (3, x, y, z) its fractions of WM, GM and CSF.
    """
    depth = ndimage.distance_transform_edt(mask, sampling=grid.spacing)
    x, y, z = np.meshgrid(*grid.axes(), indexing="ij", sparse=True)
    above = (z > growth.lowest_mm) & (np.abs(x - 120) > growth.midline_mm) & (np.abs(x - 120) < 60)
    seeds = []
    for focus in kind.foci:
        white = above & (tissue[WM] > 0.5)
        good = white & (depth > 0.75 * focus.core_radius_mm + 2)
        good = good if good.any() else white  # a small head and a large core
        for seed in seeds:
            far = sum((p - q) ** 2 for p, q in zip((x, y, z), centre_mm(grid, seed), strict=True)) > 55**2
            good = good & far if (good & far).any() else good
        places = np.argwhere(good)
        seeds.append(tuple(int(i) for i in places[rng.integers(len(places))]))
    return seeds


def centre_mm(grid: Grid, voxel) -> tuple[float, ...]:
    """Where a voxel of the grid lies, in mm."""
    return tuple(float(x[i]) for x, i in zip(grid.axes(), voxel, strict=True))


def arrival(mask, tissue, speeds: dict[int, float], noise: np.ndarray, starts) -> np.ndarray:
    """Time at which a front from the starting voxels reaches each voxel; `noise` is added to the log of its speed."""
    speed = sum(speeds[k] * tissue[k] for k in speeds) * np.exp(noise)
    cost = 1 / np.where(mask, np.maximum(speed, OUTSIDE_SPEED), OUTSIDE_SPEED)
    return MCP_Geometric(cost).find_costs(starts)[0]


def grow(rng, kind: Kind, growth: Growth, seeds, coarse: Grid, coarse_brain, fine: Grid, fine_mask) -> np.ndarray:
    """Labels (uint8: 0, NCR 1, ED 2, ET 4) on the fine grid.

    The fronts are computed on the coarse grid, so that a subject's tumour is the same at every spacing. On the fine
    grid, the voxels that a front reaches first are taken until the volume is met. `seeds` has a voxel of the coarse
    grid for each focus, `coarse_brain` its mask and tissue fractions.
    """
    mask, tissue = coarse_brain
    labels = np.zeros(fine.shape, np.uint8)
    for focus, seed in zip(kind.foci, seeds, strict=True):
        core_noise = growth.noise * smooth_field(rng, coarse, growth.noise_mm)
        core_time = arrival(mask, tissue, growth.core_speed, core_noise, [seed])
        core = _lowest(core_time, mask, focus.ncr_ml + focus.et_ml, coarse.spacing)
        oedema_noise = growth.oedema_noise * smooth_field(rng, coarse, growth.noise_mm)
        starts = np.argwhere(core) if core.any() else [seed]  # a core that is smaller than a voxel
        oedema_time = arrival(mask, tissue, growth.oedema_speed, oedema_noise, starts)
        if growth.ragged:
            oedema_time = oedema_time * np.exp(growth.ragged * smooth_field(rng, coarse, growth.ragged_mm))
        necrosis_time = core_time * np.exp(growth.unevenness * smooth_field(rng, coarse, growth.noise_mm))
        times = [resample(t, coarse, fine) for t in (core_time, necrosis_time, oedema_time)]
        core = _lowest(times[0], fine_mask, focus.ncr_ml + focus.et_ml, fine.spacing)
        necrosis = _lowest(times[1], core, focus.ncr_ml, fine.spacing)
        oedema = _lowest(times[2], fine_mask & ~core, focus.ed_ml, fine.spacing)
        labels[oedema & (labels == 0)] = ED
        labels[core] = ET
        labels[necrosis] = NCR
    components, _ = ndimage.label(labels > 0, np.ones((3, 3, 3)))
    small = np.bincount(components.ravel()) * fine.spacing**3 < 1000 * growth.smallest_ml
    labels[small[components]] = 0
    return labels


def _lowest(time: np.ndarray, where: np.ndarray, volume_ml: float, spacing: float) -> np.ndarray:
    """The voxels of `where` that the front reaches first, up to the volume; ties are broken by position."""
    count = min(round(volume_ml * 1000 / spacing**3), int(where.sum()))
    chosen = np.zeros(time.shape, bool)
    index = np.flatnonzero(where)
    chosen.flat[index[np.argsort(time.flat[index], kind="stable")[:count]]] = True
    return chosen


def resample(values: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Values (x, y, z) of one grid, linearly interpolated at the voxels of another."""
    if source == target:
        return values
    ratio = target.spacing / source.spacing
    offset = [(t[0] - s[0]) / source.spacing for s, t in zip(source.axes(), target.axes(), strict=True)]
    return ndimage.affine_transform(values, [ratio] * 3, offset, output_shape=target.shape, order=1, mode="nearest")
