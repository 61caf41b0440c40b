"""A split of your own: a CSV, or plain lists as RFNet and similar repositories publish them.

CSV: columns case, split and, if wanted, fold. split is train, val, test or predict_only; a case in `val` validates
fold 0, so fold 0 trains on `train` alone. Lists: train.txt, val.txt and test.txt in one folder, or lists with other
names (train1.txt) joined by commas; one case a line, and the same rules.
"""

import re
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from crossmodal.cohort.cases import Case
from crossmodal.cohort.csv_text import read_csv, read_text
from crossmodal.cohort.problems import Problem, error, warning
from crossmodal.cohort.splits import Place, split_by_patient
from crossmodal.errors import UserError, nearest

PARTS = ("train", "val", "test", "predict_only")
_LIST = re.compile(r"(train|val|test)[^/]*\.txt", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """A line of a split file."""

    case: str
    part: str
    fold: int | None
    where: str

    @property
    def side(self) -> str:
        return self.part if self.fold is None else f"{self.part}, fold {self.fold}"


def read_split(given: str) -> list[Entry]:
    """The entries of a split file, as written.

    Args:
        given: a CSV file; a folder with train.txt and test.txt; or such lists, joined by commas.

    Raises:
        UserError: a file is missing, or in neither form.
    """
    path = Path(given)
    lists = [Path(one.strip()) for one in given.split(",") if one.strip()]
    if path.is_dir():
        lists = [file for part in ("train", "val", "test") if (file := path / f"{part}.txt").is_file()]
        if not lists:
            raise UserError(f"{path}: has neither train.txt nor test.txt; name the lists, joined by commas")
    elif path.name.lower().endswith(".csv"):
        return _read_csv(path)
    entries = []
    for file in lists:
        match = _LIST.fullmatch(file.name)
        if match is None:
            raise UserError(f"{file}: is neither a .csv nor a list whose name begins with train, val or test")
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                entries.append(Entry(line.strip(), match[1].lower(), None, f"{file}, line {number}"))
    if not entries:
        raise UserError(f"{given}: no case is listed; write one case a line")
    return entries


def apply_split(
    entries: list[Entry], cases: list[Case], folds: int, seed: int, source: str, left_out: Container[str] = ()
) -> tuple[dict[str, Place], list[Problem]]:
    """Where each labelled case goes; those that the file does not name are left out, with a warning.

    Training cases without a fold are dealt to folds, unless the file has validation cases of its own.

    Args:
        entries: what `read_split` read.
        cases: the cohort's labelled cases, at least one.
        folds, seed: as for `split_by_patient`.
        source: the file, for messages.
        left_out: cases that were left out because of errors; the file may still name them.

    Raises:
        UserError: no case of the file is in the cohort.
    """
    known = {case.name: case for case in cases}
    problems: list[Problem] = []
    placed: dict[str, Entry] = {}
    for entry in entries:
        name = _name_in(known, entry.case)
        if name is None and _name_in(left_out, entry.case) is not None:
            continue
        if name is None:
            what = f"names the case '{entry.case}', which is not among the cohort's labelled cases"
            problems.append(error("", entry.where, what, nearest(entry.case, known)))
        elif name in placed and placed[name].side != entry.side:
            what = f"puts the case {name} in {entry.part}, and {placed[name].where} in {placed[name].part}"
            problems.append(error(name, entry.where, what, "name it once"))
        else:
            placed[name] = entry
    if not placed:
        raise UserError(
            f"{source}: names no case of this cohort (its first is '{entries[0].case}', the cohort's "
            f"'{min(known)}'); use the cohort's case names"
        )
    for case in cases:
        if case.name not in placed:
            what = f"is not in {source}, and is left out"
            problems.append(warning(case.name, source, what, "name it there, if it should train or test"))
    problems += _patients_on_both_sides(placed, known, folds)
    places = {
        name: Place("train", entry.fold or 0) if entry.part == "val" else Place(entry.part, entry.fold)
        for name, entry in placed.items()
    }
    training = [known[name] for name, place in places.items() if place.split == "train"]
    there = {place.fold for place in places.values()} - {None}
    lacking = ", ".join(str(fold) for fold in range(folds) if fold not in there)
    if training and not there:
        folded, trouble = split_by_patient(training, folds, 0, seed)
        places.update(folded)
        problems += trouble
    elif lacking:
        remedy = f"train only fold {', '.join(map(str, sorted(there)))}"
        problems.append(warning("", source, f"gives no validation cases to fold {lacking}", remedy))
    return places, problems


def _patients_on_both_sides(placed: dict[str, Entry], known: dict[str, Case], folds: int) -> list[Problem]:
    """A patient's visits must train, test and validate together."""
    first: dict[str, tuple[str, Entry]] = {}
    problems = []
    for name in sorted(placed):
        entry, patient = placed[name], known[name].patient
        other, before = first.setdefault(patient, (name, entry))
        if before.side != entry.side:
            sides = f"{before.side} ({other}) and in {entry.side} ({name})"
            remedy = "keep all visits of a patient on one side"
            problems.append(error(name, entry.where, f"patient {patient} is on both sides: in {sides}", remedy))
        if folds and entry.fold is not None and entry.fold >= folds:
            what = f"puts {name} in fold {entry.fold}, where --folds {folds} counts from 0 to {folds - 1}"
            problems.append(error(name, entry.where, what, f"ask for --folds {entry.fold + 1}"))
    return problems


def _name_in(known: Container[str], written: str) -> str | None:
    """The cohort's name of a case that a published list writes as HGG_Brats18_X, HGG/Brats18_X or X_vol.npy."""
    plain = re.sub(r"(_vol)?\.(npy|npz|nii|nii\.gz)$", "", written.rstrip("/").split("/")[-1])
    options = (written, plain, re.sub(r"^(HGG|LGG)_", "", plain))
    return next((name for name in options if name in known), None)


def _read_csv(path: Path) -> list[Entry]:
    columns, rows = read_csv(path, ("case", "split"), ("fold",))
    entries = []
    for where, cells in rows:
        row = {"fold": ""} | dict(zip(columns, cells, strict=False))
        part, fold = row.get("split", ""), row["fold"]
        if part not in PARTS:
            raise UserError(f"{where}: '{part}' is not a part of a split: {nearest(part, PARTS)}")
        if fold and (part not in ("train", "val") or not re.fullmatch(r"\d{1,3}(\.0)?", fold)):
            raise UserError(
                f"{where}: fold '{fold}' of a case in {part}: give a number from 0, for training cases only"
            )
        entries.append(Entry(row.get("case", ""), part, int(float(fold)) if fold else None, where))
    return entries
