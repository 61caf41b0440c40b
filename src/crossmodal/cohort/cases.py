"""A case on its way from a folder to a row of cases.csv, and the names that cases and cohorts may have."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from crossmodal.cohort.problems import Problem
from crossmodal.errors import UserError

LONGEST_NAME = 120


@dataclass
class Case:
    """One examination: a file (or `file#channel`) for each modality, and a segmentation if there is one."""

    name: str
    patient: str
    release: str  # whose labels the segmentation speaks; "" until it is known
    files: dict[str, str] = field(default_factory=dict)  # modality or "seg" -> as in cases.csv
    grade: str = ""  # HGG, LGG or unknown
    where: str = ""  # folder or table row that it was found in, for messages
    unlabelled_by_design: bool = False  # a release's validation or test part: it has no segmentation to miss


@dataclass
class Found:
    """What reading a folder or a table gave."""

    release: str  # "" while BraTS-GLI names leave 2023 or 2024 open
    why: str
    cases: list[Case]
    problems: list[Problem]
    notes: list[str] = field(default_factory=list)
    mappings: list[Path] = field(default_factory=list)  # name_mapping.csv, where the release ships it


def name_fault(name: str) -> str | None:
    """Why a case or patient cannot bear this name, or None: it will be a file's name (never part of a shell line)."""
    if not name.strip():
        return "is empty"
    if name != name.strip():
        return "begins or ends with a space"
    if re.search(r"[/\\]", name) or name.startswith("."):
        return "would lead out of its folder (a / or \\ in it, or a dot in front)"
    if name.startswith("-"):
        return "begins with a dash, as options do"
    if "\ufffd" in name or not _is_utf8(name):
        return "is not valid UTF-8"
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name):
        return "has a line break or another control character"
    if len(name.encode()) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    return None


def require_cohort_name(name: str) -> str:
    """A cohort's name, which folders of results will bear.

    Raises:
        UserError: it is anything but letters, digits, dots, dashes and underscores.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", name):
        raise UserError(f"the cohort name '{name}' will not do: use letters, digits, '.', '-' and '_', as in brats2021")
    return name


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
