"""`crossmodal cohort pin`: a generated cohort must be, byte for byte, the one that its lock pins."""

from pathlib import Path

from crossmodal.cohort.lock import read_lock, require_match
from crossmodal.publishing import dvc

REMEDY = (
    "Delete that folder and generate it again with the versions of envs/requirements.lock. If the generator was "
    "changed on purpose: `dvc commit --force {lock} && crossmodal cohort lock {lock}`, and commit what they write."
)


def pin(lock: Path) -> None:
    """Let `dvc commit` (without --force) take the folder into DVC's cache, where it takes no second copy.

    Raises:
        UserError: a file is another than the lock says; the message names the cases.
    """
    pinned = read_lock(lock)
    require_match(pinned.folder, pinned, remedy=REMEDY.format(lock=lock))
    dvc.run(dvc.repository(lock), "commit", lock.resolve())
    print(f"{pinned.folder}: {pinned.files} files, all as {lock} pins them")
