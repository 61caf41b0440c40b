"""One subject of site R: everything about it is drawn, from (seed, number) and the settings alone."""

import numpy as np
from scipy import ndimage

from crossmodal.domain import MODALITIES
from crossmodal.phantom.anatomy import Template
from crossmodal.phantom.grid import Grid, smooth_field
from crossmodal.phantom.head import Head, whole, with_tumour
from crossmodal.phantom.randomised import faults
from crossmodal.phantom.randomised.anatomy import draw_warp, normal_parts
from crossmodal.phantom.randomised.levels import draw_levels, shows_tumour
from crossmodal.phantom.randomised.lookalikes import add_lookalikes
from crossmodal.phantom.randomised.scanner import acquire, draw_scanner
from crossmodal.phantom.randomised.settings import Randomisation, log_uniform
from crossmodal.phantom.randomised.tissue import draw_tissues, textured
from crossmodal.phantom.randomised.tumour import Tumour, draw_tumour
from crossmodal.phantom.signal import signal
from crossmodal.phantom.site import Site, Tissue
from crossmodal.phantom.tumour import ED, ET, GROWTH_SPACING_MM, NCR

MIXED = 0.3  # share of cases in which each sequence by itself is of physics or of random grey levels
TEXTURE = {"t1": (0.02, 0.10), "t2": (0.02, 0.12), "gd": (0.15, 0.6)}  # SD of the logarithm
DRAWS = 200
REGIONAL = (0.01, 0.08)  # SD of the logarithm of slow changes of a tissue's signal


def make_random_subject(
    templates: dict[float, Template], spacing: float, seed: int, number: int, how: Randomisation
) -> dict[str, np.ndarray]:
    """Images (int16) and labels ("seg", uint8) of site R's case `number` (from 1), over the whole field of view.

    Args:
        templates: by spacing; those of `spacing` and of the growth grid (3 mm) are needed.
        spacing: edge of a voxel in mm.
        seed: of the cohort.
        number: of the case.
        how: how wide it is drawn.
    """
    anatomy, growing, scan, wrong = np.random.default_rng([seed, ord("R"), 1, number]).spawn(4)
    warp = draw_warp(anatomy, templates[GROWTH_SPACING_MM], how.anatomy)
    tumour = draw_tumour(growing, how.tumour)
    head = with_tumour(growing, templates, spacing, warp, tumour.kind, tumour.growth)
    normal = normal_parts(anatomy, how.anatomy, head.grid, head.mask, head.tissue)
    parts = compartments(growing, tumour, head, normal)
    if how.lookalikes:
        parts = add_lookalikes(anatomy, how.anatomy, head.grid, head.mask, parts)
    clean = noise_free(scan, how, head.grid, parts)
    scanner = draw_scanner(scan, how.scanner)
    images = {m: acquire(scan, scanner[m], head.grid, head.mask, clean[m]) for m in MODALITIES}
    labels, mask = head.labels, head.mask
    if how.faults:
        images, mask = with_faults(wrong, head, images)
        labels = np.where(mask & head.mask, labels, 0).astype(np.uint8)
    written = {m: _as_int16(image, mask) for m, image in images.items()}
    if how.faults:
        for m, slices in faults.draw_empty(wrong, head.mask, MODALITIES).items():
            written[m][:, :, slices] = 0
    return {name: whole(values, head.grid) for name, values in {**written, "seg": labels}.items()}


