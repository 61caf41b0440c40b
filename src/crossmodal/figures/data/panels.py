"""Slices for the qualitative figure: best, median and worst case, with reference and predictions."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from crossmodal.cohort.background import zero_background
from crossmodal.cohort.volumes import image_of
from crossmodal.domain import MODALITIES, REGIONS, regions_of
from crossmodal.errors import UserError
from crossmodal.evaluate.per_case import held_out, read_per_case
from crossmodal.evaluate.results import focus_method, focus_subset
from crossmodal.experiment.config import Resolved
from crossmodal.experiment.layout import PREDICTIONS, Prediction
from crossmodal.experiment.runs import STUDENT, Roles
from crossmodal.figures.data import write_csv, write_npz

MARGIN_MM = 12.0  # around the brain
RUN = ["cohort", "method", "modalities", "seed", "fold"]


def collect_panels(config: Resolved, cases: pd.DataFrame, predictions: Path, per_case: Path, out: Path) -> list[str]:
    """Write panels.npz and panels.csv for the training cohort's held-out cases.

    The rule: cases are ranked by the student's mean Dice over WT, TC and ET (seeds and folds averaged; ties by
    name); best, median and worst are shown. The slice is the axial one in which WT, TC and ET of the reference have
    most voxels together.

    panels.npz holds, for each rank, <rank>_<modality> (uint8, 0-255 between the 0.5th and 99.5th percentile of
    the brain), <rank>_reference and <rank>_<role> (uint8: 0 none, 1 WT only, 2 TC without ET, 3 ET), where role
    is student, distilled or the name of an upper bound, such as teacher. Rows run from anterior to posterior, columns
    from the patient's right to left.

    Args are those of `collect_figure_data`. Returns what could not be collected, and why.
    """
    try:
        chosen = choose(config, held_out(read_per_case(per_case))[0])
    except (UserError, LookupError) as error:
        write_csv(out / "panels.csv", pd.DataFrame(columns=["rank"]))
        (out / "panels.npz").unlink(missing_ok=True)
        return [f"no panels: {error}"]
    arrays, rows, notes = {}, [], []
    for rank, networks in chosen.groupby("rank", sort=False):
        try:
            drawn, described = cut(rank, networks, cases, predictions)
        except (UserError, OSError, ValueError, LookupError, EOFError) as error:
            notes.append(f"no {rank} case: {error}")
            continue
        arrays |= drawn
        rows += described
    write_npz(out / "panels.npz", arrays)
    write_csv(out / "panels.csv", pd.DataFrame(rows, columns=None if rows else ["rank"]))
    return notes


def choose(config: Resolved, scores: pd.DataFrame) -> pd.DataFrame:
    """A row of panels.csv, without its slice, for each rank and role.

    Args:
        config: of the experiment.
        scores: rows of per_case.csv that are held out.

    Raises:
        LookupError: no method of the config is scored.
    """
    cohorts = list(scores.cohort.unique())
    cohort = next((name for name in config.cohorts if name in cohorts), cohorts[0])
    scores = scores[scores.cohort == cohort]
    roles = Roles([method for method in config.methods if method in set(scores.method)], config.recipes)
    shown = {"student": STUDENT if STUDENT in roles.methods else None}
    shown |= {"distilled": focus_method(config.paper, roles.compared)} | {name: name for name in roles.upper_bounds}
    shown = {role: method for role, method in shown.items() if method}
    if not shown:
        raise LookupError("no method of the config has scores")
    ranked_by = next(iter(shown.values()))
    mine = scores[scores.method == ranked_by]
    subset = focus_subset(config.subsets, list(mine.modalities.unique()))
    mine = mine[mine.modalities == subset]
    order = mine.groupby("case").dice.mean().sort_values(ascending=False, kind="stable")
    positions = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    if len(order) < 3:
        positions = {"best": 0, "worst": 1} if len(order) == 2 else {"only": 0}
    rows = []
    for rank, position in positions.items():
        case = order.index[position]
        for role, method in shown.items():
            given = roles.row_subset(method, subset)
            own = (scores.case == case) & (scores.method == method) & (scores.modalities == given)
            runs = scores[own].astype({"seed": int, "fold": int})
            if runs.empty:
                continue
            seed, fold = min(zip(runs.seed, runs.fold, strict=True))
            first = runs[(runs.seed == seed) & (runs.fold == fold)].set_index("region")
            row = {"rank": rank, "role": role, "cohort": cohort, "case": case, "method": method, "modalities": given}
            row |= {"seed": seed, "fold": fold, "subset": subset, "ranked_by": ranked_by}
            rows.append(row | {f"dice_{region}": first.dice.get(region) for region in REGIONS})
    return pd.DataFrame(rows)


def cut(
    rank: str, networks: pd.DataFrame, cases: pd.DataFrame, predictions: Path
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Images and segmentations of one case in one slice, and the rows of panels.csv (from `choose`) for them.

    Raises:
        UserError, OSError, ValueError, LookupError, EOFError: an image or a prediction is missing or unreadable.
    """
    first = networks.iloc[0]
    case = cases[(cases.cohort == first.cohort) & (cases.case == first.case)].iloc[0]
    regions = regions_of(case.release)
    reference, spacing = load_canonical(case.seg)
    nested = nest(reference, regions)
    shown = [name for name in MODALITIES if name in first.subset.split("+")]
    images = {name: zero_background(load_canonical(case[name])[0]) for name in shown}
    brain = np.any([image != 0 for image in images.values()], axis=0)
    index = int(np.argmax((nested if nested.any() else brain).sum(axis=(0, 1), dtype=int)))
    window = crop(brain, spacing)
    arrays = {f"{rank}_{name}": slice_of(to_bytes(image, brain), index, window) for name, image in images.items()}
    arrays[f"{rank}_reference"] = slice_of(nested, index, window)
    rows = []
    for network in networks.to_dict("records"):
        run = Prediction(**{name: network[name] for name in RUN})
        folder = predictions / run.path(PREDICTIONS).relative_to("predictions")
        found = [path for end in (".nii.gz", ".nii") if (path := folder / f"{network['case']}{end}").is_file()]
        if not found:
            raise LookupError(f"{folder}/{network['case']}.nii.gz is not there")
        prediction, _ = load_canonical(str(found[0]))
        arrays[f"{rank}_{network['role']}"] = slice_of(nest(prediction, regions), index, window)
        del network["subset"]
        rows.append(network | {"slice": index, "row_mm": spacing[1], "column_mm": spacing[0]})
    return arrays, rows


