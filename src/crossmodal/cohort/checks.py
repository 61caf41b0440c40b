"""Every case is checked before any training: first all headers, then every voxel of the cases that pass.

Threads are enough, since hashing, unzipping and numpy release Python's lock.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from crossmodal.cohort.cases import Case
from crossmodal.cohort.headers import GEOMETRY_TOLERANCE, Header, read_header
from crossmodal.cohort.problems import ERROR, BadFileError, Problem, error, warning
from crossmodal.cohort.volumes import split_spec
from crossmodal.cohort.voxels import ImageFacts, image_facts, label_values, read_voxels
from crossmodal.domain import MODALITIES, RELEASES, labels_of, regions_of
from crossmodal.progress import track

CHANNELS = len(MODALITIES)
Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclass
class Examined:
    """A case with what was found in its files."""

    case: Case
    problems: list[Problem] = field(default_factory=list)
    headers: dict[Path, Header] = field(default_factory=dict)
    images: dict[str, ImageFacts] = field(default_factory=dict)
    labels: frozenset[int] | None = None  # None: no segmentation, or one that cannot be read
    hashes: dict[Path, str] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        return not any(problem.severity == ERROR for problem in self.problems)

    @property
    def sha256(self) -> str:
        """SHA-256 over the files' SHA-256 (hexadecimal, joined) in the order t1, t1ce, t2, flair, seg."""
        files = [split_spec(self.case.files[c])[0] for c in (*MODALITIES, "seg") if c in self.case.files]
        return hashlib.sha256("".join(self.hashes[file] for file in files).encode()).hexdigest()

    @property
    def is_et_free(self) -> bool:
        """Whether the segmentation has no enhancing tumour."""
        return not set(regions_of(self.case.release)["ET"]) & (self.labels or set())


def in_parallel(function: Callable[[Item], Result], items: list[Item], what: str, workers: int) -> list[Result]:
    """function(item) for every item by `workers` threads, in the items' order, with progress."""
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        return list(track(pool.map(function, items), what, total=len(items)))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # an interrupt does not wait for the queue


def examine_headers(case: Case) -> Examined:
    """Read the headers of a case's files and compare them with one another."""
    examined = Examined(case)
    of_column: dict[str, Header] = {}
    for column, spec in case.files.items():
        path, channel = split_spec(spec)
        try:
            if path not in examined.headers:
                examined.headers[path] = read_header(path)
                for problem, remedy in examined.headers[path].remarks:
                    examined.problems.append(warning(case.name, path, problem, remedy))
            header = examined.headers[path]
            _require_dimensions(header, channel)
            of_column[column] = header
        except BadFileError as fault:
            row = error(case.name, path, fault.problem, fault.remedy)
            if row not in examined.problems:  # the channels of a 4D file have the same ones
                examined.problems.append(row)
    examined.problems += _differing_geometries(case, of_column)
    return examined


def examine_voxels(examined: Examined) -> Examined:
    """Read every file of a case once, for its hash and to check its voxels; `examined` is changed and returned."""
    case = examined.case
    for path, header in examined.headers.items():
        columns = [column for column, spec in case.files.items() if split_spec(spec)[0] == path]
        try:
            voxels, examined.hashes[path] = read_voxels(path, header)
        except BadFileError as fault:
            examined.problems.append(error(case.name, path, fault.problem, fault.remedy))
            continue
        for column in columns:
            channel = split_spec(case.files[column])[1]
            volume = voxels if channel is None else voxels[..., channel]
            try:
                if column == "seg":
                    examined.labels = label_values(volume)
                else:
                    examined.images[column] = image_facts(volume, header.affine)
            except BadFileError as fault:
                examined.problems.append(error(case.name, case.files[column], fault.problem, fault.remedy))
    examined.headers = {}
    examined.problems += _impossible_images(case, examined.images)
    return examined


