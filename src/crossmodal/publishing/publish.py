"""`crossmodal publish`: put an experiment's heavy artefacts under DVC and push them to a remote."""

from collections.abc import Callable
from pathlib import Path

from crossmodal.experiment.config import given_part, read_yaml
from crossmodal.errors import UserError
from crossmodal.files import md5_of, write_json
from crossmodal.progress import track
from crossmodal.publishing import artefacts, cards, dvc, remotes
from crossmodal.publishing.graph import Graph

SHOWN = 20


def publish(
    experiment: Path,
    workflow: Path,
    remote: str | None = None,
    preprocessed: bool | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Publish an experiment; equal artefacts publish to equal pointers, and only what is new is sent.

    Args:
        experiment: results/<experiment>, whose run is finished.
        workflow: the folder with schemas/ and report/ (the template of model cards, the terms of the data).
        remote: a DVC remote's name, a folder or a URL; None for the default remote.
        preprocessed: whether the preprocessed data go too; None for what the experiment's config says.
        say: called with a line for the user.

    Returns:
        The pointers, which belong into git.

    Raises:
        UserError: the run is not finished, or DVC or the remote refuses.
    """
    root = dvc.repository(experiment)
    groups = ["models", "predictions", "record"]
    artefacts.require_finished(experiment, groups)
    config = read_yaml(experiment / "config.yaml")
    if preprocessed or (preprocessed is None and config.get("publish_preprocessed")):
        groups.append("preprocessed")
        artefacts.require_finished(experiment, groups)
    graph = Graph(workflow.parent, given_part(config, workflow))
    unfinished = [output for output in artefacts.needed(graph.outputs(), experiment) if output.due or not output.there]
    if unfinished:
        lines = "\n".join(f"  {output.rule}: {output.path}" for output in unfinished[:SHOWN])
        raise UserError(
            f"{experiment}: is not finished; snakemake has still to make:\n{lines}\nFinish it, then publish."
        )
    name, url = remotes.choose(root, remote)
    cards.write_cards(experiment, workflow / "report")
    write_json(experiment / "metrics.json", metrics(experiment))
    pointers = {artefacts.pointer_of(experiment, group): artefacts.GROUPS[group] for group in groups}
    cache = dvc.Cache(root)
    paths = [experiment / part for group in groups for part in artefacts.GROUPS[group]]
    drop_damaged(cache, paths, say)
    with artefacts.unmoved_times(paths):
        dvc.commit(pointers, name, root)
    say(f"pushing to {name} ({url})")
    dvc.run(root, "push", "--remote", name, *(pointer.resolve() for pointer in pointers))
    outputs = {pointer: dvc.read_pointer(pointer) for pointer in pointers}
    hashes = [entry.md5 for found in outputs.values() for output in found for entry in cache.entries(output)]
    again = dvc.send_missing(root, name, cache, hashes)
    if again:
        say(f"{len(again)} objects had gone from {name} and were sent again")
    for pointer, found in outputs.items():
        say(f"{pointer}: {sum(one.files for one in found)} files, {sum(one.size for one in found) / 1e6:.1f} MB")
    kept = [str(experiment / part) for part in artefacts.IN_GIT if (experiment / part).exists()]
    say("Now commit what points there:")
    say(f"  git add .dvc/config {' '.join([*kept, *map(str, pointers)])}")
    say(f"  git commit -m 'Publish {experiment.name}'")
    return list(pointers)


def drop_damaged(cache: dvc.Cache, paths: list[Path], say: Callable[[str], None]) -> None:
    """Delete objects of the cache that bear the hash of one of our files and hold other bytes.

    DVC would take such an object for the file, link it in the file's place and push it.
    """
    files = [file for path in paths for file in dvc.files_below(path)]
    for file in track(files, "files hashed"):
        md5 = md5_of(file)
        stored = cache.object(md5)
        if stored.exists() and not stored.samefile(file) and not cache.is_whole(md5):
            say(f"{stored}: was damaged in DVC's cache; made again from {file}")
            cache.remove(md5)


def metrics(experiment: Path) -> dict:
    """tables/summary.csv as nested values, for `dvc metrics show` and `dvc metrics diff`."""
    import pandas as pd

    nested: dict = {}
    table = pd.read_csv(experiment / "tables" / "summary.csv")
    columns = [name for name in ("dice_mean", "hd95_mean_mm") if name in table]
    for row in table.to_dict("records"):
        place = nested
        for key in ("cohort", "method", "modalities"):
            place = place.setdefault(str(row[key]), {})
        place[str(row["region"])] = {name: row[name] for name in columns if row[name] == row[name]}
    return nested
