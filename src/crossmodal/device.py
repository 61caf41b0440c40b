"""Choosing a device before torch asks for a GPU: of several, one that no other job of this user holds."""

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout

from crossmodal.errors import UserError
from crossmodal.progress import say

if TYPE_CHECKING:
    import torch

# mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
PER_GPU = "CROSSMODAL_JOBS_PER_GPU"
LISTED = re.compile(r"^(?P<indent>\s*)(?P<kind>GPU|MIG) .*\(UUID: (?P<uuid>[^)]+)\)")


def available_cores() -> int:
    """Cores this process may use, which in a batch job are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The GPUs this process may use, named so that every process on the machine means the same one.

    That is by UUID: numbers start again from 0 in a Slurm job that sees its own GPUs alone, and CUDA counts by
    speed where nvidia-smi counts by slot. Of a GPU that is divided (MIG) the instances are listed.
    """
    listed = _listed_gpus()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [uuid for gpu in listed for uuid in gpu]
    chosen: list[str] = []
    for name in (part.strip() for part in named.split(",")):
        if name in ("", "-1"):
            break  # CUDA ignores what follows too
        if name.isdigit() and int(name) < len(listed):
            chosen += listed[int(name)]
        else:
            chosen.append(next((uuid for gpu in listed for uuid in gpu if uuid.startswith(name)), name))
    return chosen


def _listed_gpus() -> list[list[str]]:
    """UUIDs that the driver lists, one list for a GPU: its own, or those of its MIG instances."""
    if shutil.which("nvidia-smi") is None:
        return []
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    gpus: list[list[str]] = []
    for found in filter(None, map(LISTED.match, listing.stdout.splitlines())):
        if found["kind"] == "GPU":
            gpus.append([found["uuid"]])
        else:
            gpus[-1] = [uuid for uuid in gpus[-1] if uuid.startswith("MIG")] + [found["uuid"]]
    return gpus


@contextmanager
def claimed_device(wanted: str) -> Iterator[str]:
    """Hold a device while the block runs, and keep freed memory from then on; yields "cpu" or "cuda".

    For cuda one GPU is taken by a lock file, and CUDA_VISIBLE_DEVICES is set to it: trainings started side by side
    use different GPUs, and one too many waits. nnU-Net itself always takes the first GPU that it sees. So many as
    CROSSMODAL_JOBS_PER_GPU says share a GPU, one by default.

    Args:
        wanted: auto (a GPU when there is one), cpu or cuda.

    Raises:
        UserError: cuda is wanted and there is no GPU that torch can use, or CROSSMODAL_JOBS_PER_GPU is no number.
    """
    gpus = [] if wanted == "cpu" else visible_gpus()
    keep_freed_memory()
    if gpus and _torch_knows_gpus():
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpu, held = _first_free(gpus)
        with held:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # torch reads it when it first asks for a GPU
            if _torch_sees_gpus():
                yield "cuda"
                return
        del os.environ["CUDA_VISIBLE_DEVICES"]
        os.environ.update({"CUDA_VISIBLE_DEVICES": named} if named is not None else {})
    if wanted == "cuda" and gpus:
        raise UserError("--device cuda: torch was installed without CUDA, or the driver does not answer")
    if wanted == "cuda":
        raise UserError("--device cuda: no GPU is visible; use --device cpu, or check nvidia-smi")
    yield "cpu"


def _first_free(gpus: list[str]) -> tuple[str, AbstractContextManager]:
    """A GPU and the lock on a place of it, held; the system frees it when this process ends in whatever way."""
    given = os.environ.get(PER_GPU, "1")
    if not given.isdigit() or int(given) < 1:
        raise UserError(f"{PER_GPU}={given}: should be the number of jobs that share a GPU, 1 or more")
    places = [(gpu, f"-{number}" if number else "") for number in range(int(given)) for gpu in gpus]
    for attempt in count():
        for gpu, place in places:
            with suppress(Timeout):
                return gpu, FileLock(_lock_folder() / f"{gpu.replace('/', '_')}{place}.lock").acquire(timeout=0)
        if attempt == 0:
            say(
                f"waiting for a GPU: {'the only one is' if len(gpus) == 1 else f'all {len(gpus)} are'} held by other "
                f"jobs of this user (snakemake --resources gpu={len(places)} starts no more than there is room for)"
            )
        time.sleep(1)


def _torch_knows_gpus() -> bool:
    """Whether torch was built for GPUs."""
    import torch

    return torch.backends.cuda.is_built()


def _torch_sees_gpus() -> bool:
    """Whether torch can use the GPU that this process has taken."""
    import torch

    return torch.cuda.is_available()


def _lock_folder() -> Path:
    # Not TMPDIR, which clusters and Snakemake set for each job: the locks are for all jobs of a machine.
    base = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
    folder = base / f"crossmodal-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def free_memory(device: "torch.device") -> int:
    """Bytes that this process may still take: of a GPU's memory, or of main memory, less in a batch job's limits."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    limits = [psutil.virtual_memory().available]
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # a container's, or a job's where the cluster gives each its own view
        limits.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    with suppress(KeyError, ValueError):
        limits.append(int(os.environ["SLURM_MEM_PER_NODE"]) * 2**20)
    return min(limits)


def keep_freed_memory() -> None:
    """Let this process and its workers keep the memory of tensors that are gone for the next ones.

    glibc hands large blocks back to the system, which must zero each page before it gives it out again: 4 to 10% of
    a training step on a CPU. No result depends on it. Where the C library has no mallopt, nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, -1)
        mallopt(M_MMAP_MAX, 0)


def fix_arithmetic(device: "torch.device", deterministic: bool) -> ExitStack:
    """Choose between the GPU kernels that are fastest and those that give the same bits every time.

    On a CPU the bits are the same either way.

    Args:
        device: where networks run.
        deterministic: whether to use deterministic kernels alone; where torch has none, it says so and stops.

    Returns:
        A context that restores what was set before; without `with`, the choice stays.
    """
    import torch

    undo = ExitStack()
    undo.callback(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
    torch.use_deterministic_algorithms(deterministic)
    if device.type == "cuda":
        undo.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
        torch.backends.cudnn.benchmark = not deterministic
        if deterministic:  # cuBLAS reads it when it is first used
            undo.callback(os.environ.update, {name: value for name, value in os.environ.items() if name == CUBLAS})
            undo.callback(os.environ.pop, CUBLAS, None)
            os.environ[CUBLAS] = ":4096:8"
    return undo


def resolved_precision(precision: str, device: str) -> str:
    """bf16_where_fast as bf16 or default, by what this processor or GPU computes with; others as they are."""
    if precision != "bf16_where_fast":
        return precision
    described = Path("/proc/cpuinfo")
    fast = device == "cuda" or (described.exists() and fast_in_bf16(described.read_text(encoding="utf-8")))
    return "bf16" if fast else "default"


def fast_in_bf16(cpuinfo: str) -> bool:
    """Whether a processor trains faster in bf16 than in fp32: with AMX, and AMD's with AVX-512 BF16.

    Intel's with AVX-512 BF16 alone are slower in it (measured: bench/README.md).

    Args:
        cpuinfo: /proc/cpuinfo.
    """
    return "amx_bf16" in cpuinfo or ("avx512_bf16" in cpuinfo and "AuthenticAMD" in cpuinfo)
