"""comparisons.csv: each method against the student alone, and single stage against two stages."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from crossmodal.domain import ALL
from crossmodal.evaluate import statistics
from crossmodal.evaluate.blocks import blocks, by_training
from crossmodal.evaluate.per_case import groups, in_order
from crossmodal.experiment.config import Config
from crossmodal.experiment.runs import STUDENT, TEACHER, TWO_STAGE, Roles
from crossmodal.progress import track
from crossmodal.wording import number, plural

COLUMNS = [
    *("cohort", "modalities", "region", "method", "baseline", "n", "dice_gain", "ci_low", "ci_high"),
    *("p_wilcoxon", "p_holm", "gap_recovered", "gap_ci_low", "gap_ci_high", "family_size"),
    *("n_trainings", "n_trainings_baseline", "sd_trainings", "sd_trainings_baseline"),
    *("trainings_ci_low", "trainings_ci_high", "p_trainings", "p_trainings_holm"),
    *("margin", "p_within_margin", "finding", "note"),
]
FAMILY = ["cohort", "region"]
MARGIN = Config.model_fields["margin"].default
SIGNIFICANT = 0.05

# What a row may claim (column `finding`).
GAIN, LOSS, EQUIVALENT, NOT_SHOWN, TOO_FEW = "gain", "loss", "equivalent", "not shown", "too few trainings"


def compare(
    per_case: pd.DataFrame, resamples: int = statistics.RESAMPLES, roles: Roles | None = None, margin: float = MARGIN
) -> pd.DataFrame:
    """The rows of comparisons.csv: differences in Dice between the same patients, Holm within cohort and region.

    Args:
        per_case: a table of `read_per_case`, after `held_out`.
        resamples: of each bootstrap over patients; 0 for none of those intervals.
        roles: of the methods; by default their names decide.
        margin: the largest difference in Dice that makes no difference.
    """
    roles = roles or Roles(per_case["method"].unique())
    rows = []
    for (cohort, region), group in track(list(groups(per_case, FAMILY)), "families of comparisons.csv"):
        wide = by_training(group, ["method", "modalities"])
        for method, baseline, subset in _pairs(group, roles):
            names = {"cohort": cohort, "modalities": subset, "region": region, "method": method, "baseline": baseline}
            dice = [_of(wide, name, roles.row_subset(name, subset)) for name in (method, baseline)]
            bounds = [_of(wide, STUDENT, subset), _of(wide, TEACHER, ALL)] if baseline == STUDENT else []
            rows.append(names | _comparison(dice, bounds, names, resamples, margin))
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"family_size": "Int64"})
    for p_value in ("p_wilcoxon", "p_trainings"):
        adjusted = {"p_wilcoxon": "p_holm", "p_trainings": "p_trainings_holm"}[p_value]
        table[adjusted] = table.groupby(FAMILY, sort=False)[p_value].transform(lambda p: statistics.holm(p.to_numpy()))
    table["family_size"] = table.groupby(FAMILY, sort=False)["p_wilcoxon"].transform("count").astype("Int64")
    table["finding"] = [finding(row) for row in table.itertuples()]
    return in_order(table, ["cohort", "region", "modalities"])


def _of(wide: pd.DataFrame, method: str, modalities: str) -> pd.DataFrame:
    """One method's columns of `by_training`; empty where it was not scored."""
    return wide[method, modalities] if (method, modalities) in wide.columns.droplevel([2, 3]) else wide.iloc[:, :0]


