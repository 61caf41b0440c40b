"""Scoring of one full-size case that is measured: all metrics of ours, or surface-distance called plainly.

python bench/scoring.py '{"kind": "ours", ...}'      once for each line on stdin
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from measure import answers_only, serve

REGIONS = {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}


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

    def work() -> list[float]:
        images = [nibabel.load(path) for path in (reference, prediction)]
        volumes = [np.asanyarray(image.dataobj) for image in images]
        spacing = images[0].header.get_zooms()[:3]
        found = []
        for labels in REGIONS.values():
            masks = [np.isin(volume, labels) for volume in volumes]
            distances = surface_distance.compute_surface_distances(*masks, spacing)
            found.append(float(surface_distance.compute_robust_hausdorff(distances, 95)))
        return found

    return work


def main() -> None:
    """Read the party from the command line, and score when told to."""
    party = json.loads(sys.argv[1])
    answers_only()
    make = ours if party["kind"] == "ours" else plain
    serve(make(Path(party["reference"]), Path(party["prediction"])))


if __name__ == "__main__":
    main()
