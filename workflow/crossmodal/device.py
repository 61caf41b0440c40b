"""Choosing a device before torch is imported: of several GPUs, one that no other training of ours holds."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from crossmodal.errors import UserError


def visible_gpus() -> list[str]:
    """The GPUs this process may use: CUDA_VISIBLE_DEVICES when it is set, else what the driver lists."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [str(number) for number, line in enumerate(listing.stdout.splitlines()) if line.startswith("GPU ")]


@contextmanager
def claimed_device(wanted: str) -> Iterator[str]:
    """Hold a device while the block runs; yields "cpu" or "cuda".

    For cuda one GPU is taken by a lock file, and CUDA_VISIBLE_DEVICES is set to it: two trainings started side
    by side use two GPUs. nnU-Net itself always takes the first GPU that it sees.

    Args:
        wanted: auto (a GPU when there is one), cpu or cuda.

    Raises:
        UserError: cuda is wanted and there is no GPU, or all are held.
    """
    gpus = [] if wanted == "cpu" else visible_gpus()
    if gpus and not _torch_sees_gpus():
        if wanted == "cuda":
            raise UserError("--device cuda: torch was installed without CUDA, or the driver does not answer")
        gpus = []
    if not gpus:
        if wanted == "cuda":
            raise UserError("--device cuda: no GPU is visible; use --device cpu, or check nvidia-smi")
        yield "cpu"
        return
    for gpu in gpus:
        lock = FileLock(_lock_folder() / f"gpu-{gpu}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        try:
            yield "cuda"
        finally:
            lock.release()
        return
    raise UserError(
        f"all GPUs ({', '.join(gpus)}) are held by other trainings of this user: "
        f"run at most that many at once (snakemake --resources gpu={len(gpus)})"
    )


def _torch_sees_gpus() -> bool:
    """Whether torch can use a GPU, asked in another process: this one must set CUDA_VISIBLE_DEVICES first."""
    import sys

    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _lock_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"crossmodal-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def resolved_precision(precision: str, device: str) -> str:
    """bf16_where_fast as bf16 or default, by what this processor or GPU computes with; others as they are."""
    if precision != "bf16_where_fast":
        return precision
    if device == "cuda":
        return "bf16"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "default"
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "default"
