"""Random grey levels by tissue, in place of physics (Billot et al. 2023; Zalevskyi et al. 2024, arXiv 2403.15103).

Only what any radiologist would say of a sequence is kept: fluid is dark in FLAIR and bright in T2, what enhances is
bright in T1ce, oedema is bright in T2 and FLAIR.
"""

import numpy as np

from crossmodal.phantom.randomised.settings import log_uniform

# Lowest and highest level of each compartment, relative to white matter.
LEVELS = {
    "t1": {
        "wm": (1.0, 1.0),
        "gm": (0.60, 1.0),
        "deep": (0.70, 1.05),
        "csf": (0.10, 0.55),
        "necrosis": (0.25, 0.90),
        "non_enhancing": (0.35, 0.92),
        "oedema": (0.50, 0.95),
        "enhancing": (0.45, 1.05),
        "vessel": (0.30, 1.60),
        "dura": (0.30, 1.20),
        "choroid": (0.40, 0.95),
        "lesion": (0.55, 0.95),
        "blood": (1.00, 1.90),
    },
    "t1ce": {
        "wm": (1.0, 1.0),
        "gm": (0.65, 1.1),
        "deep": (0.70, 1.1),
        "csf": (0.10, 0.60),
        "necrosis": (0.25, 1.00),
        "non_enhancing": (0.35, 0.95),
        "oedema": (0.50, 0.97),
        "enhancing": (1.25, 2.80),
        "vessel": (1.60, 5.00),
        "dura": (1.30, 4.50),
        "choroid": (1.10, 2.60),
        "lesion": (0.60, 0.97),
        "blood": (0.90, 1.90),
    },
    "t2": {
        "wm": (1.0, 1.0),
        "gm": (1.05, 1.7),
        "deep": (0.80, 1.4),
        "csf": (2.20, 6.50),
        "necrosis": (1.20, 4.00),
        "non_enhancing": (1.30, 3.50),
        "oedema": (1.35, 3.30),
        "enhancing": (1.05, 2.60),
        "vessel": (0.15, 1.00),
        "dura": (0.20, 0.90),
        "choroid": (1.50, 4.00),
        "lesion": (1.20, 2.60),
        "blood": (0.50, 2.50),
    },
    "flair": {
        "wm": (1.0, 1.0),
        "gm": (0.95, 1.3),
        "deep": (0.80, 1.2),
        "csf": (0.08, 0.55),
        "necrosis": (0.50, 3.00),
        "non_enhancing": (1.20, 3.00),
        "oedema": (1.40, 3.20),
        "enhancing": (1.20, 3.00),
        "vessel": (0.15, 1.20),
        "dura": (0.30, 1.60),
        "choroid": (0.60, 1.90),
        "lesion": (1.25, 2.60),
        "blood": (0.60, 2.50),
    },
}


# Contrast of a compartment: its level less that of normal brain, over the SD of the brain. Lowest and highest that a
# case may have; patients' are in docs/phantom.md. Without limits, sequences that show no tumour are drawn, and a
# network learns to guess its outline from its middle.
CONTRASTS = {
    "t1": {"oedema": (-0.9, 0.05)},
    "t1ce": {"oedema": (-1.0, 0.05), "enhancing": (1.0, 4.0)},
    "t2": {"oedema": (0.4, 2.5), "enhancing": (0.1, 2.5)},
    "flair": {"oedema": (1.5, 3.5), "enhancing": (0.8, 3.5)},
}
ABOVE_NECROSIS = 1.0  # of enhancing tumour in T1ce, in the same unit
NORMAL = ("wm", "gm", "deep")


def shows_tumour(modality: str, levels: dict[str, float], shares: dict[str, float]) -> bool:
    """Whether a sequence shows a tumour as those of patients do.

    Args:
        modality: of the sequence.
        levels: mean grey level of each compartment.
        shares: of the brain's volume, of the same compartments; they sum to 1.
    """
    names = [name for name in shares if shares[name] > 0]
    mean = sum(shares[name] * levels[name] for name in names)
    spread = sum(shares[name] * (levels[name] - mean) ** 2 for name in names) ** 0.5
    normal = sum(shares[name] * levels[name] for name in NORMAL) / sum(shares[name] for name in NORMAL)
    contrast = {name: (levels[name] - normal) / spread for name in names}
    limits = {name: between for name, between in CONTRASTS[modality].items() if name in contrast}
    if not all(low <= contrast[name] <= high for name, (low, high) in limits.items()):
        return False
    both = modality == "t1ce" and {"enhancing", "necrosis"} <= contrast.keys()
    return not both or contrast["enhancing"] - contrast["necrosis"] >= ABOVE_NECROSIS


def draw_levels(rng: np.random.Generator, modality: str, width: float) -> dict[str, float]:
    """A grey level for each compartment of one sequence, white matter's being 1."""
    return {name: log_uniform(rng, width, *limits) for name, limits in LEVELS[modality].items()}