def _pairs(rows: pd.DataFrame, roles: Roles) -> Iterator[tuple[str, str, str]]:
    """(method, baseline, subset) of every comparison that the scored methods allow, in their order.

    A method that always sees all four modalities, or takes any subset, is compared on each subset of its baseline.
    """
    subsets = rows.groupby("method", sort=False)["modalities"].unique()
    for method in subsets.index:
        baselines = [] if method in (STUDENT, TEACHER) else [STUDENT]
        baselines += [method + TWO_STAGE] if method + TWO_STAGE in subsets else []
        for baseline in baselines:
            of_pair = subsets[method]
            if baseline in subsets and roles.always_sees_all(method):
                of_pair = subsets[baseline]
            elif baseline in subsets and roles.takes_any(method):
                of_pair = [subset for subset in of_pair if subset in subsets[baseline]]
            for subset in of_pair:
                yield method, baseline, subset


def _comparison(
    dice: list[pd.DataFrame], bounds: list[pd.DataFrame], names: dict[str, str], resamples: int, margin: float
) -> dict:
    """The numbers of one row.

    Args:
        dice: tables of `by_training` of the method and its baseline.
        bounds: those of student and teacher, for the share of the gap; none where it is not defined.
        names: cohort, modalities, region, method and baseline of the row; they seed its random streams.
        resamples: of each bootstrap.
        margin: of equivalence.
    """
    both = blocks(*dice)
    gain, mean = both.of_patients, both.mean()
    interval = statistics.mean_interval(gain, statistics.generator("gain", *names.values()), resamples)
    p_wilcoxon, p_note = statistics.wilcoxon_p(gain)
    notes = [interval.note, p_note] if gain.size else [p_note]
    if both.trainings(0) != both.trainings(1):
        notes.append(f"{both.trainings(0)} of the method's trainings against {both.trainings(1)} of the baseline's")
    if both.left_out:
        notes.append(f"{plural(both.left_out, 'case')} left out: not scored by every training")
    if len(both.arrays) > 1:
        notes.append(f"{len(both.arrays)} folds that score patients of their own: the interval is over folds")
    share, gap = np.nan, statistics.Interval(np.nan, np.nan)
    if bounds:
        rng = statistics.generator("gap", *names.values())
        share, gap = statistics.gap_recovered(*_per_patient(dice[0], *bounds), rng, resamples)
        notes.append(gap.note)
    low, high = mean.interval()
    return {
        "n": len(gain),
        "dice_gain": gain.mean() if gain.size else np.nan,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p_wilcoxon": p_wilcoxon,
        "gap_recovered": share,
        "gap_ci_low": gap.low,
        "gap_ci_high": gap.high,
        "n_trainings": both.trainings(0),
        "n_trainings_baseline": both.trainings(1),
        "sd_trainings": both.sd(0),
        "sd_trainings_baseline": both.sd(1),
        "trainings_ci_low": low,
        "trainings_ci_high": high,
        "p_trainings": mean.p(),
        "margin": margin,
        "p_within_margin": mean.p_within(margin),
        "note": statistics.joined(notes),
    }


def _per_patient(*methods: pd.DataFrame) -> np.ndarray:
    """Mean Dice over trainings of the patients that all of the methods scored, shape (methods, patients)."""
    means = pd.concat([table.mean(axis=1) for table in methods], axis=1).dropna()
    return means.groupby(level="patient").mean().to_numpy().T


def finding(row) -> str:
    """What a row may claim over patients and trainings; see the constants.

    Args:
        row: with p_trainings, p_trainings_holm, p_within_margin and dice_gain, by `itertuples`.
    """
    if np.isnan(row.p_trainings):
        return TOO_FEW
    if row.p_within_margin < SIGNIFICANT:
        return EQUIVALENT
    if row.p_trainings_holm < SIGNIFICANT:
        return GAIN if row.dice_gain > 0 else LOSS
    return NOT_SHOWN


def finding_words(row) -> str:
    """A row's finding for a table: what a result that shows no gain still allows is said with it.

    Args:
        row: of comparisons.csv, by `itertuples`.
    """
    if row.finding == EQUIVALENT:
        return f"within ±{row.margin:g}"
    if row.finding == NOT_SHOWN:
        return f"not shown; at most {number(row.trainings_ci_high, sign=True)}"
    return row.finding
