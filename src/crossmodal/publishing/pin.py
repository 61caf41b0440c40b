"""`crossmodal cohort pin`: check that a generated cohort has the same bytes as its lock records."""

from pathlib import Path

from crossmodal.cohort.lock import read_lock, require_match
from crossmodal.publishing import dvc

REMEDY = (
    "Delete that folder and generate it again with the versions of envs/requirements.lock. If the generator was "
    "changed on purpose: `dvc commit --force {lock} && crossmodal cohort lock {lock}`, and commit what they write."
)


def pin(lock: Path) -> None:
    """Compare a cohort with its lock, then add it to DVC's cache, which shares its bytes.

    Raises:
        UserError: a file differs from the lock; the message names the cases.
    """
    pinned = read_lock(lock)
    require_match(pinned.folder, pinned, remedy=REMEDY.format(lock=lock))
    dvc.run(dvc.repository(lock), "commit", lock.resolve())
    print(f"{pinned.folder}: {pinned.files} files, all as {lock} pins them")
