"""Whether an image still has its skull: bone is dark in every sequence, between a bright scalp and the brain."""

import numpy as np
from scipy import ndimage

# Below the rim of what is not 0: the bone of a head that is not skull-stripped, the cortex of one that is.
DEPTHS_MM = (4.0, 7.0, 10.0, 13.0)
THICKNESS_MM = 3.1
INSIDE_MM = 22.0
DARKEST_CORTEX = 0.3  # of the inside: phantoms and patients have 0.36 or more, simulated heads 0.31 or less


def darkest_layer(image: np.ndarray, spacing: list[float]) -> float:
    """The lowest median of the layers at `DEPTHS_MM`, as a share of that of the inside; 1 where there is no inside.

    Args:
        image: three axes, at about 3 mm, 0 around the head.
        spacing: mm along each axis.
    """
    head = ndimage.binary_fill_holes(image != 0)
    depth = ndimage.distance_transform_edt(np.pad(head, 1), sampling=spacing)[1:-1, 1:-1, 1:-1][head]
    if not (depth > INSIDE_MM).any():
        return 1.0
    values = image[head] - np.percentile(image[head], 0.5)  # a z-score's zero is not dark
    inside = np.median(values[depth > INSIDE_MM])
    layers = [values[(depth > start) & (depth <= start + THICKNESS_MM)] for start in DEPTHS_MM]
    return float(min(np.median(layer) for layer in layers if layer.size) / max(inside, 1e-6))


def has_skull(image: np.ndarray, spacing: list[float]) -> bool:
    """Whether there is a dark layer below the rim; arguments are those of `darkest_layer`."""
    return darkest_layer(image, spacing) < DARKEST_CORTEX