def compartments(
    rng: np.random.Generator, tumour: Tumour, head: Head, normal_tissue: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The share of each compartment in each voxel (x, y, z): normal tissue, then the tumour's three."""
    spacing = head.grid.spacing
    sharp = np.hypot(0.5, 0.2 * spacing)
    borders = ((tumour.core, NCR, sharp), ("enhancing", ET, sharp), ("oedema", ED, max(sharp, tumour.oedema_mm)))
    soft = {
        name: ndimage.gaussian_filter((head.labels == label).astype(np.float64), width / spacing, truncate=3)
        for name, label, width in borders
    }
    patchy = np.clip(tumour.oedema_share + tumour.oedema_patches * smooth_field(rng, head.grid, 6.0), 0.3, 1)
    soft["oedema"] = soft["oedema"] * patchy
    normal = 1 - sum(soft.values())
    return {name: part * normal for name, part in normal_tissue.items()} | soft


def noise_free(
    rng: np.random.Generator, how: Randomisation, grid: Grid, parts: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The four sequences before the scanner (x, y, z), white matter being 1; each shows the tumour."""
    whole_brain = sum(part.sum() for part in parts.values())
    shares = {name: float(part.sum() / whole_brain) for name, part in parts.items()}
    fineness = log_uniform(rng, how.tissue, 1.5, 4.0)
    texture = {
        key: log_uniform(rng, how.tissue, *limits) * smooth_field(rng, grid, fineness)
        for key, limits in TEXTURE.items()
    }
    of_case, mixed = rng.uniform() < how.random_intensities, rng.uniform() < MIXED
    random = {m: rng.uniform() < how.random_intensities if mixed else of_case for m in MODALITIES}
    tissues, sites = _draw_physics(rng, how, [m for m in MODALITIES if not random[m]], shares)
    maps = {name: textured(tissues[name], texture) for name in parts}
    images = {}
    for m in MODALITIES:
        regional = np.exp(log_uniform(rng, how.tissue, *REGIONAL) * smooth_field(rng, grid, 12.0))
        if random[m]:
            levels = _draw_visible_levels(rng, how, m, shares)
            varied = _random_texture(rng, texture)
            image = sum(part * levels[name] * varied.get(name, varied["gm"]) for name, part in parts.items())
        else:
            image = sum(part * signal(m, sites[m], *maps[name]) for name, part in parts.items())
            image = image / _level(m, sites[m], tissues["wm"])
        images[m] = image * regional
    return images


def _draw_physics(
    rng: np.random.Generator, how: Randomisation, modalities: list[str], shares: dict[str, float]
) -> tuple[dict[str, Tissue], dict[str, Site]]:
    """Tissues and timings with which each of these sequences shows the tumour; the last of many draws if none does."""
    for _ in range(DRAWS):
        tissues = draw_tissues(rng, how.tissue)
        sites = {m: sequence.site for m, sequence in draw_scanner(rng, how.scanner).items()}
        if all(
            shows_tumour(m, {name: _level(m, sites[m], tissues[name]) for name in shares}, shares) for m in modalities
        ):
            break
    return tissues, sites


def _draw_visible_levels(
    rng: np.random.Generator, how: Randomisation, modality: str, shares: dict[str, float]
) -> dict[str, float]:
    for _ in range(DRAWS):
        levels = draw_levels(rng, modality, how.tissue)
        if shows_tumour(modality, levels, shares):
            break
    return levels


def _level(modality: str, site: Site, tissue: Tissue) -> float:
    return float(signal(modality, site, tissue.t1, tissue.t2, tissue.pd, tissue.gd))


def _random_texture(rng: np.random.Generator, texture: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Factors on the random grey levels: of csf none, of enhancing tumour with the texture of gadolinium."""
    fine = sum(w * texture[key] for w, key in zip(rng.uniform(-1, 1, 2), ("t1", "t2"), strict=True))
    return {"csf": np.ones(()), "gm": np.exp(fine), "enhancing": np.exp(fine + 0.7 * texture["gd"])}


def with_faults(
    rng: np.random.Generator, head: Head, images: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The images with faults (empty slices aside), and where they are not 0."""
    kept, rest = faults.skull_strip(rng, head.grid, head.mask)
    shifts = faults.draw_shifts(rng, images)
    for m in images:
        image = faults.shift(images[m], shifts[m], head.grid.spacing)
        images[m] = faults.fill_rest(rng, head.grid, faults.bend(rng, image, head.mask), head.mask, rest)
    return images, kept | rest


def _as_int16(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """At least 1 where there is something, 0 elsewhere."""
    return np.where(mask, np.clip(np.rint(image), 1, 32767), 0).astype(np.int16)
