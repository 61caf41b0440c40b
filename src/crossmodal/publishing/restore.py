"""`crossmodal restore`: fetch a published experiment, check every byte, and leave Snakemake nothing to do."""

from pathlib import Path

from crossmodal.errors import UserError
from crossmodal.experiment.config import read_resolved
from crossmodal.experiment.recorded import given_part, refuse_drift
from crossmodal.files import md5_of
from crossmodal.progress import track
from crossmodal.publishing import artefacts, dvc
from crossmodal.publishing.graph import Graph

SHOWN = 20


def restore(experiment: Path, skip: tuple[str, ...] = (), force: bool = False) -> None:
    """Restore what the pointers in `experiment` name.

    Args:
        experiment: results/<experiment>, with its .dvc files, in the repository of the Snakefile.
        skip: groups that are not fetched, such as "preprocessed".
        force: replace files that differ from the published ones.

    Raises:
        UserError: an object is missing or damaged (each is named), local files would be lost, recipes or budget
            have changed since, or Snakemake would still run something.
    """
    root = dvc.repository(experiment)
    outputs = artefacts.published(experiment, skip)
    refuse_drift(experiment)
    cache = dvc.Cache(root)
    fetch(root, cache, outputs)
    pointers = _pointers(outputs)
    try:
        dvc.run(root, "checkout", *(["--force"] if force else []), *pointers)
    except UserError as error:
        raise UserError(
            f"{experiment}: holds files that differ from the published ones; move them away, or give --force to "
            f"replace them:\n{error}"
        ) from None
    entries = verify(cache, outputs)
    print(f"{experiment}: {len(entries)} files restored, every hash as published")
    prove(experiment, Graph(root, given_part(read_resolved(experiment / "config.yaml"))), skip)
    print("snakemake has nothing to do: no training, prediction or scoring would run")


def fetch(root: Path, cache: dvc.Cache, outputs: list[dvc.Output]) -> None:
    """Fetch the objects into the cache, and check that each is there and undamaged.

    An object that is damaged in the cache is deleted and fetched once more.

    Raises:
        UserError: naming what is missing or damaged in the remote.
    """
    fault, damaged_links = None, []
    for _ in range(2):
        try:
            dvc.run(root, "fetch", *_pointers(outputs))
        except UserError as error:
            fault = error  # the list of missing objects says more, if there is one
        missing, damaged = faults(cache, outputs)
        stored = {entry.path: cache.object(entry.md5) for entry in damaged}
        damaged_links += [path for path, place in stored.items() if path.is_file() and path.samefile(place)]
        for place in stored.values():
            place.unlink(missing_ok=True)  # two files may share it
        if not (missing or damaged):
            break
    if missing or damaged:
        missing = [entry for found in missing for entry in _files_of(root, cache, found)]
        raise UserError(_describe(missing, damaged, outputs[0].remote or "the default", fault))
    for path in damaged_links:  # DVC may still believe that these links are up to date
        path.unlink()


def faults(cache: dvc.Cache, outputs: list[dvc.Output]) -> tuple[list[dvc.Entry], list[dvc.Entry]]:
    """Files whose object is not in the cache, and files whose object does not have the hash in its name."""
    missing, damaged = [], []
    entries = [entry for output in outputs for entry in cache.entries(output)]
    for entry in track(entries, "objects checked"):
        if not cache.object(entry.md5).is_file():
            missing.append(entry)
        elif not cache.is_whole(entry.md5):
            damaged.append(entry)
    return missing, damaged


def verify(cache: dvc.Cache, outputs: list[dvc.Output]) -> list[dvc.Entry]:
    """Check that each restored file is the object it should be (a link to it, or the same bytes).

    Raises:
        UserError: naming the files that are not.
    """
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


def prove(experiment: Path, graph: Graph, skip: tuple[str, ...] = ()) -> None:
    """Mark the outputs that are there as fresh, then stop if one is missing or Snakemake would still run a job.

    Raises:
        UserError: listing the files and the jobs.
    """
    # Raw and preprocessed data do not count: Snakemake makes them again when a training needs them.
    outputs = artefacts.needed(graph.outputs(), experiment, (*skip, "preprocessed"))
    graph.mark_fresh([output.path for output in outputs if output.there])
    lines = [f"  {output.path} is not there" for output in outputs if not output.there][:SHOWN]
    due = dict.fromkeys(output.rule for output in graph.outputs() if output.due)
    if due:
        lines.append(f"  snakemake would still run {', '.join(due)}")
    if lines:
        listed = "\n".join(lines)
        raise UserError(
            f"{experiment}: what was published is restored, but it is incomplete:\n{listed}\n"
            "tables/ and figure_data/ come with git: were they committed when it was published?"
        )


def _pointers(outputs: list[dvc.Output]) -> list[Path]:
    return list(dict.fromkeys(output.pointer.resolve() for output in outputs))


def _files_of(root: Path, cache: dvc.Cache, missing: dvc.Entry) -> list[dvc.Entry]:
    """Which files of a folder are missing: DVC fetches its list only after all of them."""
    if not missing.md5.endswith(".dir"):
        return [missing]
    files = [entry for entry in dvc.listed(root, missing.path) if not cache.object(entry.md5).is_file()]
    return files or [missing]


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
            "Publish again on the machine that has the files. If the remote has moved: "
            f"dvc remote modify --local {remote} url NEW"
        )
    if fault:
        parts.append(str(fault))
    return "\n".join(parts) + "\nNothing was restored."


def _lines(entries: list[dvc.Entry]) -> str:
    lines = [f"  {entry.path}: files/md5/{entry.md5[:2]}/{entry.md5[2:]}" for entry in entries[:SHOWN]]
    return "\n".join([*lines, *([f"  and {len(entries) - SHOWN} more"] if len(entries) > SHOWN else [])])
