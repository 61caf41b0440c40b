"""Scoring of one full-size case, as work of a `Worker`: all metrics of ours, or surface-distance as it is installed."""

from collections.abc import Iterator
from pathlib import Path


def ours(reference: Path, prediction: Path) -> Iterator:
    """Every metric of the three regions, files read each time; yields the HD95 of each."""
    from crossmodal.evaluate.score import Job, score_case

    job = Job(reference.parent.name, "brats2020", reference, prediction)
    yield
    while True:
        yield [row["hd95_mm"] for row in score_case(job)]


def plain(reference: Path, prediction: Path) -> Iterator:
    """HD95 of the three regions by surface-distance as it is installed, on whole volumes, files read each time."""
    import nibabel
    import numpy as np
    import surface_distance

    from crossmodal.domain import regions_of

    yield
    while True:
        images = [nibabel.load(path) for path in (reference, prediction)]
        volumes = [np.asanyarray(image.dataobj) for image in images]
        found = []
        for labels in regions_of("brats2020").values():
            masks = [np.isin(volume, labels) for volume in volumes]
            distances = surface_distance.compute_surface_distances(*masks, images[0].header.get_zooms()[:3])
            found.append(float(surface_distance.compute_robust_hausdorff(distances, 95)))
        yield found
