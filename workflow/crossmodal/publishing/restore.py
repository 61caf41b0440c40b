"""`crossmodal restore`: fetch a published experiment, check every byte, and leave Snakemake nothing to do."""

from collections.abc import Callable
from pathlib import Path

from crossmodal.config import given_part, read_yaml, refuse_drift
from crossmodal.errors import UserError
from crossmodal.files import md5_of
from crossmodal.progress import track
from crossmodal.publishing import artefacts, dvc
from crossmodal.publishing.graph import Graph

SHOWN = 20


def restore(
    experiment: Path,
    workflow: Path,
    remote: str | None = None,
    skip: tuple[str, ...] = (),
    force: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Restore what the pointers in `experiment` name.

    Args:
        experiment: results/<experiment>, with its .dvc files.
        workflow: the folder with schemas/, methods/ and budgets/; the Snakefile lies above it.
        remote: the DVC remote to fetch from; None for the one that the pointers name.
        skip: groups that are not fetched, such as "preprocessed".
        force: replace files that differ from the published ones.
        say: called with a line for the user.

    Raises:
        UserError: an object is missing or damaged (each is named), local files would be lost, this checkout's
            recipes or budgets are others, or Snakemake would still run something.
    """
    root = dvc.repository(experiment)
    outputs = artefacts.published(experiment, skip)
    config = read_yaml(experiment / "config.yaml")
    refuse_drift(config, workflow, experiment)
    fetch(root, outputs, remote)
    pointers = _pointers(outputs)
    try:
        dvc.run(root, "checkout", "--quiet", *(["--force"] if force else []), *pointers)
    except UserError as error:
        raise UserError(
            f"{experiment}: holds files that differ from the published ones; move them away, or give --force to "
            f"replace them:\n{error}"
        ) from None
    entries = verify(root, outputs)
    say(f"{experiment}: {len(entries)} files restored, every hash as published")
    prove(experiment, Graph(workflow.parent, given_part(config, workflow)), workflow.parent)
    say("snakemake has nothing to do: no training, prediction or scoring would run")


def fetch(root: Path, outputs: list[dvc.Output], remote: str | None) -> None:
    """Bring the objects into the cache, and make sure that each is there and whole.

    An object that is damaged in the cache is deleted and fetched once more.

    Raises:
        UserError: naming what is missing or damaged in the remote.
    """
    where = ["--remote", remote] if remote else []
    fault = None
    cache = dvc.Cache(root)
    for last_try in (False, True):
        try:
            dvc.run(root, "fetch", "--quiet", *where, *_pointers(outputs))
        except UserError as error:
            fault = error  # what is missing says it better, where something is
        missing, damaged = faults(cache, outputs)
        for entry in damaged:
            cache.remove(entry.md5)
        if not (missing or damaged) or last_try:
            break
    if missing or damaged:
        raise UserError(_describe(missing, damaged, remote or outputs[0].remote or "the default remote", fault))


def faults(cache: dvc.Cache, outputs: list[dvc.Output]) -> tuple[list[dvc.Entry], list[dvc.Entry]]:
    """Files whose object is not in the cache, and files whose object has other bytes than its name says."""
    missing, damaged = [], []
    entries = [entry for output in outputs for entry in cache.entries(output)]
    for entry in track(entries, "objects checked"):
        if not cache.object(entry.md5).is_file():
            missing.append(entry)
        elif not cache.is_whole(entry.md5):
            damaged.append(entry)
    return missing, damaged


def verify(root: Path, outputs: list[dvc.Output]) -> list[dvc.Entry]:
    """Check that each restored file is the object it should be (a link to it, or the same bytes).

    Raises:
        UserError: naming the files that are not.
    """
    cache = dvc.Cache(root)
    entries = [entry for output in outputs for entry in cache.entries(output) if not entry.md5.endswith(".dir")]
    wrong = [
        entry
        for entry in entries
        if not entry.path.is_file()
        or not (entry.path.samefile(cache.object(entry.md5)) or md5_of(entry.path) == entry.md5)
    ]
    if wrong:
        raise UserError(f"not as published after `dvc checkout`, so restore with --force:\n{_lines(wrong)}")
    return entries


def prove(experiment: Path, graph: Graph, root: Path) -> None:
    """Mark the outputs that are there as fresh, then stop if Snakemake would still run a job.

    Raises:
        UserError: with the jobs.
    """
    folder = experiment.absolute()
    outputs = [(name, (root / name).absolute()) for name in graph.outputs()]
    graph.mark_fresh([name for name, path in outputs if path.exists() and path.is_relative_to(folder)])
    due = graph.jobs_due()
    if due:
        raise UserError(
            f"{experiment}: is restored, but snakemake would still run:\n{due}\n"
            "Were tables/ and figure_data/ committed to git when it was published, and does this checkout hold them?"
        )


def _pointers(outputs: list[dvc.Output]) -> list[Path]:
    return list(dict.fromkeys(output.pointer.resolve() for output in outputs))


def _describe(missing: list[dvc.Entry], damaged: list[dvc.Entry], remote: str, fault: UserError | None) -> str:
    parts = []
    if damaged:
        parts.append(
            f"{len(damaged)} objects in the remote '{remote}' are damaged (their bytes have another hash):\n"
            f"{_lines(damaged)}\nDelete them there, then publish again on the machine that has the files: publishing "
            "sends only what the remote does not have."
        )
    if missing:
        parts.append(
            f"{len(missing)} objects are not in the remote '{remote}':\n{_lines(missing)}\n"
            "Publish again on the machine that has the files, or name another remote with --remote."
        )
    if fault:
        parts.append(str(fault))
    return "\n".join(parts) + "\nNothing was restored."


def _lines(entries: list[dvc.Entry]) -> str:
    lines = [f"  {entry.path}: files/md5/{entry.md5[:2]}/{entry.md5[2:]}" for entry in entries[:SHOWN]]
    return "\n".join([*lines, *([f"  and {len(entries) - SHOWN} more"] if len(entries) > SHOWN else [])])
