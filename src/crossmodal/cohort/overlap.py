"""Patients that two cohorts share: a network that was trained on a patient must not be tested on the same one.

They are found by content (the same image, whatever its file type) and by name. Two names are the same patient if a
mapping has them in one row (`name_mapping.csv`, which BraTS 2019 and 2020 ship, or a CSV of your own), or if they
have the same number in releases that share numbers: Brats18_X and BraTS19_X, BraTS2021_N and BraTS-GLI-N. Where
numbers agree by chance, a case too many is removed.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from crossmodal.cohort.cases import Case
from crossmodal.cohort.csv_text import mapping_rows
from crossmodal.cohort.problems import Problem, warning

_RELEASE_NAME = re.compile(r"(Brats1[78]_|BraTS19_|BraTS20_|BraTS2021_|BraTS-GLI-|BRATS_|TCGA-)\S+", re.IGNORECASE)
_OF_2017_TO_2019 = re.compile(r"BraTS1[789]_(.+)_\d+", re.IGNORECASE)
_OF_2021_ON = re.compile(r"(?:BraTS2021_(\d{5})|BraTS-GLI-(\d{5})(?:-\d{3})?)", re.IGNORECASE)
_MSD, _BEFORE_2022 = "msd-task01", {"brats2018", "brats2019", "brats2020", "brats2021"}


class Identities:
    """Which names mean the same patient: those that a mapping has in one row, or that contain the same number."""

    def __init__(self, mappings: Iterable[Path] = ()):
        from scipy.cluster.hierarchy import DisjointSet  # half a second to import

        self._mapped = DisjointSet()
        for mapping in mappings:
            for cells in mapping_rows(mapping):
                keys = [_key(cell) for cell in cells if _RELEASE_NAME.fullmatch(cell)]
                for key in keys:
                    self._mapped.add(key)
                    self._mapped.merge(keys[0], key)

    def of(self, name: str) -> str | None:
        """One key for all names of a patient; None for a name that follows no release and is in no mapping."""
        key = _key(name)
        if key in self._mapped:
            return self._mapped[key]
        return key if key != name.lower() else None


def _key(name: str) -> str:
    """The patient by the name alone: without the visit, and the same for releases that share their numbers."""
    if match := _OF_2017_TO_2019.fullmatch(name):
        return f"2017-2019 {match[1].lower()}"
    if match := _OF_2021_ON.fullmatch(name):
        return f"2021- {match[1] or match[2]}"
    return name.lower()


def find_overlaps(external: list[Case], training: list[Case], identities: Identities) -> dict[str, tuple[str, str]]:
    """For each external case of a patient in the training set: a training case of that patient, and the evidence.

    A case with the same name, of the same release and with other images is taken to be another patient: two cohorts
    may both count from 001.
    """
    by_content = {facts.content: case.name for case in training for facts in case.images.values()}
    by_identity: dict[str | None, Case] = {}
    for case in training:
        by_identity.setdefault(identities.of(case.name), case)
    by_identity.pop(None, None)
    found: dict[str, tuple[str, str]] = {}
    of_patient: dict[str, str] = {}
    for case in external:
        twin = next((by_content[f.content] for f in case.images.values() if f.content in by_content), None)
        relative = by_identity.get(identities.of(case.name))
        if twin is not None:
            found[case.name] = twin, "the same image"
        elif relative and (relative.name, relative.release) != (case.name, case.release):
            found[case.name] = relative.name, "the same patient by name"
        if case.name in found:
            of_patient[case.patient] = found[case.name][0]
    for case in external:
        if case.patient in of_patient:
            found.setdefault(case.name, (of_patient[case.patient], "another visit of a patient who overlaps"))
    return found


def remove_overlaps(
    external: list[Case], training: list[Case], identities: Identities
) -> tuple[list[Case], list[Problem]]:
    """The external cases without overlap, with a warning for each that is removed and each doubt that remains.

    Args:
        external: cases of the external cohort.
        training: cases that are trained on.
        identities: which names mean the same patient.
    """
    problems, kept = [], []
    found = find_overlaps(external, training, identities)
    for case in external:
        if case.name not in found:
            kept.append(case)
            continue
        twin, why = found[case.name]
        what = f"overlaps with the training case {twin} ({why}), and is removed"
        problems.append(warning(case.name, case.where, what, "nothing to do: testing on it would not be fair"))
    shared = sorted({case.name for case in kept} & {case.name for case in training})
    if shared:
        what = f"{len(shared)} cases have names of training cases ({shared[0]}, …) and other images"
        remedy = "if they are the same patients, processed differently, remove them"
        problems.append(warning("", Path(kept[0].where).parent, what, remedy))
    releases = {case.release for case in kept}, {case.release for case in training}
    if any(_MSD in one and other & _BEFORE_2022 for one, other in (releases, releases[::-1])):
        what = "MSD Task01 was drawn from BraTS 2016 and 2017, under other names: shared patients may remain"
        problems.append(warning("", Path(kept[0].where).parent, what, "say so where you report the result"))
    return kept, problems
