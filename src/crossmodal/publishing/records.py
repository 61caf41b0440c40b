"""What ran: the rules of the workflow, and the jobs that Snakemake recorded, with their commands and times.

Snakemake keeps one file a job's output below .snakemake/metadata, named after the output in base64. It is read as it
is: a run can then be described where Snakemake is not installed.
"""

import ast
import json
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from pathlib import Path

SHORTEST = 1.0  # seconds. A shorter "job" is one that `snakemake --touch` or `crossmodal restore` marked as done.


@dataclass(frozen=True)
class Rule:
    """A rule that makes files, and its command as the workflow has it, with placeholders."""

    name: str
    command: str

    @property
    def tool(self) -> str:
        """The command's first words, such as "crossmodal cohort check"."""
        return re.match(r"[a-z]+(?: [a-z]+(?:-[a-z]+)*)*", self.command)[0]


@dataclass(frozen=True)
class Job:
    """A job that ran: its rule, its command, its outputs from the root, and its times in seconds since 1970.

    Times are None where Snakemake only marked the outputs as done.
    """

    rule: str
    command: str
    outputs: tuple[str, ...]
    start: float | None
    end: float | None


def rules(snakefile: Path) -> list[Rule]:
    """The rules with an output and a command, in the order in which the Snakefile includes them."""
    included = re.findall(r'^include: "(.+)"$', snakefile.read_text(encoding="utf-8"), re.MULTILINE)
    found = []
    for file in included:
        text = (snakefile.parent / file).read_text(encoding="utf-8")
        for name, body in re.findall(r"^rule (\w+):\n((?:(?:[ \t].*)?\n)*)", text + "\n", re.MULTILINE):
            parts = dict(re.findall(r"^    (\w+):((?:.*\n)(?:(?:        .*)?\n)*)", body, re.MULTILINE))
            if "output" in parts and "shell" in parts:
                found.append(Rule(name, ast.literal_eval(f"({parts['shell'].strip()})")))
    return found


def jobs(root: Path, places: list[Path], names: set[str]) -> list[Job]:
    """The recorded jobs of the rules `names` by their start: those with an output that still is in one of `places`."""
    metadata = root / ".snakemake" / "metadata"
    found: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for file in sorted(path for path in metadata.rglob("*") if path.is_file()):
        record = _record(metadata, file)
        if record is None:
            continue
        output, content = record
        path = root / output
        inside = path.exists() and any(path.is_relative_to(place) for place in places)
        if inside and content.get("rule") in names and content.get("shellcmd") and not content.get("incomplete"):
            times = (content.get("starttime") or 0.0, content.get("endtime") or 0.0)
            found.setdefault((content["rule"], content["shellcmd"]), []).append((output, *times))
    made = []
    for (rule, command), outputs in found.items():
        start, end = min(start for _, start, _ in outputs), max(end for _, _, end in outputs)
        times = (start, end) if start and end - start >= SHORTEST else (None, None)
        made.append(Job(rule, command, tuple(sorted(output for output, _, _ in outputs)), *times))
    return sorted(made, key=lambda job: (job.start or 0.0, job.outputs))


def _record(metadata: Path, file: Path) -> tuple[str, dict] | None:
    """The output that a record is of, and the record; None for a file that is not one."""
    # A name longer than the file system takes is cut into folders that begin with an @.
    name = "".join(part.removeprefix("@") for part in file.relative_to(metadata).parts)
    try:
        return urlsafe_b64decode(name).decode(), json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
