"""Whether a folder can be written into, tried before any work."""

import tempfile
from pathlib import Path

from crossmodal.errors import UserError


def require_writable(out: Path, folder: Path) -> None:
    """Write an empty file into a folder, which is made when it is not there, and delete it.

    Args:
        out: what was asked for, for the message.
        folder: where it lies.

    Raises:
        UserError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as fault:
        raise UserError(f"--out {out}: {folder} cannot be written ({fault.strerror}); choose another folder") from None
