"""`crossmodal cohort check`: from a downloaded folder to cases.csv, or to a list of what is wrong with it."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from crossmodal.cohort.cases import Case, Cohort, require_cohort_name
from crossmodal.cohort.cases_csv import COLUMNS, SPLITS
from crossmodal.cohort.cohorts import Options, read_cohort
from crossmodal.cohort.csv_text import write_csv
from crossmodal.cohort.overlap import Identities, remove_overlaps
from crossmodal.cohort.problems import ERROR, Problem, error, errors_in, lines_of, printable, warning, write_problems
from crossmodal.cohort.split_files import Entry, apply_split, read_split
from crossmodal.cohort.splits import Place, split_by_patient
from crossmodal.domain import RELEASES
from crossmodal.errors import UserError, nearest
from crossmodal.wording import plural

ON_PROBLEM = ("stop", "skip")


class ListedError(UserError):
    """An error whose rows are in problems.csv already."""


def check_cohort(path: Path, out: Path, options: Options) -> None:
    """Check the cohort at `path` and its external cohorts, split it, and write cases.csv and problems.csv.

    Args:
        path: a release's folder, or a table.
        out: folder of the two files.
        options: see `Options`.

    Raises:
        UserError: there are errors (with `on_problem` "skip": errors that are not of a case), or no case is left.
            problems.csv is written all the same; cases.csv is not, and an older one is removed.
    """
    cases_file, problems_file = out / "cases.csv", out / "problems.csv"
    if path.resolve() in (cases_file.resolve(), out.resolve()):
        raise UserError(f"{path}: --out {out} would overwrite the table that is read; give another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(f"--out {out}: cannot be created ({fault.strerror}); give another folder") from None
    problems: list[Problem] = []
    try:
        rows = _checked_rows(path, options, problems)
    except UserError as fault:
        _show(problems)
        if not isinstance(fault, ListedError):
            what, _, remedy = str(fault).removeprefix(f"{path}: ").partition("; ")
            problems.append(error("", path, what, remedy))
        write_problems(problems_file, problems)
        cases_file.unlink(missing_ok=True)
        raise
    _show(problems)
    write_problems(problems_file, problems)
    if options.headers_only:
        print("only headers were read: cases.csv is not written")
        return
    write_csv(cases_file, COLUMNS, rows)
    for name in dict.fromkeys(row["cohort"] for row in rows):
        print(_counts(name, [row for row in rows if row["cohort"] == name]))
    print(f"wrote {cases_file}; {plural(len(problems), 'row')} in {problems_file}")


def parse_external(given: str) -> tuple[str, Path, str]:
    """NAME=PATH or NAME=PATH:RELEASE as (name, path, release).

    Raises:
        UserError: there is no name, no path, or the release is misspelt.
    """
    name, equals, rest = given.partition("=")
    if not (equals and name and rest):
        raise UserError(f"--external {given}: write NAME=PATH or NAME=PATH:RELEASE, as in ucsf=/data/ucsf:table")
    place, colon, release = rest.rpartition(":")
    if not colon or Path(rest).exists():
        place, release = rest, "auto"
    if release not in ("auto", *RELEASES):
        raise UserError(f"--external {given}: '{release}' is not a release: {nearest(release, RELEASES)}")
    return require_cohort_name(name), Path(place), release


def _checked_rows(path: Path, options: Options, problems: list[Problem]) -> list[dict[str, str]]:
    """All rows of cases.csv; what is wrong is added to `problems`, whether or not this raises."""
    if options.folds < 0 or options.folds == 1:
        raise UserError(f"--folds {options.folds}: give 2 or more folds, or 0 for none")
    if not 0 <= options.test_fraction < 1:
        raise UserError(
            f"--test-fraction {options.test_fraction}: give a share from 0 (no test set) to below 1, as in 0.2"
        )
    if options.on_problem not in ON_PROBLEM:
        raise UserError(f"--on-problem {options.on_problem}: {nearest(options.on_problem, ON_PROBLEM)}")
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers}: give 1 or more threads")
    entries = read_split(options.split_file) if options.split_file else None
    cohorts: list[Cohort] = []
    for name, place, release in [(options.name, path, options.release), *map(parse_external, options.external)]:
        cohort = read_cohort(place, release, name, options)
        if cohort.name in [other.name for other in cohorts]:
            raise UserError(f"{place}: another cohort is named '{cohort.name}' too; give each a name of its own")
        for row in cohort.problems:
            is_left_out = options.on_problem == "skip" and row.severity == ERROR and row.case
            problems.append(replace(row, problem=f"{row.problem} (case left out)") if is_left_out else row)
        cohorts.append(cohort)
    _stop_at_errors([row for row in problems if options.on_problem == "stop" or not row.case])
    if options.headers_only:
        return []
    first, *others = cohorts
    sound = _sound(first)
    places, trouble = _places(first, sound, entries, options)
    problems += trouble
    _stop_at_errors(trouble)  # leaving a case out would not help
    rows = [_row(first, case, places[case.name]) for case in sound if case.name in places]
    training = [case for case in sound if places.get(case.name, Place("")).split == "train"]
    identities = Identities([*options.name_mapping, *(file for cohort in cohorts for file in cohort.mappings)])
    for cohort in others:
        kept, removed = remove_overlaps(_sound(cohort), training, identities)
        problems += removed
        if len(kept) < len(cohort.cases):
            gone = len(cohort.cases) - len(kept)
            print(f"{cohort.name}: {gone} of {len(cohort.cases)} cases left out, {len(kept)} to test on")
        if not kept:
            raise UserError(f"{cohort.path}: every case overlaps with training; test on another cohort")
        rows += [_row(cohort, case, Place("predict_only" if case.labels is None else "external")) for case in kept]
    return rows


def _places(
    cohort: Cohort, sound: list[Case], entries: list[Entry] | None, options: Options
) -> tuple[dict[str, Place], list[Problem]]:
    unlabelled = {case.name: Place("predict_only") for case in sound if case.labels is None}
    labelled = [case for case in sound if case.labels is not None]
    if not labelled:
        what = "has no case with a segmentation: nothing can be trained on it"
        return unlabelled, [warning("", cohort.path, what, "nothing to do if you only predict")]
    if entries is None:
        places, problems = split_by_patient(labelled, options.folds, options.test_fraction, options.split_seed)
    else:
        bad = {case.name for case in cohort.cases} - {case.name for case in sound}
        places, problems = apply_split(entries, labelled, options.folds, options.split_seed, options.split_file, bad)
    return unlabelled | places, problems


def _sound(cohort: Cohort) -> list[Case]:
    """The cases without an error, sorted by name.

    Raises:
        UserError: there is none.
    """
    bad = {problem.case for problem in errors_in(cohort.problems)}
    sound = [case for case in cohort.cases if case.name not in bad]
    if not sound:
        raise UserError(f"{cohort.path}: every case has errors; fix those in problems.csv")
    return sorted(sound, key=lambda case: case.name)


def _row(cohort: Cohort, case: Case, place: Place) -> dict[str, str]:
    fold = "" if place.fold is None else str(place.fold)
    row = {"cohort": cohort.name, "case": case.name, "patient": case.patient, "release": case.release}
    return row | {"split": place.split, "fold": fold} | case.files | {"sha256": case.sha256}


def _show(problems: list[Problem]) -> None:
    for line in lines_of(problems):
        print(line)


def _stop_at_errors(problems: list[Problem]) -> None:
    wrong = errors_in(problems)
    if wrong:
        raise ListedError(
            f"{plural(len(wrong), 'error')}, the first: {printable(wrong[0].file or wrong[0].case)}: "
            f"{wrong[0].problem}; fix what problems.csv lists, or leave bad cases out with --on-problem skip; "
            "cases.csv is not written"
        )


def _counts(cohort: str, rows: list[dict[str, str]]) -> str:
    parts = Counter(row["split"] for row in rows)
    shares = ", ".join(f"{parts[split]} {split}" for split in SPLITS if parts[split])
    folds = Counter(int(row["fold"]) for row in rows if row["fold"])
    sizes = f" (folds of {', '.join(str(folds[fold]) for fold in sorted(folds))})" if folds else ""
    return f"{cohort}: {len(rows)} cases of {len({row['patient'] for row in rows})} patients: {shares}{sizes}"
