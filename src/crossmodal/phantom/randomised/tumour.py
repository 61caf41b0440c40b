"""Tumours of any size and form: rings, solid ones, with a part that enhances or none, in one place or in several."""

from dataclasses import dataclass

import numpy as np

from crossmodal.phantom.randomised.settings import log_uniform, uniform
from crossmodal.phantom.tumour import Focus, Growth, Kind

# Of each form, its share of cases. ring: necrosis within an enhancing rim; solid: hardly any necrosis; partly: a
# core that enhances in part; no_et: a core that does not enhance.
FORMS = {"ring": 0.45, "solid": 0.2, "partly": 0.2, "no_et": 0.15}
VOLUME_ML = (0.5, 250.0)
SEVERAL = 0.25  # share of cases with two to four lesions


@dataclass(frozen=True)
class Tumour:
    """Lesions and growth; what its core holds beside enhancing tumour (necrosis or non_enhancing).

    `oedema_mm` is the width of the oedema's border; `oedema_share` is how much of a voxel of oedema it is on average,
    and `oedema_patches` the SD of that.
    """

    form: str
    kind: Kind
    growth: Growth
    core: str
    oedema_mm: float
    oedema_share: float
    oedema_patches: float


def draw_tumour(rng: np.random.Generator, width: float) -> Tumour:
    """A tumour of 0.5 to 250 ml, of a form drawn by its share."""
    form = str(rng.choice(list(FORMS), p=list(FORMS.values())))
    volume = _volume(rng, width)
    shares = [1.0]
    if rng.uniform() < SEVERAL:
        others = [log_uniform(rng, width, 0.02, 0.3) for _ in range(int(rng.integers(1, 4)))]
        shares = [max(1 - sum(others), 0.4), *others]
    foci = tuple(_focus(rng, width, form, volume * share / sum(shares)) for share in shares)
    growth = Growth(
        unevenness=log_uniform(rng, width, 0.1, 0.8) if form in ("ring", "solid") else uniform(rng, width, 0.4, 1.0),
        core_grey=uniform(rng, width, 0.5, 1.0),
        core_fluid=log_uniform(rng, width, 0.05, 0.4),
        oedema_grey=log_uniform(rng, width, 0.04, 0.3),
        oedema_fluid=log_uniform(rng, width, 0.01, 0.06),
        noise=log_uniform(rng, width, 0.15, 0.5),
        oedema_noise=log_uniform(rng, width, 0.25, 0.9),
        noise_mm=log_uniform(rng, width, 5.0, 12.0),
        midline_mm=4.0,
        lowest_mm=40.0,
        smallest_ml=0.1,
        mass_effect=float(np.clip(uniform(rng, width, 0.0, 0.8), 0, 0.9)),
        ragged=log_uniform(rng, width, 0.1, 0.7),
        ragged_mm=log_uniform(rng, width, 5.0, 12.0),
    )
    core = "necrosis" if form in ("ring", "solid") else "non_enhancing"
    kind = Kind("HGG" if core == "necrosis" else "LGG", foci)
    border, share = log_uniform(rng, width, 0.4, 1.4), float(np.clip(uniform(rng, width, 0.85, 1.0), 0, 1))
    return Tumour(form, kind, growth, core, border, share, log_uniform(rng, width, 0.03, 0.15))


def _volume(rng: np.random.Generator, width: float) -> float:
    """Whole tumour in ml: on a logarithmic scale, the largest of three draws, since most patients' are large."""
    low, high = np.log(VOLUME_ML)
    place = rng.uniform() ** (1 / 3)
    middle = 0.5 ** (1 / 3)
    return float(np.exp(low + (high - low) * np.clip(middle + width * (place - middle), 0, 1)))


def _focus(rng: np.random.Generator, width: float, form: str, ml: float) -> Focus:
    core = ml * min(log_uniform(rng, width, 0.08, 0.85), 0.95)
    if form == "ring":
        rim = log_uniform(rng, width, 1.5, 6.0)
        radius = (3000 * core / (4 * np.pi)) ** (1 / 3)
        necrosis = core * max(1 - rim / radius, 0.0) ** 3
    else:
        shares = {"solid": (0.0, 0.08), "partly": (0.3, 0.95), "no_et": (1.0, 1.0)}[form]
        necrosis = core * float(np.clip(uniform(rng, width, *shares), 0, 1))
    return Focus(necrosis, core - necrosis, ml - core)
