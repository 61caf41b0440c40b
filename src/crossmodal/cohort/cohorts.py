"""One cohort, read and checked: its release, what each case holds, and what is wrong."""

import re
from dataclasses import dataclass
from pathlib import Path

from crossmodal.cohort.cases import Cohort, require_cohort_name
from crossmodal.cohort.checks import check_duplicates, check_labels, examine, examine_headers, examine_voxels
from crossmodal.cohort.problems import error, printable, warning
from crossmodal.cohort.releases import find_cases, gli_release
from crossmodal.device import available_cores
from crossmodal.domain import regions_of
from crossmodal.errors import UserError
from crossmodal.wording import plural


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


def read_cohort(path: Path, release: str, name: str | None, options: Options) -> Cohort:
    """Find the cases at `path`, examine every file and collect the problems; print which release it is and why.

    Args:
        path, release: see `find_cases`.
        name: the cohort's name; by default its release, or for a table the name of its folder.
        options: `predict_unlabelled`, `headers_only` and `workers` are heeded.

    Raises:
        UserError: see `find_cases`; or no case has a segmentation, and none is kept without.
    """
    workers = options.workers or available_cores()
    cohort = find_cases(path, release)
    cohort.path = path
    if not options.predict_unlabelled:
        _leave_out_unlabelled(cohort)
    if not cohort.cases:
        raise UserError(f"{path}: no case has a segmentation; give --predict-unlabelled to predict them")
    if cohort.release:
        _print_release(cohort)
    examine(examine_headers, cohort.cases, "headers", workers)
    whole = [case for case in cohort.cases if case.headers]
    if whole and not options.headers_only:
        examine(examine_voxels, whole, "voxels", workers)
    if not cohort.release and not options.headers_only:
        cohort.release, why = gli_release(cohort.cases)
        if cohort.release:
            cohort.why = why
            for case in cohort.cases:
                case.release = cohort.release
        else:
            remedy = "name it with --release brats2023-gli, brats2024-gli or brats2021"
            cohort.problems.append(error("", path, why, remedy))
        _print_release(cohort)
    for case in cohort.cases:
        check_labels(case)
    check_duplicates(cohort.cases)
    cohort.problems += [problem for case in cohort.cases for problem in case.problems]
    cohort.name = require_cohort_name(name or _default_name(cohort))
    return cohort


def _print_release(cohort: Cohort) -> None:
    for note in (f"{cohort.path}: read as {cohort.release or 'BraTS-GLI'}: {cohort.why}", *cohort.notes):
        print(printable(note))
    if cohort.release not in ("", "table"):
        regions = (f"{region} {'+'.join(map(str, values))}" for region, values in regions_of(cohort.release).items())
        print(f"  labels: {', '.join(regions)}")


def _default_name(cohort: Cohort) -> str:
    if cohort.release not in ("", "table"):
        return cohort.release
    path = cohort.path.resolve()
    folder = path.parent.name if path.is_file() else path.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder).strip("-._")[:60] or "table"


def _leave_out_unlabelled(cohort: Cohort) -> None:
    """Leave out a release's unlabelled part; other cases without labels are errors."""
    remedy = "give --predict-unlabelled to predict them"
    unlabelled = [case for case in cohort.cases if "seg" not in case.files]
    meant = [case for case in unlabelled if case.unlabelled_by_design]
    for case in unlabelled:
        if case.files and case not in meant:
            case.error("has no segmentation", f"restore the file, or {remedy}")
    if meant:
        cohort.cases = [case for case in cohort.cases if case not in meant]
        cohort.problems += [problem for case in meant for problem in case.problems]
        what = f"left out: {plural(len(meant), 'case')} that the release ships without a segmentation"
        cohort.problems.append(warning("", Path(meant[0].where).parent, what, remedy))
