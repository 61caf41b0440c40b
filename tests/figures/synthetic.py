"""A made-up results/<experiment> tree: small, deterministic, with the names and columns of the file contract.

The numbers are drawn, not measured: they only have to look like a study, so that figures and report can be tested
without any training. figure_data/ is collected from tiny images, predictions and logs, which are drawn as well.
"""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from crossmodal.domain import ALL, MODALITIES, REGIONS, all_subsets
from crossmodal.evaluate.collect import RESOURCES
from crossmodal.evaluate.comparisons import EQUIVALENT, GAIN, LOSS, MARGIN, NOT_SHOWN, TOO_FEW
from crossmodal.evaluate.per_case import KEY, METRICS
from crossmodal.evaluate.results import focus_subset
from crossmodal.evaluate.statistics import holm
from crossmodal.evaluate.trainings import FEWEST, Mean, crossed
from crossmodal.figures.collect import collect_figure_data
from crossmodal.files import write_json, write_yaml

SHAPE = (24, 28, 16)
TRAINING_CASES = 2
FIFTEEN = tuple(all_subsets())
RECIPES = {
    "teacher": {"title": "All four sequences", "source": "upper bound", "role": "teacher", "modalities": "all"},
    "big_teacher": {"title": "All four sequences, more features", "source": "made up", "modalities": "all"},
    "student": {"title": "Student alone", "source": "lower bound"},
    "choi2023": {
        "title": "Single-stage distillation",
        "source": "Choi et al. 2023, doi:10.1016/j.cmpb.2023.107644",
        "choice": "w = 1, loss divided by D",
        "teacher": {"trained": "jointly", "sees": "all"},
        "distill": [{"at": "bottleneck", "loss": "barlow_twins", "weight": 1.0, "off_diagonal": 0.0051}],
    },
    "hinton2015": {
        "title": "Soft targets",
        "source": "Hinton et al. 2015, arXiv:1503.02531",
        "teacher": {"trained": "beforehand", "method": "teacher", "sees": "all"},
        "distill": [{"at": "logits", "loss": "soft_targets", "weight": 0.9, "temperature": 4}],
    },
}
GAINS = {"student": 0.0, "choi2023": 0.05, "hinton2015": 0.02, "teacher": 0.12, "big_teacher": 0.13, "hu2020": 0.0}


def recipe(method: str) -> dict:
    """A recipe in the resolved form; methods that are not above are taught like Hinton et al. 2015's."""
    return RECIPES.get(method) or RECIPES["hinton2015"] | {"title": method, "source": f"made up for {method}"}


def given_to(method: str, subsets: Iterable[str]) -> list[str]:
    """The modalities under which a method's results for these subsets lie."""
    return [ALL] if recipe(method).get("modalities") == "all" else list(subsets)


def build(
    folder: str | Path,
    methods: tuple[str, ...] = ("teacher", "student", "choi2023", "hinton2015"),
    subsets: tuple[str, ...] = ("t1ce+flair",),
    cohorts: tuple[str, ...] = ("phantom-a", "phantom-b"),
    seeds: tuple[int, ...] = (0, 1),
    cases: int = 12,
    brats: str | None = None,
    scored: tuple[str, ...] | None = None,
    figure_data: bool = True,
    sd_trainings: float = 0.01,
) -> Path:
    """Write the tree and return its folder; `scored` leaves methods of `methods` without any row (they failed)."""
    folder = Path(folder)
    scored = methods if scored is None else scored
    rng = np.random.default_rng(7)
    (folder / "cohort").mkdir(parents=True)
    write_config(folder, methods, subsets, cohorts, seeds, brats)
    write_tables(folder / "tables", draw_scores(rng, scored, subsets, cohorts, seeds, cases, sd_trainings))
    (folder / "cohort" / "problems.csv").write_text("case,file,severity,problem,remedy\n")
    if figure_data:
        focus = focus_subset(subsets, subsets)
        tests = draw_cohort(folder / "cohort", rng, cohorts[0], cases)
        for method in scored:
            for modalities, seed in product(given_to(method, subsets), seeds):
                draw_training(folder, rng, method, modalities, seed, matrices=modalities == focus)
            place = folder / "predictions" / cohorts[0] / method / given_to(method, [focus])[0] / f"seed{seeds[0]}"
            for k, case in enumerate(tests):
                moved = 1 + k % 6 if method == "student" else 0  # so many voxels off
                save(place / "fold_0" / f"{case}.nii.gz", labels_at(moved))
        collect(folder)
    return folder


