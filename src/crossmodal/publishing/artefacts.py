"""Which files of an experiment go into DVC, in groups: one pointer (`.dvc` file) each.

git ignores the folders of artefacts, and DVC refuses a pointer in an ignored folder, so the pointers lie in
results/<experiment>/ itself. The other files of that folder belong to git.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossmodal.errors import UserError, nearest
from crossmodal.publishing import dvc
from crossmodal.publishing.graph import Output

GROUPS = {
    "models": ("models",),
    "predictions": ("predictions",),
    # What Snakemake reads to decide that there is nothing to do.
    "record": ("cohort", "scores", "figures", "report.html", "nnunet/manifest.json"),
    "preprocessed": ("nnunet/preprocessed",),
}
IN_GIT = ("config.yaml", "versions.json", "metrics.json", "tables", "figure_data", "model_cards")


def published(experiment: Path, skip: tuple[str, ...] = ()) -> list[dvc.Output]:
    """All outputs that the experiment's pointers name, without those of the groups in `skip`.

    Raises:
        UserError: the experiment was never published, or a name in `skip` is not a group.
    """
    for group in skip:
        if group not in GROUPS:
            raise UserError(f"--skip {group}: {nearest(group, GROUPS)}")
    pointers = [pointer for group in GROUPS if (pointer := experiment / f"{group}.dvc").is_file()]
    if not pointers:
        others = sorted({path.parent.name for path in experiment.parent.glob("*/*.dvc")})
        raise UserError(f"{experiment}: nothing of it is published (no .dvc file): {nearest(experiment.name, others)}")
    return [output for pointer in pointers if pointer.stem not in skip for output in dvc.read_pointer(pointer)]


def needed(outputs: list[Output], experiment: Path, skip: tuple[str, ...]) -> list[Output]:
    """The outputs of the graph that lie in an experiment, without raw data and the groups in `skip`."""
    without = ["nnunet/raw", *(part for group in skip for part in GROUPS[group])]
    apart = [(experiment / part).absolute() for part in without]
    places = [(output, Path(output.path).absolute()) for output in outputs]
    return [
        output
        for output, place in places
        if place.is_relative_to(experiment.absolute()) and not any(place.is_relative_to(one) for one in apart)
    ]


@contextmanager
def unmoved_times(paths: list[Path]) -> Iterator[None]:
    """Restore the modification times of files afterwards: Snakemake compares them.

    DVC links files with the same content to one inode. It has one time: the latest of them is kept.
    """
    before = {file: file.stat().st_mtime_ns for path in paths for file in dvc.files_below(path)}
    try:
        yield
    finally:
        latest: dict[tuple[int, int], int] = {}
        there = {file: file.stat() for file in before if file.exists()}
        for file, status in there.items():
            inode = (status.st_dev, status.st_ino)
            latest[inode] = max(latest.get(inode, 0), before[file])
        for file, status in there.items():
            wanted = latest[status.st_dev, status.st_ino]
            # Where the file is a symbolic link to the cache, Snakemake also reads the link's own time.
            for link in {True, not file.is_symlink()}:
                if file.stat(follow_symlinks=link).st_mtime_ns != wanted:
                    os.utime(file, ns=(wanted, wanted), follow_symlinks=link)
