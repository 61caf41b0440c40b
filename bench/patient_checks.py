"""Fit and measure the checks of a patient's images: sequences given under a wrong name, and skulls left.

    python bench/patient_checks.py FOLDER --real FOLDER --fit --write docs/use.md

The phantoms are made in FOLDER where they are not there yet (420 in all, about eight minutes on two cores). Those of
TRAIN are fitted to, those of TEST are measured; patients are measured alone. Heads with a skull are simulated: fluid,
bone and scalp, each of a random thickness and intensity, around phantoms and patients (`with_skull`).
"""

from itertools import combinations, permutations
from pathlib import Path

import nibabel as nib
import numpy as np
import typer
from measure import markdown_table
from scipy import ndimage
from sklearn.linear_model import LogisticRegression

from crossmodal.domain import MODALITIES, MODALITY_LABELS
from crossmodal.files import replace_between, write_json
from crossmodal.phantom import write_cohort
from crossmodal.predict import sequences
from crossmodal.predict.sequences import coarsened, contrasts, judge, log_likelihoods, pair_contrasts
from crossmodal.predict.skull import has_skull
from crossmodal.progress import track

# Site, seed, number of cases; of TEST a name first.
TRAIN = [("R", 78, 60), ("R", 80, 60), ("R", 81, 60), ("A", 90, 30), ("B", 90, 30)]
TEST = [("site A", "A", 77, 60), ("site B", "B", 77, 60), ("site R", "R", 79, 60)]
INVERSE_PENALTY = 0.3  # of the regression's weights
WIDENING = 0.02  # added to the variances of pairs


def folder_of(phantoms: Path, site: str, seed: int, cases: int) -> Path:
    folder = phantoms / f"{site}-{seed}"
    if len(list(folder.glob("*/*_flair.nii"))) < cases:
        write_cohort(folder, cases, 3.0, seed, site)
    return folder


def measured(folder: Path) -> list[dict]:
    """Of each case: the contrasts of each image and of each pair of them."""
    found = []
    for case in track([path for path in sorted(folder.iterdir()) if path.is_dir()], f"cases of {folder.name}"):
        files = {name: next(case.glob(f"{case.name}_{name}.nii*")) for name in MODALITIES}
        images = {name: nib.load(path) for name, path in files.items()}
        coarse = {
            name: coarsened(np.asarray(image.dataobj, np.float32), image.header.get_zooms())
            for name, image in images.items()
        }
        pairs = {(a, b): pair_contrasts(coarse[a][0], coarse[b][0]) for a, b in combinations(MODALITIES, 2)}
        numbers = {name: contrasts(*one) for name, one in coarse.items()}
        rng = np.random.default_rng(len(found))
        heads = [(has_skull(*one), has_skull(*with_skull(*one, name, rng))) for name, one in coarse.items()]
        found.append({"images": numbers, "pairs": pairs, "heads": heads})
    return found


def with_skull(
    image: np.ndarray, spacing: list[float], name: str, rng: np.random.Generator
) -> tuple[np.ndarray, list[float]]:
    """A simulated head around a brain: up to 3 mm of fluid, 4 to 8 mm of bone and as much scalp."""
    fluid, (low, high) = {
        "t1": (0.3, (0.9, 1.8)), "t1ce": (0.3, (0.9, 1.8)), "t2": (2.0, (0.7, 1.5)), "flair": (0.3, (0.5, 1.2)),
    }[name]  # fmt: skip
    head = np.pad(image, 12).astype(float)
    brain = ndimage.binary_closing(ndimage.binary_fill_holes(head != 0), iterations=4)
    away, inner = ndimage.distance_transform_edt(~brain, sampling=spacing), np.median(image[image != 0])
    borders = np.cumsum([rng.uniform(0, 3), rng.uniform(4, 8), rng.uniform(4, 8)])
    layers = [away <= borders[0], away <= borders[1], away <= borders[2]]
    levels = [fluid, rng.uniform(0.05, 0.35), rng.uniform(low, high)]
    for layer, level in zip(layers, levels, strict=True):
        empty = layer & (head == 0)
        head[empty] = inner * level * rng.uniform(0.6, 1.4, np.count_nonzero(empty))
    return head, spacing


