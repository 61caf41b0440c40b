"""Patients that two cohorts share: testing on one of them would not be a test on another data set.

Told by content (the same image, whatever its file type) and by names. Names speak where the releases say how
they map: in `name_mapping.csv`, which BraTS 2019 and 2020 ship, or any CSV of one's own with a patient's names in
one row; and where they keep their numbers: Brats18_X and BraTS19_X, BraTS2021_N and BraTS-GLI-N are held to be
one patient. That may remove a case too many, never one too few.
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crossmodal.cohort.checks import Examined
from crossmodal.cohort.problems import Problem, warning
from crossmodal.errors import UserError

_RELEASE_NAME = re.compile(r"(Brats1[78]_|BraTS19_|BraTS20_|BraTS2021_|BraTS-GLI-|BRATS_|TCGA-)\S+", re.IGNORECASE)
_OF_2017_TO_2019 = re.compile(r"BraTS1[789]_(.+)_\d+", re.IGNORECASE)
_OF_2021_ON = re.compile(r"(?:BraTS2021_(\d{5})|BraTS-GLI-(\d{5})(?:-\d{3})?)", re.IGNORECASE)
_MSD, _BEFORE_2022 = "msd-task01", {"brats2018", "brats2019", "brats2020", "brats2021"}


@dataclass(frozen=True)
class Overlap:
    """An external case whose patient is in the training set."""

    external: str
    training: str
    why: str


def mapping_rows(path: Path) -> list[list[str]]:
    """The cells of a name mapping, row by row.

    Raises:
        UserError: the file is missing or is not a CSV.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        mark = max(",;\t", key=text.partition("\n")[0].count)  # a spreadsheet saves with its country's
        return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark)]
    except (OSError, csv.Error) as fault:
        raise UserError(f"{path}: cannot be read as a name mapping ({fault}); save it as 'CSV UTF-8'") from None


class Identities:
    """Which names mean the same patient (a union-find over the names that mappings put in one row)."""

    def __init__(self, mappings: Iterable[Path] = ()):
        self._parent: dict[str, str] = {}
        for mapping in mappings:
            for cells in mapping_rows(mapping):
                names = [_by_itself(cell) for cell in cells if _RELEASE_NAME.fullmatch(cell)]
                for name in names:
                    self._parent.setdefault(name, name)
                    self._parent[self._root(name)] = self._root(names[0])

    def of(self, name: str) -> str | None:
        """One key for all names of a patient; None for a name that no release gives a meaning to."""
        own = _by_itself(name)
        if own in self._parent:
            return self._root(own)
        return own if own != name.lower() else None

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name


def _by_itself(name: str) -> str:
    """The patient as far as the name alone tells, over visits and releases that share their numbers."""
    if match := _OF_2017_TO_2019.fullmatch(name):
        return f"2017-2019 {match[1].lower()}"
    if match := _OF_2021_ON.fullmatch(name):
        return f"2021- {match[1] or match[2]}"
    return name.lower()


def find_overlaps(external: list[Examined], training: list[Examined], identities: Identities) -> list[Overlap]:
    """Every external case that shows a patient of the training set.

    A case of the same release with the same name and other images is not taken for the same patient: two
    cohorts may both count from 001.
    """
    by_content = {facts.content: one.case.name for one in training for facts in one.images.values()}
    by_identity: dict[str, Examined] = {}
    for one in training:
        key = identities.of(one.case.name)
        if key is not None:
            by_identity.setdefault(key, one)
    overlaps = []
    for one in external:
        twin = next((by_content[f.content] for f in one.images.values() if f.content in by_content), None)
        if twin is not None:
            overlaps.append(Overlap(one.case.name, twin, "the same image"))
            continue
        relative = by_identity.get(identities.of(one.case.name) or "")
        if relative is not None and (relative.case.name, relative.case.release) != (one.case.name, one.case.release):
            overlaps.append(Overlap(one.case.name, relative.case.name, "the same patient by name"))
    shown = {overlap.external: overlap for overlap in overlaps}
    of_patient = {one.case.patient: shown[one.case.name] for one in external if one.case.name in shown}
    return [
        shown.get(one.case.name)
        or Overlap(one.case.name, of_patient[one.case.patient].training, "another visit of a patient who overlaps")
        for one in external
        if one.case.patient in of_patient
    ]


def remove_overlaps(
    external: list[Examined], training: list[Examined], identities: Identities
) -> tuple[list[Examined], list[Problem]]:
    """The external cases that remain, and a warning for each that does not and for what names cannot settle."""
    problems = []
    found = {overlap.external: overlap for overlap in find_overlaps(external, training, identities)}
    for one in external:
        overlap = found.get(one.case.name)
        if overlap is not None:
            what = f"overlaps with the training case {overlap.training} ({overlap.why}), and is removed"
            problems.append(warning(one.case.name, one.case.where, what, "nothing: it would not be a fair test"))
    kept = [one for one in external if one.case.name not in found]
    shared = sorted({one.case.name for one in kept} & {one.case.name for one in training})
    if shared:
        what = f"{len(shared)} cases bear names of training cases ({shared[0]}, …) and show other images"
        remedy = "if they are the same patients after other processing, take them out"
        problems.append(warning("", Path(kept[0].case.where).parent, what, remedy))
    releases = {one.case.release for one in kept}, {one.case.release for one in training}
    if any(_MSD in one and other & _BEFORE_2022 for one, other in (releases, releases[::-1])):
        what = "MSD Task01 was drawn from BraTS 2016 and 2017, under other names: patients may be shared unseen"
        problems.append(warning("", Path(kept[0].case.where).parent, what, "say so beside the result"))
    return kept, problems
