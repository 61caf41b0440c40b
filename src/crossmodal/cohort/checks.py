"""Every case is checked before any training: first all headers, then every voxel of the cases that pass.

Threads are enough, since hashing, unzipping and numpy release Python's lock.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from crossmodal.cohort.cases import Case
from crossmodal.cohort.headers import GEOMETRY_TOLERANCE, Header, read_header
from crossmodal.cohort.problems import BadFileError, error, errors_in
from crossmodal.cohort.volumes import split_spec
from crossmodal.cohort.voxels import image_facts, label_values, read_voxels
from crossmodal.domain import MODALITIES, RELEASES, labels_of, regions_of
from crossmodal.progress import track

CHANNELS = len(MODALITIES)


def examine(step: Callable[[Case], None], cases: list[Case], what: str, workers: int) -> None:
    """Call `step`, which reads `what` of a case, for every case by `workers` threads; print how long it took."""
    start = time.monotonic()
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        for _ in track(pool.map(step, cases), f"{what} read", total=len(cases)):
            pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # an interrupt does not wait for the queue
    seconds = max(time.monotonic() - start, 1e-3)
    print(f"  {what} of {len(cases)} cases read in {seconds:.1f} s ({len(cases) / seconds:.1f} cases/s)")


def examine_headers(case: Case) -> None:
    """Read the headers of a case's files and compare them with one another; keep them if they are sound."""
    of_column: dict[str, Header] = {}
    before = len(case.problems)
    for column, spec in case.files.items():
        path, channel = split_spec(spec)
        try:
            if path not in case.headers:
                case.headers[path] = read_header(path)
                for problem, remedy in case.headers[path].remarks:
                    case.warn(problem, remedy, path)
            _require_dimensions(case.headers[path], channel)
            of_column[column] = case.headers[path]
        except BadFileError as fault:
            row = error(case.name, path, *fault.args)
            if row not in case.problems:  # the channels of a 4D file have the same ones
                case.problems.append(row)
    _compare_geometries(case, of_column)
    if errors_in(case.problems[before:]):
        case.headers = {}


def examine_voxels(case: Case) -> None:
    """Read every file of a case whose headers are sound, once: for its hash and to check its voxels."""
    for path, header in case.headers.items():
        try:
            voxels, case.hashes[path] = read_voxels(path, header)
        except BadFileError as fault:
            case.error(*fault.args, path)
            continue
        for column, spec in case.files.items():
            file, channel = split_spec(spec)
            if file != path:
                continue
            volume = voxels if channel is None else voxels[..., channel]
            try:
                if column == "seg":
                    case.labels = label_values(volume)
                else:
                    case.images[column] = image_facts(volume, header.affine)
            except BadFileError as fault:
                case.error(*fault.args, spec)
    case.headers = {}
    _check_images(case)


def check_labels(case: Case) -> None:
    """Whether a segmentation has the labels of its release, and a tumour at all."""
    if case.labels is None or not case.release:
        return
    legal = labels_of(case.release)
    if not case.labels <= legal:
        fitting = ", ".join(name for name in RELEASES if case.labels <= labels_of(name))
        what = (
            f"has labels {sorted(case.labels - legal)}, where {case.release} has {', '.join(map(str, sorted(legal)))}"
        )
        named = f"they are labels of {fitting}: name the right one with --release"
        case.error(what, named if fitting else "check which file this is", case.files["seg"])
    elif not case.labels & set(regions_of(case.release)["WT"]):
        case.warn("is empty: no voxel of a tumour", "check it in a viewer", case.files["seg"])


def check_duplicates(cases: Iterable[Case]) -> None:
    """Cases of one cohort with the same image: one patient would be counted twice, or be in two parts of the split."""
    owner: dict[str, str] = {}
    for case in sorted(cases, key=lambda case: case.name):
        shared: dict[str, list[str]] = {}
        for modality in MODALITIES:
            facts = case.images.get(modality)
            if facts and owner.setdefault(facts.content, case.name) != case.name:
                shared.setdefault(owner[facts.content], []).append(modality)
        for other, modalities in shared.items():
            case.error(f"is a duplicate of {other} by content ({', '.join(modalities)})", "keep one of the two")


def _require_dimensions(header: Header, channel: int | None) -> None:
    shape = _times(header.shape)
    if channel is None and len(header.shape) != 3:
        raise BadFileError(f"is {len(header.shape)}D ({shape}) where 3D is expected", "split it into 3D files")
    if channel is not None and header.shape[3:] != (CHANNELS,):
        what = f"has dimensions {shape}, where 4D with {CHANNELS} channels is expected"
        raise BadFileError(what, "unpack the release again")


def _compare_geometries(case: Case, of_column: dict[str, Header]) -> None:
    """Name the files whose shape or affine is not that of most files of their case."""
    shapes = Counter(header.shape[:3] for header in of_column.values())
    if not shapes:
        return
    usual, _ = shapes.most_common(1)[0]
    alike = {column: header for column, header in of_column.items() if header.shape[:3] == usual}
    votes = {column: sum(_same_place(one, other) for other in alike.values()) for column, one in alike.items()}
    reference = max(votes, key=votes.__getitem__)
    for column, header in of_column.items():
        if column not in alike:
            what = f"is {_times(header.shape[:3])}, where the case's other files are {_times(usual)}"
            case.error(what, "resample all files of a case to one grid", case.files[column])
        elif not _same_place(header, alike[reference]):
            what = f"has another affine than {Path(case.files[reference]).name}: it is shifted or turned"
            case.error(what, "register and resample it to the others' grid", case.files[column])


def _same_place(one: Header, two: Header) -> bool:
    return np.allclose(one.affine, two.affine, rtol=1e-5, atol=GEOMETRY_TOLERANCE)


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _check_images(case: Case) -> None:
    first: dict[str, str] = {}
    for modality, facts in case.images.items():
        for problem, remedy in facts.remarks:
            case.warn(problem, remedy, case.files[modality])
        twin = first.setdefault(facts.content, modality)
        if twin != modality:
            remedy = f"replace one by the right file (compare {case.files[twin]})"
            case.error(f"{modality} and {twin} are the same image", remedy, case.files[modality])
