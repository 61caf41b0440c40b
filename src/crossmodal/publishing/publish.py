"""`crossmodal publish`: put an experiment's heavy artefacts under DVC and push them to a remote."""

from pathlib import Path

import pandas as pd

from crossmodal.errors import UserError, nearest
from crossmodal.experiment.config import read_resolved
from crossmodal.experiment.recorded import given_part
from crossmodal.files import md5_of, write_json
from crossmodal.progress import track
from crossmodal.publishing import artefacts, cards, dvc, remotes
from crossmodal.publishing.graph import Graph

SHOWN = 20


def publish(experiment: Path, remote: str | None = None, preprocessed: bool | None = None) -> None:
    """Publish an experiment. Publishing the same files again gives the same pointers and sends nothing.

    Args:
        experiment: results/<experiment>, whose run is finished, in the repository of the Snakefile.
        remote: a DVC remote's name, a folder or a URL; None for the default remote.
        preprocessed: whether the preprocessed data go too; None for what the experiment's config says.

    Raises:
        UserError: the run is not finished, or DVC or the remote refuses.
    """
    root = dvc.repository(experiment)
    if not (experiment / "config.yaml").is_file():
        others = [path.parent.name for path in experiment.parent.glob("*/config.yaml")]
        hint = nearest(experiment.name, others)
        raise UserError(f"{experiment}: is not an experiment (it has no config.yaml): {hint}")
    config = read_resolved(experiment / "config.yaml")
    whole = config.publish_preprocessed if preprocessed is None else preprocessed
    skip = () if whole else ("preprocessed",)
    needed = artefacts.needed(Graph(root, given_part(config)).outputs(), experiment, skip)
    unfinished = [f"  {output.rule}: {output.path}" for output in needed if output.due or not output.there]
    if unfinished:
        lines = "\n".join(unfinished[:SHOWN])
        raise UserError(
            f"{experiment}: is not finished; snakemake still has to make:\n{lines}\nFinish it, then publish."
        )
    name, url = remotes.choose(root, remote)
    cards.write_cards(experiment)
    write_json(experiment / "metrics.json", metrics(experiment))
    groups = {group: parts for group, parts in artefacts.GROUPS.items() if group not in skip}
    pointers = {experiment / f"{group}.dvc": parts for group, parts in groups.items()}
    paths = [experiment / part for parts in groups.values() for part in parts]
    cache = dvc.Cache(root)
    drop_damaged(cache, paths)
    with artefacts.unmoved_times(paths):
        dvc.commit(pointers, name, root)
    print(f"pushing to {name} ({url})")
    dvc.run(root, "push", "--remote", name, *(pointer.resolve() for pointer in pointers))
    outputs = {pointer: dvc.read_pointer(pointer) for pointer in pointers}
    hashes = [entry.md5 for found in outputs.values() for output in found for entry in cache.entries(output)]
    again = dvc.send_missing(root, name, cache, hashes)
    if again:
        print(f"{len(again)} objects were missing in {name} and were sent again")
    for pointer, found in outputs.items():
        print(f"{pointer}: {sum(one.files for one in found)} files, {sum(one.size for one in found) / 1e6:.1f} MB")
    kept = [str(experiment / part) for part in artefacts.IN_GIT if (experiment / part).exists()]
    print("Now commit the pointers and what belongs in git:")
    print(f"  git add .dvc/config {' '.join([*kept, *map(str, pointers)])}")
    print(f"  git commit -m 'Publish {experiment.name}'")


def drop_damaged(cache: dvc.Cache, paths: list[Path]) -> None:
    """Delete cache objects that are named after one of our files and hold other bytes.

    DVC would replace the file by a link to such an object, and push it.
    """
    files = [file for path in paths for file in dvc.files_below(path)]
    for file in track(files, "files hashed"):
        md5 = md5_of(file)
        stored = cache.object(md5)
        if stored.exists() and not stored.samefile(file) and not cache.is_whole(md5):
            print(f"{stored}: was damaged in DVC's cache; made again from {file}")
            stored.unlink()


def metrics(experiment: Path) -> dict:
    """tables/summary.csv as nested values, for `dvc metrics show` and `dvc metrics diff`."""
    nested: dict = {}
    table = pd.read_csv(experiment / "tables" / "summary.csv")
    columns = [name for name in ("dice_mean", "hd95_mean_mm") if name in table]
    for row in table.to_dict("records"):
        place = nested
        for key in ("cohort", "method", "modalities"):
            place = place.setdefault(str(row[key]), {})
        place[str(row["region"])] = {name: row[name] for name in columns if row[name] == row[name]}
    return nested
