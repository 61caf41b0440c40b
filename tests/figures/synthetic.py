"""A made-up results/<experiment> tree: small, deterministic, with the names and columns of the file contract.

The numbers are drawn, not measured: they only have to look like a study, so that figures and report can be tested
without any training.
"""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from crossmodal.domain import ALL, MODALITIES, REGIONS, all_subsets

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
GAIN = {"student": 0.0, "choi2023": 0.05, "hinton2015": 0.02, "teacher": 0.12, "big_teacher": 0.13}


def recipe(method: str) -> dict:
    """A recipe in the resolved form; methods that are not above are taught like Hinton et al. 2015's."""
    return RECIPES.get(method) or RECIPES["hinton2015"] | {"title": method, "source": f"made up for {method}"}


def given_to(method: str, subset: str) -> str:
    """The modalities under which a method's results for a subset lie."""
    return ALL if recipe(method).get("modalities") == "all" else subset


def gain(method: str) -> float:
    """How much better than the student a method is drawn."""
    return GAIN.get(method, 0.01 * (len(method) % 6) - 0.02)


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
) -> Path:
    """Write the tree and return its folder; `scored` leaves methods of `methods` without any row (they failed)."""
    folder = Path(folder)
    scored = methods if scored is None else scored
    rng = np.random.default_rng(7)
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    (folder / "cohort").mkdir(exist_ok=True)
    write_config(folder, methods, subsets, cohorts, seeds, brats)
    per_case = draw_scores(rng, scored, subsets, cohorts, seeds, cases)
    summary = summarise(per_case)
    tables = {
        "per_case": per_case,
        "summary": summary,
        "comparisons": compare(per_case, summary),
        "cost": draw_cost(per_case),
        "resources": draw_resources(per_case),
        "notes": pd.DataFrame({"table": ["summary"], "note": ["ET is empty in the reference of 1 case."]}),
    }
    for name, table in tables.items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False, float_format="%.6g")
    pd.DataFrame({"cohort": "phantom-a", "case": [f"BraTS20_Training_{i:03d}" for i in range(1, cases + 21)]}).assign(
        split=["train"] * 20 + ["test"] * cases, fold=""
    ).to_csv(folder / "cohort" / "cases.csv", index=False)
    (folder / "cohort" / "problems.csv").write_text("case,file,severity,problem,remedy\n")
    if figure_data:
        write_figure_data(folder / "figure_data", rng, scored, subsets, seeds, per_case)
    return folder


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
        "budget_settings": {
            "title": "made up",
            "epochs": 20,
            "steps_per_epoch": 50,
            "patch_size": [40, 48, 40],
            "features": [8, 16, 32, 64],
            "batch_size": 2,
            "spacing": [3.0, 3.0, 3.0],
        },
        "backbone": "plain",
        "split": {"folds": 5, "test_fraction": 0.25, "seed": 0, "file": None},
        "recipes": {method: recipe(method) for method in methods},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    versions = {"python": "3.11.2", "torch": "2.13.0", "nnunetv2": "2.8.1", "snakemake": "9.27.1"}
    versions |= {"crossmodal": "0.1.0", "platform": "Linux x86_64"}
    (folder / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


def draw_scores(rng, methods, subsets, cohorts, seeds, cases) -> pd.DataFrame:
    """per_case.csv: a difficulty per case and region that the methods share, a gain per method, noise per seed."""
    rows = []
    for cohort_index, cohort in enumerate(cohorts):
        difficulty = rng.beta(8, 3, size=(cases, 3)) - 0.08 * cohort_index
        volume = rng.uniform(8, 90, size=(cases, 1)) * np.array([[1.0, 0.5, 0.3]])
        for method in methods:
            for modalities in dict.fromkeys(given_to(method, subset) for subset in subsets):
                information = 0.04 * (len(modalities.split("+")) - 2) if modalities in subsets else 0.0
                for seed in seeds:
                    for case in range(cases):
                        for r, region in enumerate(REGIONS):
                            dice = difficulty[case, r] + gain(method) + information + rng.normal(0, 0.03)
                            dice = float(np.clip(dice, 0, 0.98))
                            empty = region == "ET" and case == 0
                            ref = 0.0 if empty else float(volume[case, r])
                            scores = [1.0 if empty else dice, np.nan if empty else dice, 20 * (1 - dice)]
                            scores += [dice * 0.9, 30 * (1 - dice), ref, ref * (1 + rng.normal(0, 1 - dice))]
                            name = f"BraTS20_Training_{case + 21:03d}"
                            rows.append([cohort, name, method, modalities, 0, seed, region, *scores])
    columns = "cohort,case,method,modalities,fold,seed,region,dice,dice_present,hd95_mm,lesion_dice,lesion_hd95_mm"
    return pd.DataFrame(rows, columns=[*columns.split(","), "volume_ref_ml", "volume_pred_ml"])


def summarise(per_case: pd.DataFrame) -> pd.DataFrame:
    """summary.csv with a normal interval in place of the bootstrap."""
    keys = ["cohort", "method", "modalities", "region"]
    rows = []
    for key, group in per_case.groupby(keys, sort=False):
        cases = group.groupby("case")[["dice", "dice_present", "hd95_mm", "lesion_dice"]].mean()
        half = 1.96 * cases.dice.std(ddof=0) / np.sqrt(len(cases))
        mean = cases.dice.mean()
        row = [*key, len(cases), mean, mean - half, mean + half, cases.dice_present.mean()]
        rows.append([*row, cases.hd95_mm.mean(), cases.hd95_mm.median(), cases.lesion_dice.mean()])
    columns = "n,dice_mean,dice_ci_low,dice_ci_high,dice_present_mean,hd95_mean_mm,hd95_median_mm,lesion_dice_mean"
    return pd.DataFrame(rows, columns=[*keys, *columns.split(",")])


def compare(per_case: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """comparisons.csv: each method on each of the student's subsets, a normal interval in place of the bootstrap."""
    columns = "cohort,modalities,region,method,baseline,n,dice_gain,ci_low,ci_high,p_wilcoxon,p_holm,gap_recovered"
    cases = per_case.groupby(["cohort", "modalities", "region", "method", "case"]).dice.mean()
    means = summary.set_index(["cohort", "method", "modalities", "region"]).dice_mean
    rows = []
    students = summary[summary.method == "student"][["cohort", "modalities", "region"]].itertuples(index=False)
    for (cohort, modalities, region), method in product(students, per_case.method.unique()):
        if method in ("teacher", "student"):
            continue
        own = cases[cohort, given_to(method, modalities), region, method]
        difference = own - cases[cohort, modalities, region, "student"]
        half = 1.96 * difference.std(ddof=0) / np.sqrt(len(difference))
        gain, gap = difference.mean(), np.nan
        if (cohort, "teacher", ALL, region) in means:
            gap = means[cohort, "teacher", ALL, region] - means[cohort, "student", modalities, region]
        row = [cohort, modalities, region, method, "student", len(difference), gain, gain - half, gain + half]
        rows.append([*row, 0.004, 0.012, gain / gap if gap > 0 else np.nan])
    return pd.DataFrame(rows, columns=columns.split(","))


def draw_cost(per_case: pd.DataFrame) -> pd.DataFrame:
    """cost.csv: a joint training costs about twice a student."""
    runs = per_case[["method", "modalities"]].drop_duplicates().reset_index(drop=True)
    factor = runs.method.map({"teacher": 1.1, "student": 1.0, "choi2023": 2.1, "hinton2015": 1.4}).fillna(1.7)
    return runs.assign(train_s=180 * factor, step_ms=160 * factor, peak_mem_mb=900 * factor, device="cpu")


def draw_resources(per_case: pd.DataFrame) -> pd.DataFrame:
    """resources.csv: every training asked for the same; preprocessing belongs to no method."""
    rows = [("train_network", method, 2, 1, 3000, 900, 30, 6.5) for method in per_case.method.unique()]
    columns = ["step", "method", "jobs", "threads", "asked_mem_mb", "used_mem_mb", "asked_min", "used_min"]
    return pd.DataFrame([("preprocess_dataset", "", 1, 2, 8000, 454.1, 240, 0.08), *rows], columns=columns)


def write_figure_data(folder: Path, rng, methods, subsets, seeds, per_case: pd.DataFrame) -> None:
    """What `crossmodal figure-data` collects: curves, correlation matrices, class-mean histograms, panels."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_curves(rng, methods, subsets, seeds).to_csv(folder / "curves.csv", index=False, float_format="%.6g")
    if "choi2023" in methods:
        start, end = correlation(rng, 0.25, 0.3), correlation(rng, 0.95, 0.05)
        np.savez_compressed(folder / f"correlation_choi2023_{subsets[0]}.npz", start=start, end=end)
    class_means(rng).to_csv(folder / "class_mean_histograms.csv", index=False, float_format="%.6g")
    if {"student", "teacher"} & set(methods):
        draw_panels(folder, rng, methods, subsets[0], per_case)


def draw_curves(rng, methods, subsets, seeds) -> pd.DataFrame:
    """curves.csv: falling losses, one row a term and epoch."""
    rows = []
    for method in methods:
        for modalities in dict.fromkeys(given_to(method, subset) for subset in subsets):
            for seed in seeds:
                for epoch in range(20):
                    fall = np.exp(-epoch / 6)
                    terms = {"loss_seg_student": -0.7 + 0.9 * fall, "val_dice_WT": 0.85 - 0.6 * fall}
                    if method == "choi2023":
                        terms["loss_seg_teacher"] = -0.8 + 0.9 * fall
                    for i, step in enumerate(recipe(method).get("distill", [])):
                        terms[f"distill_{i}_{step['loss']}@{step['at']}"] = 0.2 + 0.8 * fall
                    terms["loss_total"] = sum(v for k, v in terms.items() if not k.startswith("val"))
                    for term, value in terms.items():
                        key = (method, modalities, seed, 0, epoch, 50 * (epoch + 1), term)
                        rows.append((*key, value + rng.normal(0, 0.02)))
    return pd.DataFrame(rows, columns=["method", "modalities", "seed", "fold", "epoch", "step", "term", "value"])


def correlation(rng, diagonal: float, spread: float, width: int = 64) -> np.ndarray:
    matrix = np.clip(rng.normal(0, spread, size=(width, width)), -1, 1)
    np.fill_diagonal(matrix, np.clip(rng.normal(diagonal, 0.03, width), -1, 1))
    return matrix.astype(np.float16)


def class_means(rng) -> pd.DataFrame:
    """class_mean_histograms.csv: broad classes in the originals, narrow ones in the class-mean images."""
    edges = np.linspace(-4, 6, 101)
    rows = []
    for m, modality in enumerate(MODALITIES):
        for c, name in enumerate(("background", "ED", "NCR", "ET")):
            for image, spread in (("original", 0.8), ("class_mean", 0.15)):
                values = rng.normal(0.6 * c - 0.3 * m, spread, 4000)
                counts, _ = np.histogram(values, edges)
                for low, high, fraction in zip(edges[:-1], edges[1:], counts / counts.sum(), strict=True):
                    rows.append((modality, name, image, low, high, fraction, 4))
    return pd.DataFrame(rows, columns=["modality", "label", "image", "bin_low", "bin_high", "fraction", "cases"])


def draw_panels(folder: Path, rng, methods, subset: str, per_case: pd.DataFrame) -> None:
    """panels.npz and panels.csv: ellipses inside ellipses, drawn worse from best to worst."""
    arrays, rows = {}, []
    bounds = [m for m in methods if given_to(m, "") == ALL]
    distilled = next((m for m in methods if m != "student" and m not in bounds), None)
    y, x = np.mgrid[0:79, 0:67]
    for rank, error in (("best", 0.5), ("median", 2), ("worst", 5)):
        brain = ((y - 39) / 36) ** 2 + ((x - 33) / 30) ** 2 < 1
        radius = np.hypot((y - 30) / 1.2, x - 40)
        reference = (radius < 16).astype(np.uint8) + (radius < 10) + ((radius < 8) & (radius > 4))
        for modality in subset.split("+"):
            image = brain * (110 + 30 * reference + rng.normal(0, 8, brain.shape))
            arrays[f"{rank}_{modality}"] = np.clip(image, 0, 255).astype(np.uint8)
        arrays[f"{rank}_reference"] = reference.astype(np.uint8)
        roles = {"student": "student", "distilled": distilled} | {bound: bound for bound in bounds}
        for k, (role, method) in enumerate(roles.items()):
            if method in methods:
                moved = np.roll(reference, int(error * (2 - k)), axis=1)
                arrays[f"{rank}_{role}"] = moved.astype(np.uint8)
                scores = {f"dice_{r}": 0.9 - 0.05 * error - 0.05 * (2 - k) for r in REGIONS}
                rows.append(
                    {"rank": rank, "cohort": per_case.cohort.iloc[0], "case": per_case.case.iloc[0], "role": role}
                    | {"method": method, "modalities": given_to(method, subset)}
                    | {
                        "seed": 0,
                        "fold": 0,
                        "slice": 30,
                        "row_mm": 3.0,
                        "column_mm": 3.0,
                        "ranked_by": "student",
                        **scores,
                    }
                )
    np.savez_compressed(folder / "panels.npz", **arrays)
    pd.DataFrame(rows).to_csv(folder / "panels.csv", index=False)
