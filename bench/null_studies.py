"""Simulated studies without an effect: how often each procedure finds one, and how often it finds a true gain.

    python bench/null_studies.py --write docs/evaluation.md

A study has two methods, with trainings of each that all score the same patients. Dice = patient + effect of the method
in this patient + training + residual. The settings of one row of the table are all combinations of `SD_TRAININGS`,
`PATIENTS_AND_RESIDUAL`, both shapes of the patients' effects, and the second method's trainings varying as much as
the first's or a quarter of it.
"""

import argparse
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.formula.api import mixedlm
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from crossmodal.evaluate.trainings import crossed, over_folds
from crossmodal.files import replace_between
from crossmodal.progress import track

SD_TRAININGS = (0.005, 0.02)
PATIENTS_AND_RESIDUAL = ((0.0, 0.02), (0.03, 0.05), (0.1, 0.05))  # SD of the gain between patients, and residual
SD_DICE = 0.15  # between patients, the same for both methods
TRAININGS, PATIENTS = (1, 2, 3, 5, 10), (12, 24, 60, 100)
GAIN = 0.02
POWER_SETTING = {"sd_trainings": 0.01, "sd_gain": 0.03, "sd_residual": 0.03}
BOOTSTRAPPED, RESAMPLES = 300, 200
MODELLED, MODEL_SETTING = (3, 5), {"sd_trainings": 0.02, "sd_gain": 0.03, "sd_residual": 0.03}


