"""A case and a cohort on their way from a folder to rows of cases.csv, and the names that they may have."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.cohort.problems import Problem, error, warning
from crossmodal.cohort.volumes import split_spec
from crossmodal.domain import MODALITIES, regions_of
from crossmodal.errors import UserError

if TYPE_CHECKING:
    from crossmodal.cohort.headers import Header
    from crossmodal.cohort.voxels import ImageFacts

LONGEST_NAME = 120
_NAME_FAULTS = {
    r"^\s*$": "is empty",
    r"^\s|\s$": "begins or ends with a space",
    r"[/\\]|^\.": "would lead out of its folder (it has a / or \\, or begins with a dot)",
    r"^-": "begins with a dash, as options do",
    r"[\ud800-\udfff\ufffd]": "is not valid UTF-8",
    r"[\x00-\x1f\x7f-\x9f]": "has a line break or another control character",
}


@dataclass(eq=False)
class Case:
    """One examination: a file (or `file#channel`) for each modality and the segmentation, and what they hold."""

    name: str
    patient: str
    release: str  # whose label values the segmentation uses; "" until it is known
    files: dict[str, str] = field(default_factory=dict)  # modality or "seg" -> as in cases.csv
    grade: str = ""  # HGG, LGG or unknown
    where: str = ""  # its folder or line of a table, for messages
    unlabelled_by_design: bool = False  # of a release's validation or test part
    problems: list[Problem] = field(default_factory=list)
    headers: dict[Path, "Header"] = field(default_factory=dict)  # until the voxels are read
    images: dict[str, "ImageFacts"] = field(default_factory=dict)
    labels: frozenset[int] | None = None  # None: no segmentation, or one that cannot be read
    hashes: dict[Path, str] = field(default_factory=dict)

    def error(self, problem: str, remedy: str, file: object = "") -> None:
        """Note what leaves the case out, in one of its files or as a whole."""
        self.problems.append(error(self.name, file or self.where, problem, remedy))

    def warn(self, problem: str, remedy: str, file: object = "") -> None:
        """Note what does not leave the case out, in one of its files or as a whole."""
        self.problems.append(warning(self.name, file or self.where, problem, remedy))

    @property
    def sha256(self) -> str:
        """SHA-256 over the files' SHA-256 (hexadecimal, joined) in the order t1, t1ce, t2, flair, seg."""
        files = [split_spec(self.files[column])[0] for column in (*MODALITIES, "seg") if column in self.files]
        return hashlib.sha256("".join(self.hashes[file] for file in files).encode()).hexdigest()

    @property
    def is_et_free(self) -> bool:
        """Whether the segmentation has no enhancing tumour."""
        return not set(regions_of(self.release)["ET"]) & (self.labels or set())


@dataclass
class Cohort:
    """The cases of a folder or a table."""

    release: str  # "" if BraTS-GLI names could be of 2023 or 2024
    why: str
    cases: list[Case]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mappings: list[Path] = field(default_factory=list)  # name_mapping.csv, which some releases ship
    name: str = ""
    path: Path = Path()


def name_fault(name: str) -> str | None:
    """Why a case or patient cannot have this name, which becomes part of a file's name; None if it can."""
    for pattern, fault in _NAME_FAULTS.items():
        if re.search(pattern, name):
            return fault
    return f"is longer than {LONGEST_NAME} bytes" if len(name.encode()) > LONGEST_NAME else None


def require_cohort_name(name: str) -> str:
    """The name of a cohort, which folders of results are named by; returned as given.

    Raises:
        UserError: it has other characters than letters, digits, dots, dashes and underscores.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", name):
        raise UserError(f"the cohort name '{name}' is not allowed: use letters, digits, '.', '-' and '_'")
    return name
