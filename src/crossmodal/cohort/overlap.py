"""Patients that two cohorts share: a network that was trained on a patient must not be tested on the same one.

They are found by content (the same image, whatever its file type) and by name. Two names are the same patient if a
mapping has them in one row (`name_mapping.csv`, which BraTS 2019 and 2020 ship, or a CSV of your own), or if they
have the same number in releases that share numbers: Brats18_X and BraTS19_X, BraTS2021_N and BraTS-GLI-N. Where
numbers agree by chance, a case too many is removed.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from crossmodal.cohort.checks import Examined
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


def find_overlaps(
    external: list[Examined], training: list[Examined], identities: Identities
) -> dict[str, tuple[str, str]]:
    """For each external case of a patient in the training set: a training case of that patient, and the evidence.

    A case with the same name, of the same release and with other images is taken to be another patient: two cohorts
    may both count from 001.
    """
    by_content = {facts.content: one.case.name for one in training for facts in one.images.values()}
    by_identity: dict[str, Examined] = {}
    for one in training:
        key = identities.of(one.case.name)
        if key is not None:
            by_identity.setdefault(key, one)
    found: dict[str, tuple[str, str]] = {}
    for one in external:
        name, release = one.case.name, one.case.release
        twin = next((by_content[f.content] for f in one.images.values() if f.content in by_content), None)
        relative = by_identity.get(identities.of(name) or "")
        if twin is not None:
            found[name] = twin, "the same image"
        elif relative is not None and (relative.case.name, relative.case.release) != (name, release):
            found[name] = relative.case.name, "the same patient by name"
    of_patient = {one.case.patient: found[one.case.name][0] for one in external if one.case.name in found}
    return {
        case.name: found.get(case.name) or (of_patient[case.patient], "another visit of a patient who overlaps")
        for case in (one.case for one in external)
        if case.patient in of_patient
    }


def remove_overlaps(
    external: list[Examined], training: list[Examined], identities: Identities
) -> tuple[list[Examined], list[Problem]]:
    """The external cases without overlap, with a warning for each that is removed and each doubt that remains.

    Args:
        external: cases of the external cohort.
        training: cases that are trained on.
        identities: which names mean the same patient.
    """
    problems = []
    found = find_overlaps(external, training, identities)
    for case in (one.case for one in external if one.case.name in found):
        twin, why = found[case.name]
        what = f"overlaps with the training case {twin} ({why}), and is removed"
        problems.append(warning(case.name, case.where, what, "nothing to do: testing on it would not be fair"))
    kept = [one for one in external if one.case.name not in found]
    shared = sorted({one.case.name for one in kept} & {one.case.name for one in training})
    if shared:
        what = f"{len(shared)} cases have names of training cases ({shared[0]}, …) and other images"
        remedy = "if they are the same patients, processed differently, remove them"
        problems.append(warning("", Path(kept[0].case.where).parent, what, remedy))
    releases = {one.case.release for one in kept}, {one.case.release for one in training}
    if any(_MSD in one and other & _BEFORE_2022 for one, other in (releases, releases[::-1])):
        what = "MSD Task01 was drawn from BraTS 2016 and 2017, under other names: shared patients may remain"
        problems.append(warning("", Path(kept[0].case.where).parent, what, "say so where you report the result"))
    return kept, problems
