"""The command line: each step of the workflow is one of these commands and can be run by hand.

Commands import what they need when they run: `crossmodal --help` must not wait for torch.
"""

import signal
import sys

from crossmodal.cli import catalogue, cohort, cost, networks, publish, results
from crossmodal.cli.app import app
from crossmodal.errors import UserError, storage_fault

__all__ = ["app", "catalogue", "cohort", "cost", "main", "networks", "publish", "results"]


def main() -> None:
    """Entry point of `crossmodal`: a user's mistake, or a disk's fault, ends in one message and exit code 1."""
    # In a cluster's job the shell ignores TERM (rules/common.smk), and its children inherit that. A process pool,
    # nnU-Net's own too, ends its workers by TERM and would wait forever for those that ignore it.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        app()
    except (UserError, OSError) as error:
        message = storage_fault(error) if isinstance(error, OSError) else str(error)
        if message is None:
            raise
        print(f"crossmodal: {message}", file=sys.stderr)
        sys.exit(1)
