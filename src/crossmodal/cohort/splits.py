"""Splits by patient, balanced over grade and enhancing tumour, and the same on every machine.

A patient's place depends on the seed and the cohort's patients: their names, grades and whether they have enhancing
tumour. It does not depend on the order of files or on external cohorts.
"""

import hashlib
from dataclasses import dataclass

from crossmodal.cohort.cases import Case
from crossmodal.cohort.problems import Problem, warning


@dataclass(frozen=True)
class Place:
    """Where a case goes. `fold` is the fold that it validates; None outside train, or if there are no folds."""

    split: str
    fold: int | None = None


def split_by_patient(
    cases: list[Case], folds: int, test_fraction: float, seed: int
) -> tuple[dict[str, Place], list[Problem]]:
    """A held-out test set and k folds of the rest.

    Args:
        cases: labelled cases; the cases of one patient stay together.
        folds: number of folds; 0 for none.
        test_fraction: share of the patients held out; at least one patient when it is above 0.
        seed: of the order in which patients are dealt.

    Returns:
        The place of each case by its name, and warnings if there are too few patients.
    """
    problems = []
    strata = _strata(cases, seed)
    test = _held_out(strata, test_fraction)
    if test_fraction > 0 and not test:
        what = "too few patients for a test set: all of them train"
        problems.append(warning("", "", what, "test on an external cohort, or set the test fraction to 0"))
    fold_of = _deal_folds([[patient for patient in stratum if patient not in test] for stratum in strata], folds)
    if folds and not fold_of:
        patients = len({case.patient for case in cases} - test)
        what = f"too few patients for {folds} folds ({patients}): no fold has validation cases of its own"
        remedy = "training validates on its own cases and says so; ask for fewer with --folds, or add patients"
        problems.append(warning("", "", what, remedy))
    return {
        case.name: Place("test") if case.patient in test else Place("train", fold_of.get(case.patient))
        for case in cases
    }, problems


def _deal_folds(strata: list[list[str]], folds: int) -> dict[str, int]:
    """The fold of each patient: each goes to the fold that has the fewest of its stratum, then the fewest of all.

    There are none for fewer patients than folds.
    """
    fold_of: dict[str, int] = {}
    if sum(map(len, strata)) < folds:
        return fold_of
    in_all = [0] * folds
    for stratum in strata if folds else []:
        of_stratum = [0] * folds
        for patient in stratum:
            fold = min(range(folds), key=lambda k: (of_stratum[k], in_all[k], k))
            fold_of[patient] = fold
            of_stratum[fold] += 1
            in_all[fold] += 1
    return fold_of


def _strata(cases: list[Case], seed: int) -> list[list[str]]:
    """Patients by grade and by whether a visit has no ET; largest stratum first, each in an order of the seed."""
    grade: dict[str, str] = {}
    et_free: dict[str, bool] = {}
    for case in cases:
        grade[case.patient] = max(grade.get(case.patient, ""), case.grade)
        et_free[case.patient] = et_free.get(case.patient, False) or case.is_et_free
    strata: dict[tuple[str, bool], list[str]] = {}
    for patient in sorted(grade, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest()):
        strata.setdefault((grade[patient], et_free[patient]), []).append(patient)
    return [members for _, members in sorted(strata.items(), key=lambda item: (-len(item[1]), item[0]))]


def _held_out(strata: list[list[str]], fraction: float) -> set[str]:
    """The first patients of each stratum: the fraction of all patients, shared among strata by largest remainder."""
    patients = sum(map(len, strata))
    wanted = int(fraction * patients + 0.5)
    if fraction > 0:
        wanted = min(max(wanted, 1), patients - 1)
    if wanted <= 0:
        return set()
    exact = [wanted * len(stratum) / patients for stratum in strata]
    taken = [int(share) for share in exact]
    for index in sorted(range(len(strata)), key=lambda i: (taken[i] - exact[i], i))[: wanted - sum(taken)]:
        taken[index] += 1
    return {patient for stratum, count in zip(strata, taken, strict=True) for patient in stratum[:count]}