def check_labels(examined: Examined) -> list[Problem]:
    """Whether a segmentation has the labels of its release, and a tumour at all."""
    case = examined.case
    if examined.labels is None:
        return []
    unknown = examined.labels - labels_of(case.release)
    if unknown:
        fitting = [name for name in RELEASES if examined.labels <= labels_of(name)]
        remedy = "check which file this is"
        if fitting:
            remedy = f"they are labels of {', '.join(fitting)}: name the right one with --release"
        legal = ", ".join(map(str, sorted(labels_of(case.release))))
        what = f"has labels {sorted(unknown)}, where {case.release} has {legal}"
        return [error(case.name, case.files["seg"], what, remedy)]
    if not examined.labels & set(regions_of(case.release)["WT"]):
        return [warning(case.name, case.files["seg"], "is empty: no voxel of a tumour", "check it in a viewer")]
    return []


def check_duplicates(cohort: Iterable[Examined]) -> list[Problem]:
    """Cases of one cohort with the same image: one patient would be counted twice, or be in two parts of the split."""
    owner: dict[str, str] = {}
    problems = []
    for examined in sorted(cohort, key=lambda one: one.case.name):
        shared: dict[str, list[str]] = {}
        for modality in MODALITIES:
            facts = examined.images.get(modality)
            if facts is not None and not facts.is_blank:
                other = owner.setdefault(facts.content, examined.case.name)
                if other != examined.case.name:
                    shared.setdefault(other, []).append(modality)
        for other, modalities in shared.items():
            what = f"is a duplicate of {other} by content ({', '.join(modalities)})"
            problems.append(error(examined.case.name, examined.case.where, what, "keep one of the two"))
    return problems


def _require_dimensions(header: Header, channel: int | None) -> None:
    shape = _times(header.shape)
    if channel is None and len(header.shape) != 3:
        raise BadFileError(f"is {len(header.shape)}D ({shape}) where 3D is expected", "split it into 3D files")
    if channel is not None and header.shape[3:] != (CHANNELS,):
        raise BadFileError(
            f"has dimensions {shape}, where 4D with {CHANNELS} channels is expected", "unpack the release again"
        )


def _differing_geometries(case: Case, of_column: dict[str, Header]) -> list[Problem]:
    """The files whose shape or affine is not that of most files of their case."""
    if len(of_column) < 2:
        return []
    problems = []
    usual, _ = Counter(header.shape[:3] for header in of_column.values()).most_common(1)[0]
    alike = {}
    for column, header in of_column.items():
        if header.shape[:3] == usual:
            alike[column] = header
            continue
        what = f"is {_times(header.shape[:3])}, where the case's other files are {_times(usual)}"
        problems.append(error(case.name, case.files[column], what, "resample all files of a case to one grid"))
    agree = {column: [_same_place(one.affine, two.affine) for two in alike.values()] for column, one in alike.items()}
    if not alike:
        return problems
    reference = max(agree, key=lambda column: sum(agree[column]))
    for column, header in alike.items():
        if not _same_place(header.affine, alike[reference].affine):
            what = f"has another affine than {Path(case.files[reference]).name}: it is shifted or turned"
            problems.append(error(case.name, case.files[column], what, "register and resample it to the others' grid"))
    return problems


def _same_place(one: np.ndarray, two: np.ndarray) -> bool:
    return np.allclose(one, two, rtol=1e-5, atol=GEOMETRY_TOLERANCE)


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _impossible_images(case: Case, images: dict[str, ImageFacts]) -> list[Problem]:
    problems = []
    first: dict[str, str] = {}
    for modality, facts in images.items():
        file = case.files[modality]
        if facts.is_blank:
            problems.append(error(case.name, file, f"{modality} is 0 everywhere", "export this modality again"))
            continue
        twin = first.setdefault(facts.content, modality)
        if twin != modality:
            what = f"{modality} and {twin} are the same image"
            problems.append(error(case.name, file, what, f"replace one by the right file (compare {case.files[twin]})"))
    heads = [modality for modality, facts in images.items() if facts.looks_like_a_head]
    if heads:
        what = f"is not skull-stripped, or its background is not 0 ({', '.join(heads)})"
        remedy = "strip the skull (with HD-BET, for instance) and set the background to 0"
        problems.append(warning(case.name, case.where, what, remedy))
    return problems