def simulate(
    rng: np.random.Generator,
    studies: int,
    trainings: int,
    patients: int,
    sd_trainings: float,
    sd_gain: float,
    sd_residual: float,
    skewed: bool = False,
    quieter: float = 1.0,
    gain: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Dice of a method and its baseline, each of shape (studies, patients, trainings).

    Args:
        rng: the random stream.
        studies, trainings, patients: how many of each.
        sd_trainings: between trainings of the method.
        sd_gain: of the method's effect between patients.
        sd_residual: of one training in one patient.
        skewed: effects of patients with a long tail to one side, for one patient in ten three times as large.
        quieter: SD between trainings of the baseline, as a share of the method's.
        gain: the true gain.
    """
    effect = rng.normal(0, 1, (studies, patients, 1))
    if skewed:
        effect = (rng.exponential(1, effect.shape) - 1) * np.where(rng.random(effect.shape) < 0.1, 3, 0.7)
    dice = rng.normal(0.75, SD_DICE, effect.shape)

    def scored(mean: np.ndarray, sd: float) -> np.ndarray:
        of_trainings = rng.normal(0, sd, (studies, 1, trainings))
        return mean + of_trainings + rng.normal(0, sd_residual, (studies, patients, trainings))

    return scored(dice + gain + sd_gain * effect, sd_trainings), scored(dice, sd_trainings * quieter)


def patients_alone(method: np.ndarray, baseline: np.ndarray) -> float:
    """The rate of the usual test: paired over patients, trainings averaged."""
    return (stats.ttest_1samp((method - baseline).mean(axis=2), 0, axis=1).pvalue < 0.05).mean()


def paired_by_seed(method: np.ndarray, baseline: np.ndarray) -> float:
    """The rate when the gain of a seed is one value, widened by the patients' variance (Satterthwaite's df)."""
    gain = method - baseline
    _, patients, trainings = gain.shape
    of_trainings, of_patients = gain.mean(axis=1).var(axis=1, ddof=1), gain.mean(axis=2).var(axis=1, ddof=1)
    of_trainings, of_patients = of_trainings / trainings, of_patients / patients
    variance = of_trainings + of_patients
    df = variance**2 / (of_trainings**2 / (trainings - 1) + of_patients**2 / (patients - 1))
    return (2 * stats.t.sf(abs(gain.mean(axis=(1, 2))) / variance**0.5, df) < 0.05).mean()


def crossed_bootstrap(rng: np.random.Generator, method: np.ndarray, baseline: np.ndarray) -> float:
    """The rate of the percentile interval, patients and trainings of each method drawn with replacement."""
    _, patients, trainings = method.shape
    found = []
    for one, other in zip(method, baseline, strict=True):
        of_patients = rng.multinomial(patients, np.full(patients, 1 / patients), RESAMPLES) / patients
        drawn = rng.multinomial(trainings, np.full(trainings, 1 / trainings), (2, RESAMPLES)) / trainings
        gains = ((of_patients @ one) * drawn[0]).sum(axis=1) - ((of_patients @ other) * drawn[1]).sum(axis=1)
        low, high = np.percentile(gains, [2.5, 97.5])
        found.append(low > 0 or high < 0)
    return float(np.mean(found))


def mixed_model(method: np.ndarray, baseline: np.ndarray) -> float:
    """The rate of a linear mixed model with crossed random effects (statsmodels): patients, their gains, trainings."""
    rates = []
    for study in zip(method, baseline, strict=True):
        rows = [
            {
                "method": which,
                "patient": patient,
                "gain": f"{which} {patient}",
                "training": f"{which} {training}",
                "dice": d,
            }
            for which, scores in zip("ab", study, strict=True)
            for (patient, training), d in np.ndenumerate(scores)
        ]
        effects = {name: f"0 + C({name})" for name in ("patient", "gain", "training")}
        table = pd.DataFrame(rows).assign(everything=1)
        model = mixedlm("dice ~ method", table, groups="everything", re_formula="0", vc_formula=effects)
        rates.append(model.fit(reml=True).pvalues["method[T.b]"] < 0.05)
    return float(np.mean(rates))


def ours(method: np.ndarray, baseline: np.ndarray) -> float:
    """The rate of what `crossmodal tables` does."""
    return float(np.mean([crossed(*study).p() < 0.05 for study in zip(method, baseline, strict=True)]))


def by_fold(method: np.ndarray, baseline: np.ndarray, folds: int = 5) -> float:
    """The rate of the same with a cross-validation: training k scores the patients of fold k alone."""
    parts = np.array_split(method - baseline, folds, axis=1)
    gains = np.stack([part[:, :, k].mean(axis=1) for k, part in enumerate(parts)], axis=1)
    sizes = np.array([part.shape[1] for part in parts])
    return float(np.mean([over_folds(of_study, sizes).p() < 0.05 for of_study in gains]))


def settings() -> list[dict]:
    """All settings of one row."""
    return [
        {"sd_trainings": sd, "sd_gain": gain, "sd_residual": residual, "skewed": skewed, "quieter": quieter}
        for sd, (gain, residual), skewed, quieter in product(
            SD_TRAININGS, PATIENTS_AND_RESIDUAL, (False, True), (1.0, 0.25)
        )
    ]


def row(trainings: int, patients: int, studies: int) -> list[str]:
    """One row of the table: the highest rate over the settings for each procedure, and the power."""
    rng = np.random.default_rng([trainings, patients])
    rates: dict[str, list[float]] = {"patients": [], "bootstrap": [], "paired": [], "ours": []}
    for setting in settings():
        study = simulate(rng, studies, trainings, patients, **setting)
        rates["patients"].append(patients_alone(*study))
        if trainings > 1:
            rates["paired"].append(paired_by_seed(*study))
            rates["bootstrap"].append(crossed_bootstrap(rng, *(dice[:BOOTSTRAPPED] for dice in study)))
        if trainings > 2:
            rates["ours"].append(ours(*study))
    cells = [f"{100 * max(of):.1f}% ({100 * np.mean(of):.1f}%)" if of else "–" for of in rates.values()]
    power = "–"
    if trainings > 2:
        power = f"{100 * ours(*simulate(rng, studies, trainings, patients, **POWER_SETTING, gain=GAIN)):.0f}%"
    return [str(trainings), str(patients), *cells, power]


def cross_validation(patients: int, studies: int) -> str:
    """The highest rate (mean) over the settings of a five-fold cross-validation with one training a fold."""
    rng = np.random.default_rng(patients)
    rates = [by_fold(*simulate(rng, studies, 5, patients, **setting)) for setting in settings()]
    return f"{100 * max(rates):.1f}% ({100 * np.mean(rates):.1f}%)"


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)  # a variance at 0, as in many small studies
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000, help="of each setting")
    parser.add_argument("--write", type=Path, help="Markdown file with the markers simulated:start and simulated:end")
    options = parser.parse_args()
    heads = ["Trainings of each", "Patients", "Patients alone", "Crossed bootstrap", "Paired by seed", "Ours"]
    heads.append(f"Power, gain {GAIN:g}")
    cells = list(product(TRAININGS, PATIENTS))
    rows = [row(*cell, options.studies) for cell in track(cells, "rows simulated")]
    lines = [heads, ["---:"] * len(heads), *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    of_folds = ", ".join(f"{n} patients {cross_validation(n, options.studies)}" for n in PATIENTS)
    text += f"\n\nFive-fold cross-validation, one training a fold, each scoring its own patients: {of_folds}.\n"
    rng = np.random.default_rng(0)
    of_models = []
    for trainings in MODELLED:
        study = simulate(rng, min(options.studies, 300), trainings, 12, **MODEL_SETTING)
        of_models.append(f"{trainings} trainings {100 * mixed_model(*study):.1f}% (ours {100 * ours(*study):.1f}%)")
    text += f"\nMixed model, 12 patients: {', '.join(of_models)}.\n"
    print(text)
    if options.write:
        replace_between(options.write, "simulated", f"\n{text}\n")


if __name__ == "__main__":
    main()