def collect(folder: Path, out: str = "figure_data") -> list[str]:
    """What `crossmodal figure-data` does."""
    places = [folder / name for name in ("config.yaml", "cohort/cases.csv", "models", "predictions", "tables", out)]
    return collect_figure_data(*places)


def write_config(folder: Path, methods, subsets, cohorts, seeds, brats) -> None:
    """config.yaml and versions.json, with the keys that the workflow resolves."""
    config = {
        "experiment": folder.name,
        "paper": None,
        "brats": brats,
        "cohorts": list(cohorts),
        "methods": list(methods),
        "subsets": list(subsets),
        "seeds": list(seeds),
        "folds": [0],
        "budget": "demo",
        "budget_settings": {"title": "made up", "epochs": 20, "steps_per_epoch": 50, "batch_size": 2}
        | {"patch_size": [40, 48, 40], "features": [8, 16, 32, 64], "spacing": [3.0, 3.0, 3.0]},
        "backbone": "plain",
        "split": {"folds": 5, "test_fraction": 0.25, "seed": 0, "file": None},
        "recipes": {method: recipe(method) for method in methods},
    }
    write_yaml(folder / "config.yaml", config)
    versions = {"python": "3.11.2", "torch": "2.13.0", "nnunetv2": "2.8.1", "snakemake": "9.27.1"}
    write_json(folder / "versions.json", versions | {"crossmodal": "0.1.0", "platform": "Linux x86_64"})


def draw_scores(rng, methods, subsets, cohorts, seeds, cases, sd_trainings) -> pd.DataFrame:
    """per_case.csv: a difficulty per case and region that the methods share, a gain per method, noise per training
    and region, and per prediction."""
    rows = []
    for cohort_index, cohort in enumerate(cohorts):
        difficulty = rng.beta(8, 3, size=(cases, 3)) - 0.08 * cohort_index
        volume = rng.uniform(8, 90, size=(cases, 1)) * np.array([[1.0, 0.5, 0.3]])
        for method in methods:
            gain = GAINS.get(method, 0.01 * (len(method) % 6) - 0.02)
            trainings = {}
            for modalities, seed, case in product(given_to(method, subsets), seeds, range(cases)):
                training = trainings.setdefault((modalities, seed), rng.normal(0, sd_trainings, 3))
                information = 0.04 * (len(modalities.split("+")) - 2) if modalities in subsets else 0.0
                for r, region in enumerate(REGIONS):
                    dice = difficulty[case, r] + gain + information + training[r] + rng.normal(0, 0.03)
                    dice = float(np.clip(dice, 0, 0.98))
                    empty = region == "ET" and case == 0
                    ref = 0.0 if empty else float(volume[case, r])
                    scores = [1.0 if empty else dice, np.nan if empty else dice, 20 * (1 - dice)]
                    scores += [dice * 0.9, 30 * (1 - dice), ref, ref * (1 + rng.normal(0, 1 - dice))]
                    rows.append([cohort, case_name(case), method, modalities, 0, seed, region, *scores])
    return pd.DataFrame(rows, columns=[*KEY, *METRICS])


def case_name(test_case: int) -> str:
    return f"BraTS20_Training_{test_case + 1 + TRAINING_CASES:03d}"


