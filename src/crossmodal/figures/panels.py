"""Slices for the qualitative figure: best, median and worst case, with reference and predictions."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from crossmodal.domain import regions_of
from crossmodal.cohort.volumes import image_of
from crossmodal.errors import UserError
from crossmodal.wording import REGIONS
from crossmodal.domain import ALL, MODALITIES

MARGIN_MM = 12.0  # around the brain


def collect_panels(config: dict, cases: pd.DataFrame, predictions: Path, per_case: Path, out: Path) -> list[str]:
    """panels.npz and panels.csv for the training cohort's held-out cases.

    The rule: cases are ranked by the student's mean Dice over WT, TC and ET (seeds and folds averaged; ties by
    name); best, median and worst are shown. The slice is the axial one in which WT, TC and ET of
    the reference have most voxels together.

    panels.npz holds, for each rank, <rank>_<modality> (uint8, 0-255 between the 0.5th and 99.5th percentile of
    the brain), <rank>_reference and <rank>_<role> (uint8: 0 none, 1 WT only, 2 TC without ET, 3 ET), where role
    is student, distilled or teacher; rows run from anterior to posterior, columns from the patient's right to left.
    """
    from crossmodal.figures.collect import write_csv, write_npz

    try:
        chosen = choose(config, pd.read_csv(per_case, dtype={"case": str}))
    except (OSError, ValueError, KeyError, LookupError) as error:
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
    write_csv(out / "panels.csv", pd.DataFrame(rows) if rows else pd.DataFrame(columns=["rank"]))
    return notes


def choose(config: dict, scores: pd.DataFrame) -> pd.DataFrame:
    """One row for each rank and role: cohort, case, method, modalities, seed, fold, dice_WT, dice_TC, dice_ET.

    Raises:
        LookupError: when nothing is scored.
    """
    cohort = next((c for c in config.get("cohorts") or [] if c in set(scores.cohort)), None)
    scores = scores[scores.cohort == (cohort or scores.cohort.iloc[0])]
    if "split" in scores and (scores.split == "test").any():
        scores = scores[scores.split != "train"]
    listed = [m for m in config.get("methods") or [] if m in set(scores.method)]
    distilled = [m for m in listed if m not in ("student", "teacher")]
    paper = config.get("paper")
    roles = {
        "student": "student" if "student" in listed else None,
        "distilled": paper if paper in distilled else next(iter(distilled), None),
        "teacher": "teacher" if "teacher" in listed else None,
    }
    roles = {role: method for role, method in roles.items() if method}
    if not roles:
        raise LookupError("no method of the config has scores")
    ranked_by = next(iter(roles.values()))
    found = list(scores[scores.method == ranked_by].modalities.unique())
    wanted = ["t1ce+flair", *(config.get("subsets") or []), *found]
    subset = next(s for s in wanted if s in found)
    mine = scores[(scores.method == ranked_by) & (scores.modalities == subset)]
    order = mine.groupby("case").dice.mean().sort_index().sort_values(ascending=False, kind="stable")
    positions = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    if len(order) < 3:
        positions = {"best": 0, "worst": 1} if len(order) == 2 else {"only": 0}
    rows = []
    for rank, position in positions.items():
        case = order.index[position]
        for role, method in roles.items():
            run = scores[(scores.method == method) & (scores.case == case)]
            own = run[run.modalities == subset]
            run = (own if not own.empty else run[run.modalities == ALL]).sort_values(["seed", "fold"])
            if run.empty:
                continue
            first = run[(run.seed == run.seed.iloc[0]) & (run.fold == run.fold.iloc[0])].iloc[::-1]
            dice = first.set_index("region").dice
            key = first.iloc[0][["cohort", "case", "method", "modalities", "seed", "fold"]].to_dict()
            rows.append(
                {"rank": rank, "role": role, **key, "subset": subset, "ranked_by": ranked_by}
                | {f"dice_{region}": dice.get(region) for region in REGIONS}
            )
    return pd.DataFrame(rows)


def cut(rank: str, networks: pd.DataFrame, cases: pd.DataFrame, predictions: Path):
    """Arrays and rows of one rank: images and segmentations of the case in one slice."""
    first = networks.iloc[0]
    case = cases[(cases.cohort == first.cohort) & (cases.case == first.case)].iloc[0]
    regions = regions_of(case.release)
    reference, spacing = load_canonical(case.seg)
    nested = nest(reference, regions)
    images = {m: load_canonical(case[m])[0] for m in MODALITIES if m in first.subset.split("+")}
    brain = np.any([image != 0 for image in images.values()], axis=0)
    index = int(np.argmax((nested if nested.any() else brain).sum(axis=(0, 1), dtype=int)))
    window = crop(brain, spacing)
    arrays = {f"{rank}_{m}": slice_of(to_bytes(image, brain), index, window) for m, image in images.items()}
    arrays[f"{rank}_reference"] = slice_of(nested, index, window)
    rows = []
    for network in networks.to_dict("records"):
        place = f"{network['cohort']}/{network['method']}/{network['modalities']}"
        folder = predictions / place / f"seed{network['seed']}" / f"fold_{network['fold']}"
        path = next((p for e in (".nii.gz", ".nii") if (p := folder / f"{network['case']}{e}").is_file()), None)
        if path is None:
            raise LookupError(f"{folder}/{network['case']}.nii.gz is not there")
        arrays[f"{rank}_{network['role']}"] = slice_of(nest(load_canonical(str(path))[0], regions), index, window)
        place = {"slice": index, "row_mm": spacing[1], "column_mm": spacing[0]}
        rows.append({k: v for k, v in network.items() if k != "subset"} | place)
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
