"""One cohort, read and checked: its release, what each case holds, and what is wrong."""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from crossmodal.cohort.cases import Found, require_cohort_name
from crossmodal.cohort.checks import (
    Examined,
    check_duplicates,
    check_labels,
    examine_headers,
    examine_voxels,
    in_parallel,
)
from crossmodal.cohort.problems import Problem, error, printable, warning
from crossmodal.cohort.releases import find_cases, gli_release
from crossmodal.domain import regions_of
from crossmodal.errors import UserError
from crossmodal.wording import plural


@dataclass
class Cohort:
    """A cohort and what was found in it."""

    name: str
    path: Path
    found: Found
    examined: list[Examined] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_cohort(
    path: Path, release: str, name: str | None, predict_unlabelled: bool, headers_only: bool, workers: int
) -> Cohort:
    """Find the cases at `path`, examine every file and collect the problems; print which release it is and why.

    Args:
        path, release: see `find_cases`.
        name: the cohort's name; by default its release, or for a table the name of its folder.
        predict_unlabelled: keep cases without a segmentation.
        headers_only: leave the voxels unread.
        workers: number of threads.

    Raises:
        UserError: see `find_cases`; or no case has a segmentation, and none is kept without.
    """
    found = find_cases(path, release)
    problems = list(found.problems)
    problems += _without_unlabelled(found, predict_unlabelled)
    if not found.cases:
        raise UserError(f"{path}: no case has a segmentation; give --predict-unlabelled to predict them")
    if found.release:
        _print_release(path, found)
    examined = _examine(found, headers_only, workers)
    if not found.release and not headers_only:
        problems += _tell_gli_release(path, found, examined)
        _print_release(path, found)
    for one in examined:
        problems += one.problems
        problems += check_labels(one) if one.case.release else []
    problems += check_duplicates(examined)
    return Cohort(require_cohort_name(name or _default_name(path, found)), path, found, examined, problems)


def _print_release(path: Path, found: Found) -> None:
    for note in (f"{path}: read as {found.release or 'BraTS-GLI'}: {found.why}", *found.notes):
        print(printable(note))
    if found.release and found.release != "table":
        regions = (f"{region} {'+'.join(map(str, values))}" for region, values in regions_of(found.release).items())
        print(f"  labels: {', '.join(regions)}")


def _default_name(path: Path, found: Found) -> str:
    if found.release and found.release != "table":
        return found.release
    folder = path.resolve().parent.name if path.is_file() else path.resolve().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder).strip("-._")[:60] or "table"


def _without_unlabelled(found: Found, predict_unlabelled: bool) -> list[Problem]:
    """Unless they are to be predicted, leave out a release's unlabelled part; other cases without labels are errors."""
    if predict_unlabelled:
        return []
    remedy = "give --predict-unlabelled to predict them"
    meant = [case for case in found.cases if "seg" not in case.files and case.unlabelled_by_design]
    found.cases = [case for case in found.cases if "seg" in case.files or not case.unlabelled_by_design]
    problems = [
        error(case.name, case.where, "has no segmentation", f"restore the file, or {remedy}")
        for case in found.cases
        if "seg" not in case.files and case.files
    ]
    if meant:
        what = f"left out: {plural(len(meant), 'case')} that the release ships without a segmentation"
        problems.append(warning("", Path(meant[0].where).parent, what, remedy))
    return problems


def _examine(found: Found, headers_only: bool, workers: int) -> list[Examined]:
    start = time.monotonic()
    examined = in_parallel(examine_headers, found.cases, "headers read", workers)
    seconds = max(time.monotonic() - start, 1e-3)
    print(f"  headers of {len(examined)} cases read in {seconds:.1f} s ({len(examined) / seconds:.0f} cases/s)")
    whole = [one for one in examined if one.is_sound]
    if whole and not headers_only:
        start = time.monotonic()
        in_parallel(examine_voxels, whole, "cases checked", workers)
        seconds = max(time.monotonic() - start, 1e-3)
        print(f"  voxels of {len(whole)} cases read in {seconds:.1f} s ({len(whole) / seconds:.1f} cases/s)")
    return examined


def _tell_gli_release(path: Path, found: Found, examined: list[Examined]) -> list[Problem]:
    """Find out by visits and labels whether the release is 2023 or 2024."""
    labels = set().union(*(one.labels or () for one in examined))
    release, why = gli_release(found.cases, labels)
    if not release:
        return [error("", path, why, "name it with --release brats2023-gli, brats2024-gli or brats2021")]
    found.release, found.why = release, why
    for one in examined:
        one.case.release = release
    return []
