"""Scoring of one full-size case, measured: all metrics of ours, or surface-distance as it is installed.

python bench/scoring.py '{"kind": "ours", ...}'      scores once for each line on stdin
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from measure import answers_only, serve


def ours(reference: Path, prediction: Path) -> Callable[[], list[float]]:
    """Every metric of the three regions, files read each time; returns the HD95 of each."""
    from crossmodal.evaluate.score import Job, score_case

    job = Job(reference.parent.name, "brats2020", reference, prediction)
    return lambda: [row["hd95_mm"] for row in score_case(job)]


def plain(reference: Path, prediction: Path) -> Callable[[], list[float]]:
    """HD95 of the three regions by surface-distance as it is installed, on whole volumes, files read each time."""
    import nibabel
    import numpy as np
    import surface_distance

    from crossmodal.domain import regions_of

    def work() -> list[float]:
        images = [nibabel.load(path) for path in (reference, prediction)]
        volumes = [np.asanyarray(image.dataobj) for image in images]
        found = []
        for labels in regions_of("brats2020").values():
            masks = [np.isin(volume, labels) for volume in volumes]
            distances = surface_distance.compute_surface_distances(*masks, images[0].header.get_zooms()[:3])
            found.append(float(surface_distance.compute_robust_hausdorff(distances, 95)))
        return found

    return work


if __name__ == "__main__":
    process = json.loads(sys.argv[1])
    answers_only()
    serve({"ours": ours, "plain": plain}[process["kind"]](Path(process["reference"]), Path(process["prediction"])))
