"""From tissue to four sequences: signal equations, contrast agent, partial volume, coil, slices and noise."""

import numpy as np
from scipy import ndimage

from crossmodal.domain import MODALITIES
from crossmodal.phantom.grid import Grid, smooth_field
from crossmodal.phantom.site import Site, Tissue
from crossmodal.phantom.tumour import ED, ET, NCR

# Normal tissue: a mix of published 1.5 T and 3 T values. Tumour: fitted to real contrasts (docs/phantom.md).
TISSUES = {
    "wm": Tissue(850, 68, 0.70, texture=0.4),
    "gm": Tissue(1200, 93, 0.80, texture=0.4),
    "csf": Tissue(4160, 1200, 1.0, texture=0.0),
    "necrosis": Tissue(1850, 162, 0.955, 0.0165),
    "non_enhancing": Tissue(1840, 165, 0.95),
    "oedema": Tissue(1520, 126, 0.97),
    "enhancing": Tissue(1535, 114, 0.97, 0.0755),
}
NORMAL = ("wm", "gm", "csf")
TEXTURE_SIGMA_MM = 2.0
TEXTURE = {"t1": 0.10, "t2": 0.12, "gd": 0.35}
SPREAD_NORMAL = {"t1": 0.03, "t2": 0.03, "pd": 0.01, "gd": 0.0}
SPREAD_TUMOUR = {"t1": 0.05, "t2": 0.08, "pd": 0.01, "gd": 0.15}


def spin_echo(t1, t2, pd, tr: float, te: float):
    """S = PD (1 − e^(−TR/T1)) e^(−TE/T2); times in ms."""
    return pd * (1 - np.exp(-tr / t1)) * np.exp(-te / t2)


def inversion_recovery(t1, t2, pd, tr: float, ti: float, te: float):
    """FLAIR: S = PD |1 − 2e^(−TI/T1) + e^(−TR/T1)| e^(−TE/T2); times in ms."""
    return pd * np.abs(1 - 2 * np.exp(-ti / t1) + np.exp(-tr / t1)) * np.exp(-te / t2)


def mprage(t1, t2, pd, tr: float, ti: float, te: float):
    """S = PD |1 − 2e^(−TI/T1) / (1 + e^(−TR/T1))| e^(−TE/T2); times in ms."""
    return pd * np.abs(1 - 2 * np.exp(-ti / t1) / (1 + np.exp(-tr / t1))) * np.exp(-te / t2)


def signal(modality: str, site: Site, t1, t2, pd, gd):
    """Noise-free signal of one tissue; T1 and T2 in ms, `gd` (gadolinium) in mM: numbers, or arrays of voxels."""
    if modality == "t2":
        return spin_echo(t1, t2, pd, *site.t2_timing)
    if modality == "flair":
        return inversion_recovery(t1, t2, pd, *site.flair_timing)
    if modality == "t1ce":  # gadolinium shortens T1
        t1 = 1 / (1 / t1 + site.relaxivity * gd / 1000)
    tr, ti, te = site.t1_timing
    return mprage(t1, t2, pd, tr, ti, te) if ti else spin_echo(t1, t2, pd, tr, te)


def draw_tissues(rng: np.random.Generator, site: Site) -> dict[str, Tissue]:
    """A subject's tissues: each parameter varied by a few per cent, at the site's field strength."""
    drawn = {}
    for name, tissue in TISSUES.items():
        spread = SPREAD_NORMAL if name in NORMAL else SPREAD_TUMOUR
        t1, t2, pd, gd = (getattr(tissue, key) * np.exp(s * rng.standard_normal()) for key, s in spread.items())
        drawn[name] = Tissue(t1 * site.t1_factor, t2 * site.t2_factor, min(pd, 1.0), gd, tissue.texture)
    return drawn


def fractions(tissue: np.ndarray, labels: np.ndarray, grade: str, spacing: float) -> dict[str, np.ndarray]:
    """Share of each compartment in each voxel, with partial volumes at the borders of the tumour."""
    sigma = np.hypot(0.6, 0.2 * spacing) / spacing
    core = "non_enhancing" if grade == "LGG" else "necrosis"
    soft = {
        name: ndimage.gaussian_filter((labels == label).astype(np.float64), sigma, truncate=3)
        for name, label in ((core, NCR), ("oedema", ED), ("enhancing", ET))
    }
    normal = 1 - sum(soft.values())
    return {**{name: tissue[k] * normal for k, name in enumerate(NORMAL)}, **soft}


def acquire(
    rng: np.random.Generator, site: Site, grid: Grid, grade: str, mask, tissue, labels
) -> dict[str, np.ndarray]:
    """The four images as int16, at least 1 in the brain and 0 outside.

    From the brain's mask (x, y, z), its fractions of WM, GM and CSF (3, x, y, z), and labels of BraTS 2020 (x, y, z).
    """
    tissues = draw_tissues(rng, site)
    settings = {m: _draw_setting(rng, site) for m in MODALITIES}
    bias = {m: np.exp(site.bias * np.tanh(smooth_field(rng, grid, 45.0))) for m in MODALITIES}
    texture = {key: s * smooth_field(rng, grid, TEXTURE_SIGMA_MM) for key, s in TEXTURE.items()}
    parts = fractions(tissue, labels, grade, grid.spacing)
    maps = {name: _textured(tissues[name], texture) for name in parts}
    wm = tissues["wm"]
    images = {}
    for modality in MODALITIES:
        clean = sum(part * signal(modality, site, *maps[name]) for name, part in parts.items())
        white = signal(modality, site, wm.t1, wm.t2, wm.pd, wm.gd)
        axis, slice_mm, noise, level = settings[modality]
        clean = thick_slices(clean, mask, axis, slice_mm / grid.spacing)
        noisy = rician(rng, clean * bias[modality], noise * white)
        images[modality] = np.where(mask, np.clip(np.rint(noisy * level / white), 1, 32767), 0).astype(np.int16)
    return images


def _textured(tissue: Tissue, texture: dict[str, np.ndarray]) -> tuple:
    """T1, T2, PD and gadolinium of a tissue in every voxel."""
    t1, t2, gd = (
        getattr(tissue, key) * (np.exp(tissue.texture * texture[key]) if tissue.texture else 1.0)
        for key in ("t1", "t2", "gd")
    )
    return t1, t2, tissue.pd, gd


def _draw_setting(rng: np.random.Generator, site: Site) -> tuple[int, float, float, float]:
    """Slice axis, slice thickness (mm), noise (share of white matter), and white matter's grey level."""
    level = 200 * np.exp(rng.uniform(0, np.log(5)))
    return int(rng.integers(3)), rng.uniform(*site.slice_mm), rng.uniform(*site.noise), level


def thick_slices(image: np.ndarray, mask: np.ndarray, axis: int, width: float) -> np.ndarray:
    """Average along one axis over a slice of `width` voxels, within the brain only."""
    sigma = 0.29 * width
    weight = ndimage.gaussian_filter1d(mask.astype(np.float64), sigma, axis, truncate=3)
    return ndimage.gaussian_filter1d(image * mask, sigma, axis, truncate=3) / np.maximum(weight, 1e-3)


def rician(rng: np.random.Generator, image: np.ndarray, sigma: float) -> np.ndarray:
    """Magnitude of a complex image with Gaussian noise of SD `sigma` in both channels."""
    real = image + sigma * rng.standard_normal(image.shape)
    imaginary = sigma * rng.standard_normal(image.shape)
    return np.sqrt(real * real + imaginary * imaginary)
