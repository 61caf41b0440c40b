"""Tissue by physics: T1, T2, proton density and gadolinium of each compartment, drawn for each case."""

import numpy as np

from crossmodal.phantom.randomised.settings import log_uniform, uniform
from crossmodal.phantom.site import Tissue

# T1 and T2 in ms, proton density, gadolinium in mM: lowest and highest. T1 and T2 of solid tissue are then multiplied
# by one factor each, the field strength. Usual values of the literature between 1.5 T and 3 T, and well beyond what
# the tumours of site A were fitted to.
RANGES = {
    "wm": ((700, 950), (62, 78), (0.66, 0.74), (0, 0)),
    "gm": ((1050, 1400), (74, 90), (0.75, 0.82), (0, 0.004)),
    "deep": ((900, 1300), (60, 86), (0.74, 0.82), (0, 0.004)),
    "csf": ((3600, 4400), (700, 2200), (0.97, 1.0), (0, 0)),
    "necrosis": ((1200, 3000), (95, 330), (0.85, 1.0), (0, 0.04)),
    "non_enhancing": ((1300, 2300), (110, 250), (0.85, 1.0), (0, 0.01)),
    "oedema": ((1250, 1900), (105, 180), (0.88, 1.0), (0, 0.004)),
    "enhancing": ((1150, 1800), (76, 150), (0.86, 1.0), (0.09, 0.40)),
    "vessel": ((1300, 1900), (25, 90), (0.6, 1.0), (0.6, 3.0)),
    "dura": ((700, 1300), (30, 80), (0.55, 0.95), (0.15, 1.5)),
    "choroid": ((1100, 2000), (90, 250), (0.85, 1.0), (0.08, 0.5)),
    "lesion": ((1050, 1600), (95, 170), (0.78, 0.95), (0, 0.002)),
    "blood": ((300, 750), (45, 110), (0.8, 0.95), (0, 0.04)),
}
FIELD_STRENGTH = ((0.8, 1.2), (0.85, 1.15))  # factors on T1 and T2
NO_TEXTURE = ("csf",)


def draw_tissues(rng: np.random.Generator, width: float) -> dict[str, Tissue]:
    """T1, T2, proton density and gadolinium of each compartment of one case."""
    t1_factor, t2_factor = (log_uniform(rng, width, *limits) for limits in FIELD_STRENGTH)
    tissues = {}
    for name, (t1, t2, pd, gd) in RANGES.items():
        solid = name != "csf"
        tissues[name] = Tissue(
            log_uniform(rng, width, *t1) * (t1_factor if solid else 1),
            log_uniform(rng, width, *t2) * (t2_factor if solid else 1),
            min(uniform(rng, width, *pd), 1.0),
            log_uniform(rng, width, *gd) if gd[0] else max(uniform(rng, width, *gd), 0.0),
            texture=0.0 if name in NO_TEXTURE else 1.0,
        )
    return tissues


def textured(tissue: Tissue, texture: dict[str, np.ndarray]) -> tuple:
    """T1, T2, proton density and gadolinium in every voxel; `texture` has fields for t1, t2 and gd."""
    varied = [getattr(tissue, key) * np.exp(tissue.texture * texture[key]) for key in ("t1", "t2", "gd")]
    return varied[0], varied[1], tissue.pd, varied[2]
