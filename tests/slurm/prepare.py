"""Check that a Slurm can be started on this machine; install Debian's Slurm and munge where possible.

python tests/slurm/prepare.py       exit 0: the tests can run; else it prints what is wrong and what to do
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from one_node import missing, reasons_to_refuse

PACKAGES = ("slurm-wlm", "munge")
# Debian runs this program before a package starts its daemons; exit code 101 forbids it (invoke-rc.d(8)).
POLICY = Path("/usr/sbin/policy-rc.d")


def install() -> None:
    """Install the packages without letting them start anything."""
    forbids = not POLICY.exists()
    if forbids:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(["apt-get", "update", "-qq"], env=environment, check=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    finally:
        if forbids:
            POLICY.unlink()


def main() -> str | None:
    """Why the tests cannot run, or None."""
    reasons = reasons_to_refuse()
    if reasons:
        return "make test-slurm starts no Slurm here:\n" + "\n".join(f"  {reason}" for reason in reasons)
    if missing() and os.getuid() == 0 and shutil.which("apt-get"):
        print(f"Installing {' and '.join(PACKAGES)} ...", flush=True)
        install()
    if missing():
        return f"{', '.join(missing())}: not installed. As root: apt-get install {' '.join(PACKAGES)}"
    return None


if __name__ == "__main__":
    sys.exit(main())
