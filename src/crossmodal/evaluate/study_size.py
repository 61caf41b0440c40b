"""How large a study must be: what Dice varies by in an experiment, and the trainings and patients that a gain takes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from crossmodal.data import DICE_SPREAD
from crossmodal.errors import UserError, nearest
from crossmodal.evaluate import render
from crossmodal.evaluate.blocks import Blocks, blocks, by_training
from crossmodal.evaluate.per_case import config_of, groups, held_out, per_case_file, read_per_case
from crossmodal.evaluate.power import Spread, spread
from crossmodal.evaluate.statistics import CONFIDENCE, FEW_PATIENTS
from crossmodal.experiment.runs import STUDENT, Roles
from crossmodal.wording import MISSING, estimate, number, percent, plural

GAINS, SEEDS, POWER = (0.01, 0.02, 0.05), (3, 5, 10, 20), 0.8  # of the table that is shown by default
MOST = 2000  # patients that are considered
FEW_NAMES = 3  # more methods or subsets are counted, not named
REMEDY = "train more seeds (`seeds:` in the config), or give no folder to use the SDs that were measured on phantoms"

Network = tuple[str, str]  # method and the modalities that it sees


def default_spread(cohort: str | None = None) -> pd.DataFrame:
    """The rows of `measured_spread` that bench/spread.py wrote; an unknown cohort raises as there."""
    return _of_cohort(pd.read_csv(DICE_SPREAD), cohort, DICE_SPREAD)


def measured_spread(
    directory: Path,
    cohort: str | None = None,
    method: str | None = None,
    baseline: str = STUDENT,
    modalities: str | None = None,
) -> pd.DataFrame:
    """What Dice varies by in an experiment: a row for each region, with the SDs of `Spread` and what they rest on.

    Args:
        directory: an experiment, or a folder with per_case.csv.
        cohort: its first one by default.
        method: all that are compared by default, pooled.
        baseline: what they are compared with.
        modalities: a subset; by default all of the baseline's, pooled.

    Returns:
        Columns cohort, data (phantoms or patients), budget, compared, region, patients and trainings (the fewest of a
        comparison), df (of the SD between trainings), sd_trainings and the ends of its 95% interval, sd_patients,
        sd_residual.

    Raises:
        UserError: there is no such comparison; it has too few trainings or patients; or each fold scores patients of
            its own, so that trainings and patients cannot be told apart.
    """
    source = per_case_file(directory)
    rows = _of_cohort(held_out(read_per_case(source))[0], cohort, source)
    config = config_of(source)
    data, budget = "not recorded", "not recorded"
    if config:
        data = "phantoms" if config.is_phantom else "patients"
        budget = f"{Path(config.budget).stem} ({plural(config.budget_settings.steps, 'step')})"
    roles = Roles(rows["method"].unique(), config.recipes if config else None)
    pairs = _pairs(rows, roles, method, baseline, modalities)
    if not pairs:
        what = f"'{method}'" if method else "a compared method"
        where = f" with {modalities}" if modalities else ""
        raise UserError(f"{source}: '{baseline}' and {what} are not both scored{where}: give others")
    found = []
    for (name, region), group in groups(rows, ["cohort", "region"]):
        measured = _measured(by_training(group, ["method", "modalities"]), pairs, source)
        found.append({"cohort": name, "data": data, "budget": budget} | {"region": region} | measured)
    return pd.DataFrame(found)


def _of_cohort(table: pd.DataFrame, cohort: str | None, source: Path) -> pd.DataFrame:
    """The rows of one cohort, the first by default."""
    cohorts = list(table["cohort"].unique())
    if cohort is not None and cohort not in cohorts:
        raise UserError(f"{source}: has no cohort '{cohort}': {nearest(cohort, cohorts)}")
    return table[table["cohort"] == (cohort or cohorts[0])]


def _pairs(
    rows: pd.DataFrame, roles: Roles, method: str | None, baseline: str, modalities: str | None
) -> list[tuple[Network, Network]]:
    """Every scored method with the baseline on the same subset; a method that always sees all four on each."""
    scored = set(zip(rows["method"], rows["modalities"], strict=True))
    for name in (method or baseline, baseline):
        if name not in roles.methods:
            raise UserError(f"the method '{name}' is not scored here: {nearest(name, roles.methods)}")
    methods = [method] if method else [name for name in roles.compared if name != baseline]
    subsets = [subset for name, subset in sorted(scored) if name == baseline and modalities in (None, subset)]
    found = [((name, roles.row_subset(name, subset)), (baseline, subset)) for name in methods for subset in subsets]
    return [pair for pair in found if pair[0] in scored]


def _measured(wide: pd.DataFrame, pairs: list[tuple[Network, Network]], source: Path) -> dict:
    """A region's columns of `measured_spread`.

    Args:
        wide: a table of `by_training`, by method and modalities.
        pairs: what is compared.
        source: the file, for messages.
    """
    networks = set(wide.columns.droplevel(["fold", "seed"]))
    found: dict[tuple[Network, Network], Blocks] = {}
    for pair in pairs:
        both = blocks(*(wide[network] for network in pair)) if networks.issuperset(pair) else Blocks([], 0)
        if len(both.arrays) > 1:
            raise UserError(
                f"{source}: each fold scores patients of its own, so the SD between trainings cannot be told from that "
                "between patients: it takes a held-out test set (`split.test_fraction` in the config) that every "
                "training scores; or give no folder to use the SDs that were measured on phantoms"
            )
        if both.arrays and len(both.of_patients) > 1 and min(both.trainings(0), both.trainings(1)) > 1:
            found[pair] = both
    if not found:
        raise UserError(
            f"{source}: the SD between trainings cannot be known from one training, nor that between patients from one "
            f"patient: it takes two or more of each method that scored the same two patients or more; {REMEDY}"
        )
    one = spread([tuple(both.arrays[0]) for both in found.values()])
    patients = min(len(both.of_patients) for both in found.values())
    trainings = {network: both.trainings(k) for pair, both in found.items() for k, network in enumerate(pair)}
    df = sum(trainings.values()) - len(trainings)
    of_means = np.mean([both.sd(k) ** 2 for both in found.values() for k in (0, 1)])
    ends = of_means * df / stats.chi2.ppf([(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2], df)
    low, high = np.maximum(ends - one.residual**2 / patients, 0) ** 0.5
    return {
        "compared": _words(list(found)),
        "patients": patients,
        "trainings": min(trainings.values()),
        "df": df,
        "sd_trainings": one.trainings,
        "sd_trainings_low": low,
        "sd_trainings_high": high,
        "sd_patients": one.patients,
        "sd_residual": one.residual,
    }


def _words(pairs: list[tuple[Network, Network]]) -> str:
    """What was compared: names where there are few, else their number."""
    methods = list(dict.fromkeys(method for (method, _), _ in pairs))
    subsets = list(dict.fromkeys(subset for _, (_, subset) in pairs))
    of = ", ".join(methods) if len(methods) <= FEW_NAMES else plural(len(methods), "method")
    seeing = ", ".join(subsets) if len(subsets) <= FEW_NAMES else plural(len(subsets), "subset")
    baseline = pairs[0][1][0]
    return f"{of} against {baseline} with {seeing}"


def study_sizes(
    found: pd.DataFrame,
    gains: Sequence[float],
    seeds: Sequence[int],
    power: float,
    patients: int | None = None,
    sd_trainings: float | None = None,
) -> pd.DataFrame:
    """A row for each region, gain and number of seeds: the patients needed for a power, or the power of so many.

    Args:
        found: a table of `measured_spread`.
        gains: true gains in Dice.
        seeds: trainings of each method.
        power: the chance to find the gain that is asked for.
        patients: gives the power that these have instead.
        sd_trainings: between trainings, in place of the measured one.

    Returns:
        Columns cohort, region, sd_trainings, gain, seeds, patients (inf: more than `MOST`; NaN: no number is enough)
        and power.
    """
    rows = []
    for row in found.itertuples():
        between = row.sd_trainings if sd_trainings is None else sd_trainings
        one = Spread(between, row.sd_patients, row.sd_residual)
        for gain in gains:
            for trainings in seeds:
                size = patients or one.patients_for(gain, trainings, power, MOST)
                reached = one.power(gain, trainings, patients) if patients else power
                rows.append((row.cohort, row.region, between, gain, trainings, size, reached))
    return pd.DataFrame(rows, columns=["cohort", "region", "sd_trainings", "gain", "seeds", "patients", "power"])


def printed(
    found: pd.DataFrame, sizes: pd.DataFrame, patients: int | None = None, sd_trainings: float | None = None
) -> list[render.Table]:
    """Two tables for print: of `study_sizes`, and the SDs that it rests on.

    Args:
        found: a table of `measured_spread`.
        sizes: that of `study_sizes` from it.
        patients, sd_trainings: as given to `study_sizes`.
    """
    seeds = list(sizes["seeds"].unique())
    cells = [
        [region, number(gain, 3), *(percent(one.power) if patients else _patients(one.patients) for one in group)]
        for (region, gain), group in (
            (names, list(rows.itertuples())) for names, rows in sizes.groupby(["region", "gain"], sort=False)
        )
    ]
    first = found.iloc[0]
    basis = f"From the standard deviations below, of the cohort {first.cohort} ({first.data})"
    basis += "" if sd_trainings is None else f", but {sd_trainings:g} between trainings, as asked for"
    if patients:
        title = f"The chance to find a gain in Dice with {plural(patients, 'patient')}"
        notes = []
    else:
        title = f"Patients needed to find a gain in Dice with a power of {percent(sizes['power'].iloc[0])}"
        notes = [
            f"{FEW_PATIENTS}: {FEW_PATIENTS} or fewer; {MISSING}: no number of patients is enough, since trainings "
            f"differ too much; >{MOST}: more than {MOST}"
        ]
    return [
        render.Table(
            title,
            f"{basis}. Seeds: trainings of each of two methods, all of which score these patients. A gain is found "
            "when its 95% interval over patients and trainings lies above 0 (two-sided 5%), in a single comparison: "
            "several at a time need more.",
            ["Region", "Gain", *(f"{seed} seeds" for seed in seeds)],
            cells,
            notes,
            text_columns=1,
        ),
        render.Table(
            "Standard deviations of Dice that this rests on",
            f"Measured: cohort {first.cohort} ({first.data}), budget {first.budget}, {first.compared}; "
            f"{first.trainings} trainings of each, {plural(first.patients, 'test patient')}. "
            "With its 95% interval: few degrees of freedom (df) leave it uncertain.",
            ["Region", "Between trainings", "df", "Of the gain between patients", "Of one patient and training"],
            [
                [
                    row.region,
                    estimate(row.sd_trainings, row.sd_trainings_low, row.sd_trainings_high),
                    str(row.df),
                    *(number(row.sd_patients), number(row.sd_residual)),
                ]
                for row in found.itertuples()
            ],
            text_columns=1,
        ),
    ]


def _patients(needed: float) -> str:
    return MISSING if np.isnan(needed) else f">{MOST}" if np.isinf(needed) else str(int(needed))
