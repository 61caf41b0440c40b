"""The one exception for what a user can mend: the command line prints it without a traceback and exits 1."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches

# What is wrong with a disk or a folder rather than with the program.
STORAGE_FAULTS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder that you may read and write",
    errno.EPERM: "choose a folder that you may read and write",
    errno.EIO: "check the disk",
    errno.ESTALE: "check the network file system",
}


class UserError(Exception):
    """Says which file or setting, what is wrong with it, and what to do about it."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The clause "did you mean 'x'?" for a misspelt word, or the list of what is known."""
    known = sorted(map(str, known))
    close = get_close_matches(str(word), known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known) or 'none'}"


def storage_fault(error: OSError) -> str | None:
    """What to tell a user whose disk is full or folder cannot be written; None for any other OSError."""
    if error.errno not in STORAGE_FAULTS:
        return None
    remedy = STORAGE_FAULTS[error.errno]
    return f"{error.filename or 'a file'}: {error.strerror}: {remedy}, then run the same command again"