def write_tables(folder: Path, per_case: pd.DataFrame) -> None:
    """All tables of per_case.csv, and what the trainings cost: a joint one about twice a student."""
    cost = per_case[["method", "modalities"]].drop_duplicates().reset_index(drop=True)
    factor = cost.method.map({"teacher": 1.1, "student": 1.0, "choi2023": 2.1, "hinton2015": 1.4})
    factor = factor.fillna(1.1 + 0.08 * cost.method.str.len())
    used = [("preprocess_dataset", "", 1, 2, 8000, 454.1, 240, 0.08)]
    used += [("train_network", method, 2, 1, 3000, 900, 30, 6.5) for method in per_case.method.unique()]
    summary = summarise(per_case)
    tables = {
        "per_case": per_case,
        "summary": summary,
        "comparisons": compare(per_case, summary),
        "cost": cost.assign(train_s=180 * factor, step_ms=160 * factor, peak_mem_mb=900 * factor, device="cpu"),
        "resources": pd.DataFrame(used, columns=RESOURCES),
        "notes": pd.DataFrame({"table": ["summary"], "note": ["ET is empty in the reference of 1 case."]}),
    }
    folder.mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")


def summarise(per_case: pd.DataFrame) -> pd.DataFrame:
    """summary.csv with a normal interval in place of the bootstrap."""
    keys = ["cohort", "method", "modalities", "region"]
    rows = []
    for key, group in per_case.groupby(keys, sort=False):
        cases = group.groupby("case")[["dice", "dice_present", "hd95_mm", "lesion_dice"]].mean()
        half = 1.96 * cases.dice.std(ddof=0) / np.sqrt(len(cases))
        mean = cases.dice.mean()
        row = [*key, len(cases), mean, mean - half, mean + half, cases.dice_present.mean()]
        row += [cases.hd95_mm.mean(), cases.hd95_mm.median(), cases.lesion_dice.mean()]
        dice = group.pivot(index="case", columns="seed", values="dice").to_numpy()
        rows.append([*row, *over_trainings(dice).interval()])
    columns = "n,dice_mean,dice_ci_low,dice_ci_high,dice_present_mean,hd95_mean_mm,hd95_median_mm,lesion_dice_mean"
    columns += ",trainings_ci_low,trainings_ci_high"
    return pd.DataFrame(rows, columns=[*keys, *columns.split(",")])


def over_trainings(*methods: np.ndarray) -> Mean:
    """Mean or gain over patients and trainings, from arrays (cases, seeds); too few trainings have no error."""
    mean = crossed(*methods)
    return mean if methods[0].shape[1] >= FEWEST else Mean(mean.value)