def load_canonical(spec: str) -> tuple[np.ndarray, tuple[float, ...]]:
    """Voxels of a column of cases.csv in right-anterior-superior order, and the spacing in mm."""
    image = nib.as_closest_canonical(image_of(spec))
    return np.asarray(image.dataobj), tuple(float(z) for z in image.header.get_zooms()[:3])


def nest(segmentation: np.ndarray, regions: dict[str, tuple[int, ...]]) -> np.ndarray:
    """Labels of a release → 0 none, 1 WT only, 2 TC without ET, 3 ET; regions lie inside one another."""
    values = np.rint(segmentation)
    return sum(np.isin(values, regions[region]).astype(np.uint8) for region in REGIONS)


def crop(brain: np.ndarray, spacing: tuple[float, ...]) -> tuple[slice, slice]:
    """The brain's box in the axial plane with a margin, in voxels."""
    box = []
    for axis, other in ((0, (1, 2)), (1, (0, 2))):
        inside = np.flatnonzero(brain.any(axis=other))
        low, high = (inside[0], inside[-1] + 1) if inside.size else (0, brain.shape[axis])
        margin = round(MARGIN_MM / spacing[axis] / 2)
        box.append(slice(max(0, low - margin), min(brain.shape[axis], high + margin)))
    return tuple(box)


def to_bytes(image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Grey values 0-255 between the 0.5th and 99.5th percentile of the brain."""
    low, high = np.percentile(image[brain], [0.5, 99.5]) if brain.any() else (0, 1)
    scaled = (np.asarray(image, dtype=np.float64) - low) / max(high - low, 1e-8)
    return np.where(brain, np.clip(scaled, 0, 1) * 255, 0).round().astype(np.uint8)


def slice_of(volume: np.ndarray, index: int, window: tuple[slice, slice]) -> np.ndarray:
    """Axial slice as radiologists look at it: anterior at the top, the patient's right at the left."""
    return np.ascontiguousarray(volume[window[0], window[1], index].T[::-1, ::-1])