def fitted(cases: list[dict]) -> dict:
    """The content of sequence_check.json."""
    values = np.array([case["images"][name] for case in cases for name in MODALITIES])
    mean, sd = values.mean(0), values.std(0)
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=5000)
    model.fit((values - mean) / sd, [name for _ in cases for name in MODALITIES])
    order = [list(model.classes_).index(name) for name in MODALITIES]
    pairs = {}
    for a, b in combinations(MODALITIES, 2):
        both = np.array([case["pairs"][a, b] for case in cases])
        for names, sign in ((f"{a} {b}", 1), (f"{b} {a}", -1)):  # first − second changes its sign with the order
            signed = both * [1, sign]
            covariance = np.cov(signed.T) + WIDENING * np.eye(2)
            pairs[names] = {"mean": signed.mean(0).round(4).tolist(), "covariance": covariance.round(5).tolist()}
    return {
        "made_by": "bench/patient_checks.py",
        "features": list(sequences.FEATURES),
        "mean": mean.round(5).tolist(),
        "sd": sd.round(5).tolist(),
        "weights": model.coef_[order].round(4).tolist(),
        "bias": model.intercept_[order].round(4).tolist(),
        "pairs": pairs,
    }


def doubted(case: dict, given: tuple[str, ...], named: tuple[str, ...]) -> bool:
    """Whether the images `given` are doubted when they are named `named`."""
    position = {name: number for number, name in enumerate(given)}
    pairs = {(position[a], position[b]): case["pairs"][a, b] for a, b in combinations(given, 2)}
    return judge(named, log_likelihoods([case["images"][name] for name in given], pairs)) is not None


def rates(cases: list[dict]) -> dict[str, str]:
    """A row of the table."""

    def share(trials: list[tuple[dict, tuple, tuple]]) -> str:
        hits = sum(doubted(*trial) for trial in trials)
        return f"{hits} of {len(trials)} ({100 * hits / len(trials):.1f}%)"

    subsets = [chosen for size in range(1, 5) for chosen in combinations(MODALITIES, size)]
    row = {"right names doubted, all 15 subsets": share([(c, s, s) for c in cases for s in subsets])}
    for pair in combinations(MODALITIES, 2):
        label = " and ".join(MODALITY_LABELS[name] for name in pair)
        row[f"{label} exchanged"] = share([(c, pair, pair[::-1]) for c in cases])
    wrong = [names for names in permutations(MODALITIES) if names != MODALITIES]
    row["all four in a wrong order"] = share([(c, MODALITIES, names) for c in cases for names in wrong])
    others = [(a, b) for a in MODALITIES for b in MODALITIES if a != b and {a, b} != {"t1", "t1ce"}]
    row["one image under another's name, T1 and T1ce aside"] = share(
        [(c, (a,), (b,)) for c in cases for a, b in others]
    )
    heads = [head for case in cases for head in case["heads"]]
    for number, what in enumerate(("a skull seen, in stripped images", "a skull seen, in simulated heads")):
        seen = sum(head[number] for head in heads)
        row[what] = f"{seen} of {len(heads)} ({100 * seen / len(heads):.1f}%)"
    return row


def main(phantoms: Path, real: Path | None = None, fit: bool = False, write: Path | None = None) -> None:
    if fit:
        cases = [case for cohort in TRAIN for case in measured(folder_of(phantoms, *cohort))]
        write_json(sequences.COEFFICIENTS, fitted(cases))
    columns = {name: rates(measured(folder_of(phantoms, *cohort))) for name, *cohort in TEST}
    if real:
        cases = measured(real)
        columns[f"{len(cases)} patients"] = rates(cases)
    rows = [[what, *(row[what] for row in columns.values())] for what in next(iter(columns.values()))]
    table = markdown_table(["what was warned of", *columns], rows)
    print(table)
    if write:
        replace_between(write, "patient checks", table)


if __name__ == "__main__":
    typer.run(main)