def compare(per_case: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """comparisons.csv: each method on each of the student's subsets, a normal interval in place of the bootstrap."""
    columns = "cohort,modalities,region,method,baseline,n,dice_gain,ci_low,ci_high,p_wilcoxon,p_holm,gap_recovered"
    columns += ",n_trainings,trainings_ci_low,trainings_ci_high,p_trainings,margin,p_within_margin"
    keys = ["cohort", "modalities", "region", "method"]
    cases = per_case.pivot(index="case", columns=[*keys, "seed"], values="dice").sort_index(axis=1)
    means = summary.set_index(["cohort", "method", "modalities", "region"]).dice_mean
    rows = []
    students = summary[summary.method == "student"][["cohort", "modalities", "region"]].itertuples(index=False)
    for (cohort, modalities, region), method in product(students, per_case.method.unique()):
        if method in ("teacher", "student"):
            continue
        own = cases[cohort, given_to(method, [modalities])[0], region, method].to_numpy()
        student = cases[cohort, modalities, region, "student"].to_numpy()
        difference, both = own.mean(axis=1) - student.mean(axis=1), over_trainings(own, student)
        half = 1.96 * difference.std(ddof=0) / np.sqrt(len(difference))
        gain, gap = difference.mean(), np.nan
        if (cohort, "teacher", ALL, region) in means:
            gap = means[cohort, "teacher", ALL, region] - means[cohort, "student", modalities, region]
        row = [cohort, modalities, region, method, "student", len(difference), gain, gain - half, gain + half]
        row += [0.004, 0.012, gain / gap if gap > 0 else np.nan, own.shape[1], *both.interval()]
        rows.append([*row, both.p(), MARGIN, both.p_within(MARGIN)])
    table = pd.DataFrame(rows, columns=columns.split(","))
    families = table.groupby(["cohort", "region"]).p_trainings
    table["p_trainings_holm"] = families.transform(lambda p: holm(p.to_numpy()))
    shown = np.where(table.dice_gain > 0, GAIN, LOSS)
    rest = np.where(table.p_within_margin < 0.05, EQUIVALENT, NOT_SHOWN)
    table["finding"] = np.where(table.p_trainings_holm < 0.05, shown, rest)
    table.loc[table.p_trainings.isna(), "finding"] = TOO_FEW
    return table


def draw_cohort(folder: Path, rng, cohort: str, cases: int) -> list[str]:
    """Images of two training cases and the test cases, and cases.csv; returns the names of the test cases."""
    labels, brain = labels_at(), np.zeros(SHAPE, dtype=bool)
    brain[2:-2, 2:-2, 1:-1] = True
    rows = []
    for number in range(-TRAINING_CASES, cases):
        case = case_name(number)
        row = {"cohort": cohort, "case": case, "patient": case, "release": "brats2020"}
        row |= {"split": "train", "fold": 0} if number < 0 else {"split": "test", "fold": ""}
        for modality in MODALITIES:
            image = brain * (100 + 20.0 * labels + rng.normal(0, 3, SHAPE))
            row[modality] = save(folder / "images" / case / f"{case}_{modality}.nii.gz", image.astype(np.int16))
        seg = save(folder / "images" / case / f"{case}_seg.nii.gz", labels)
        rows.append(row | {"seg": seg, "sha256": "0" * 64})
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    return [case_name(number) for number in range(cases)]


def labels_at(offset: int = 0) -> np.ndarray:
    """Nested boxes in the values of BraTS 2020: oedema around necrosis around enhancing tumour, moved along x."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[6 + offset : 16 + offset, 8:20, 4:12] = 2
    labels[8 + offset : 14 + offset, 10:18, 6:11] = 1
    labels[9 + offset : 12 + offset, 12:16, 7:10] = 4
    return labels


def save(path: Path, data: np.ndarray) -> str:
    """Write NIfTI in the LPS orientation that BraTS has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([-2.0, -2.0, 3.0, 1.0])), path)
    return str(path)


def draw_training(folder: Path, rng, method: str, modalities: str, seed: int, matrices: bool) -> None:
    """progress.csv with falling losses; with `matrices` those of Barlow Twins, where it is the loss."""
    place = folder / "models" / method / modalities / f"seed{seed}" / "fold_0"
    place.mkdir(parents=True)
    epoch = np.arange(20)
    fall = np.exp(-epoch / 6)
    terms = {"loss_seg_student": -0.7 + 0.9 * fall}
    if method == "choi2023":
        terms["loss_seg_teacher"] = -0.8 + 0.9 * fall
    for i, step in enumerate(recipe(method).get("distill", [])):
        terms[f"distill_{i}_{step['loss']}@{step['at']}"] = 0.2 + 0.8 * fall
    terms |= {"loss_total": sum(terms.values()), "val_dice_WT": 0.85 - 0.6 * fall}
    noisy = {name: values + rng.normal(0, 0.02, 20) for name, values in terms.items()}
    progress = {"epoch": epoch, "step": 50 * (epoch + 1), "resumed_from": "", "time": 1.0}
    pd.DataFrame(progress | noisy).to_csv(place / "progress.csv", index=False)
    if method == "choi2023" and matrices:
        start, end = (np.clip(rng.normal(0, spread, (64, 64)), -1, 1) for spread in (0.3, 0.05))
        np.fill_diagonal(end, 0.95)
        np.savez(place / "correlation.npz", start=start, end=end)
