"""`crossmodal cohort check`: from a downloaded folder to cases.csv, or to a list of what is wrong with it."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from crossmodal.cohort.cases import require_cohort_name
from crossmodal.cohort.cases_csv import SPLITS, Row, write_cases
from crossmodal.cohort.checks import Examined
from crossmodal.cohort.cohorts import Cohort, read_cohort
from crossmodal.cohort.overlap import Identities, remove_overlaps
from crossmodal.cohort.problems import ERROR, Problem, error, errors_in, lines_of, printable, warning, write_problems
from crossmodal.cohort.split_files import Entry, apply_split, read_split
from crossmodal.cohort.splits import Place, ToSplit, require_split_options, split_by_patient
from crossmodal.device import available_cores
from crossmodal.domain import RELEASES
from crossmodal.errors import UserError, nearest
from crossmodal.wording import plural

ON_PROBLEM = ("stop", "skip")


@dataclass(frozen=True)
class Options:
    """The options of `crossmodal cohort check`, as the command line documents them."""

    release: str = "auto"
    name: str | None = None
    on_problem: str = "stop"
    folds: int = 5
    test_fraction: float = 0.2
    split_seed: int = 0
    split_file: str | None = None
    external: tuple[str, ...] = ()  # NAME=PATH[:release]
    name_mapping: tuple[Path, ...] = ()
    predict_unlabelled: bool = False
    headers_only: bool = False
    workers: int | None = None


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
        if not isinstance(fault, ListedError):
            what, _, remedy = str(fault).removeprefix(f"{path}: ").partition("; ")
            problems.append(error("", path, what, remedy))
        write_problems(problems_file, problems)
        cases_file.unlink(missing_ok=True)
        raise
    write_problems(problems_file, problems)
    if options.headers_only:
        print("only headers were read: cases.csv is not written")
        return
    write_cases(cases_file, rows)
    print(_counts(rows))
    print(f"wrote {cases_file}; {plural(len(problems), 'row')} in {problems_file}")


def _checked_rows(path: Path, options: Options, problems: list[Problem]) -> list[Row]:
    """All rows of cases.csv; what is wrong is added to `problems`, whether or not this raises."""
    require_split_options(options.folds, options.test_fraction)
    if options.on_problem not in ON_PROBLEM:
        raise UserError(f"--on-problem {options.on_problem}: {nearest(options.on_problem, ON_PROBLEM)}")
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers}: give 1 or more threads")
    entries = read_split(options.split_file) if options.split_file else None
    cohorts = _read_all(path, options, problems)
    _show(problems)
    _stop_at_errors(problems, options.on_problem)
    if options.headers_only:
        return []
    first, *others = cohorts
    later: list[Problem] = []  # found from here on, and shown separately
    try:
        return _rows_of(first, others, entries, options, later)
    finally:
        problems += later
        _show(later)


def _read_all(path: Path, options: Options, problems: list[Problem]) -> list[Cohort]:
    """The cohort and its external cohorts, each under a name of its own."""
    wanted = [(options.name, path, options.release), *map(parse_external, options.external)]
    cohorts: list[Cohort] = []
    for name, place, release in wanted:
        workers = options.workers or available_cores()
        cohort = read_cohort(place, release, name, options.predict_unlabelled, options.headers_only, workers)
        if cohort.name in [other.name for other in cohorts]:
            raise UserError(f"{place}: another cohort is named '{cohort.name}' too; give each a name of its own")
        problems += _left_out(cohort.problems) if options.on_problem == "skip" else cohort.problems
        cohorts.append(cohort)
    return cohorts


def _rows_of(
    first: Cohort, others: list[Cohort], entries: list[Entry] | None, options: Options, problems: list[Problem]
) -> list[Row]:
    """Rows of the sound cases: the first cohort split, the others without what overlaps with its training."""
    sound = _sound(first)
    places, trouble = _places(first, sound, entries, options)
    problems += trouble
    _stop_at_errors(trouble, "stop")  # leaving a case out would not help
    rows = [_row(first, one, places[one.case.name]) for one in sound if one.case.name in places]
    training = [one for one in sound if places.get(one.case.name, Place("")).split == "train"]
    shipped = [file for cohort in (first, *others) for file in cohort.found.mappings]
    identities = Identities([*options.name_mapping, *shipped])
    for cohort in others:
        kept, removed = remove_overlaps(_sound(cohort), training, identities)
        problems += removed
        gone = len(cohort.examined) - len(kept)
        if gone:
            print(f"{cohort.name}: {gone} of {len(cohort.examined)} cases left out, {len(kept)} to test on")
        if not kept:
            raise UserError(f"{cohort.path}: every case overlaps with training; test on another cohort")
        rows += [_row(cohort, one, _external_place(one)) for one in kept]
    return rows


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
        return require_cohort_name(name), Path(rest), "auto"
    if release not in ("auto", *RELEASES):
        raise UserError(f"--external {given}: '{release}' is not a release: {nearest(release, RELEASES)}")
    return require_cohort_name(name), Path(place), release


def _places(
    cohort: Cohort, sound: list[Examined], entries: list[Entry] | None, options: Options
) -> tuple[dict[str, Place], list[Problem]]:
    places = {one.case.name: Place("predict_only") for one in sound if one.labels is None}
    labelled = [
        ToSplit(one.case.name, one.case.patient, one.case.grade, one.is_et_free)
        for one in sound
        if one.labels is not None
    ]
    if not labelled:
        what = "has no case with a segmentation: nothing can be trained on it"
        return places, [warning("", cohort.path, what, "nothing to do if you only predict")]
    if entries is None:
        more, problems = split_by_patient(labelled, options.folds, options.test_fraction, options.split_seed)
    else:
        bad = frozenset(one.case.name for one in cohort.examined) - {one.case.name for one in sound}
        source = str(options.split_file)
        more, problems = apply_split(entries, labelled, options.folds, options.split_seed, source, bad)
    return places | more, problems


def _sound(cohort: Cohort) -> list[Examined]:
    """The cases without an error, sorted by name.

    Raises:
        UserError: there is none.
    """
    bad = {problem.case for problem in errors_in(cohort.problems)}
    sound = [one for one in cohort.examined if one.case.name not in bad]
    if not sound:
        raise UserError(f"{cohort.path}: every case has errors; fix those in problems.csv")
    return sorted(sound, key=lambda one: one.case.name)


def _external_place(one: Examined) -> Place:
    return Place("external" if one.labels is not None else "predict_only")


def _row(cohort: Cohort, one: Examined, place: Place) -> Row:
    case = one.case
    return Row(cohort.name, case.name, case.patient, case.release, place.split, place.fold, case.files, one.sha256)


def _left_out(problems: list[Problem]) -> list[Problem]:
    return [
        replace(row, problem=f"{row.problem} (case left out)") if row.severity == ERROR and row.case else row
        for row in problems
    ]


def _show(problems: list[Problem]) -> None:
    for line in lines_of(problems):
        print(line)


def _stop_at_errors(problems: list[Problem], on_problem: str) -> None:
    wrong = errors_in(problems)
    if on_problem == "skip" and all(problem.case for problem in wrong):
        return
    if wrong:
        first = wrong[0]
        count = plural(len(wrong), "error")
        raise ListedError(
            f"{count}, the first: {printable(first.file or first.case)}: {first.problem}; fix what problems.csv "
            "lists, or leave bad cases out with --on-problem skip; cases.csv is not written"
        )


def _counts(rows: list[Row]) -> str:
    lines = []
    for cohort in dict.fromkeys(row.cohort for row in rows):
        own = [row for row in rows if row.cohort == cohort]
        parts = Counter(row.split for row in own)
        shares = [f"{parts[split]} {split}" for split in SPLITS if parts[split]]
        folds = Counter(row.fold for row in own if row.fold is not None)
        sizes = f" (folds of {', '.join(str(folds[fold]) for fold in sorted(folds))})" if folds else ""
        patients = len({row.patient for row in own})
        lines.append(f"{cohort}: {len(own)} cases of {patients} patients: {', '.join(shares)}{sizes}")
    return "\n".join(lines)
