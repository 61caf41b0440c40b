"""A case on its way from a folder to a row of cases.csv, and the names that cases and cohorts may have."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from crossmodal.cohort.problems import Problem
from crossmodal.errors import UserError

LONGEST_NAME = 120


@dataclass
class Case:
    """One examination: a file (or `file#channel`) for each modality, and a segmentation if it has one."""

    name: str
    patient: str
    release: str  # whose label values the segmentation uses; "" until it is known
    files: dict[str, str] = field(default_factory=dict)  # modality or "seg" -> as in cases.csv
    grade: str = ""  # HGG, LGG or unknown
    where: str = ""  # its folder or line of a table, for messages
    unlabelled_by_design: bool = False  # of a release's validation or test part


@dataclass
class Found:
    """What was read from a folder or a table."""

    release: str  # "" if BraTS-GLI names could be of 2023 or 2024
    why: str
    cases: list[Case]
    problems: list[Problem]
    notes: list[str] = field(default_factory=list)
    mappings: list[Path] = field(default_factory=list)  # name_mapping.csv, which some releases ship


def name_fault(name: str) -> str | None:
    """Why a case or patient cannot have this name, which becomes part of a file's name; None if it can."""
    if not name.strip():
        return "is empty"
    if name != name.strip():
        return "begins or ends with a space"
    if re.search(r"[/\\]", name) or name.startswith("."):
        return "would lead out of its folder (it has a / or \\, or begins with a dot)"
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
    """The name of a cohort, which folders of results are named by; returned as given.

    Raises:
        UserError: it has other characters than letters, digits, dots, dashes and underscores.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", name):
        raise UserError(f"the cohort name '{name}' is not allowed: use letters, digits, '.', '-' and '_'")
    return name


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
