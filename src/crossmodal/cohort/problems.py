"""What is wrong with a cohort: one row a problem, each with its remedy."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from crossmodal.cohort.csv_text import write_csv

ERROR, WARNING = "error", "warning"
SHOWN_AT_MOST = 20


@dataclass(frozen=True)
class Problem:
    """A row of problems.csv. `case` is empty if the whole cohort is meant; only errors stop a run."""

    case: str
    file: str
    severity: str
    problem: str
    remedy: str


class BadFileError(Exception):
    """One file cannot be used; its arguments are what is wrong with it, and the remedy."""


def error(case: str, file: object, problem: str, remedy: str) -> Problem:
    """A row that stops a run; the fields are those of `Problem`."""
    return Problem(case, str(file), ERROR, problem, remedy)


def warning(case: str, file: object, problem: str, remedy: str) -> Problem:
    """A row that does not stop a run; the fields are those of `Problem`."""
    return Problem(case, str(file), WARNING, problem, remedy)


def extra_file(case: str, file: object) -> Problem:
    """A warning about a file that is not used."""
    return warning(case, file, "is an extra file, and is not used", "nothing to do if it is meant to be there")


def errors_in(problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == ERROR]


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write problems.csv, errors first, then by case and file; atomically."""
    rows = sorted(problems, key=lambda p: (p.severity != ERROR, p.case, p.file, p.problem))
    cells = [{name: printable(text) for name, text in asdict(row).items()} for row in rows]
    write_csv(path, tuple(Problem.__dataclass_fields__), cells)


def lines_of(problems: Iterable[Problem]) -> list[str]:
    """The problems for a terminal: errors first, equal ones counted in one line, at most a screenful."""
    alike: dict[Problem, list[Problem]] = {}
    for problem in problems:
        alike.setdefault(replace(problem, case="", file=""), []).append(problem)
    lines = []
    for kind, members in sorted(alike.items(), key=lambda item: item[0].severity != ERROR):
        where = members[0].file or members[0].case or "cohort"
        more = f" and {len(members) - 1} more" if len(members) > 1 else ""
        lines.append(f"{kind.severity}: {where}{more}: {kind.problem}; {kind.remedy}")
    if len(lines) > SHOWN_AT_MOST:
        hidden = len(lines) - SHOWN_AT_MOST
        lines = [*lines[:SHOWN_AT_MOST], f"... and {hidden} more: all of them are in problems.csv"]
    return [printable(line) for line in lines]


def printable(text: str) -> str:
    """The text with line breaks, control characters and bytes that are not UTF-8 escaped."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
