"""Splits are by patient, balanced, the same everywhere, and never let a patient sit on both sides."""

from collections import Counter

import cohort_trees as trees
import pytest
from cohort_trees import check
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.cohort.cases import Case
from crossmodal.cohort.splits import split_by_patient


def labelled(name: str, patient: str, grade: str, et_free: bool) -> Case:
    return Case(name, patient, "brats2021", grade=grade, labels=frozenset({1, 2} if et_free else {1, 2, 4}))


def cohort(count: int) -> list[Case]:
    """Every third patient LGG, every fourth free of ET."""
    return [labelled(f"P{k:03d}-0", f"P{k:03d}", "LGG" if k % 3 == 0 else "HGG", k % 4 == 0) for k in range(count)]


patients = st.lists(
    st.builds(
        lambda patient, visits, grade, et_free: [
            labelled(f"{patient}-{v}", str(patient), grade, et_free) for v in range(visits)
        ],
        st.integers(0, 10**6),
        st.integers(1, 3),
        st.sampled_from(["HGG", "LGG", ""]),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda visits: visits[0].patient,
)


@settings(max_examples=150, deadline=None)
@given(patients, st.integers(2, 6), st.floats(0, 0.9), st.integers(0, 5))
def test_any_cohort_is_split_by_patient_into_even_folds(groups, folds, fraction, seed):
    cases = [case for visits in groups for case in visits]
    places, problems = split_by_patient(cases, folds, fraction, seed)
    assert set(places) == {case.name for case in cases}
    sides = {}
    for case in cases:
        sides.setdefault(case.patient, set()).add(places[case.name])
    assert all(len(places_of) == 1 for places_of in sides.values())
    chosen = [next(iter(places_of)) for places_of in sides.values()]
    test = sum(place.split == "test" for place in chosen)
    assert abs(test - fraction * len(groups)) <= 1
    assert test < len(groups)
    assert (test > 0) == (fraction > 0 and len(groups) > 1)
    train = [place.fold for place in chosen if place.split == "train"]
    if len(train) >= folds:
        assert set(train) == set(range(folds))
    else:
        assert set(train) == {None}
        assert any("too few patients" in problem.problem for problem in problems)
    assert places == split_by_patient(cases[::-1], folds, fraction, seed)[0]


def test_grades_and_et_free_cases_are_spread_evenly():
    cases = cohort(120)
    places, _ = split_by_patient(cases, 5, 0.2, seed=0)
    stratum = {case.name: (case.grade, case.is_et_free) for case in cases}
    everywhere = Counter(stratum.values())
    for part in ("test", 0, 1, 2, 3, 4):
        inside = Counter(stratum[case] for case, place in places.items() if part in (place.split, place.fold))
        share = sum(inside.values()) / len(cases)
        for kind, count in everywhere.items():
            assert abs(inside[kind] - share * count) <= 1.5, (part, kind)


@pytest.mark.parametrize(("seed", "pinned"), [(0, "1t0t010011"), (1, "10101tt001")])
def test_a_split_is_pinned(seed, pinned):
    """A published split must not move with a version of this project."""
    places, _ = split_by_patient(cohort(10), 2, 0.2, seed)
    assert "".join("t" if place.split == "test" else str(place.fold) for place in places.values()) == pinned


def test_external_cases_do_not_move_the_split(tmp_path):
    root = trees.brats2021(tmp_path / "data", 6)
    alone, _ = check(root, tmp_path / "a", folds=2)
    trees.table(tmp_path / "own")
    both, _ = check(root, tmp_path / "b", folds=2, external=(f"own={tmp_path / 'own'}",))
    assert both[:6] == alone
    assert {(row["cohort"], row["split"], row["fold"]) for row in both[6:]} == {("own", "external", "")}
