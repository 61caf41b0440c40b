"""Which GPU a step takes, with a driver's listing that is made up."""

import os
import platform
import subprocess
import sys

import pytest

from crossmodal import device
from crossmodal.errors import UserError

TWO_GPUS = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-aaaa-1)
GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-bbbb-2)
"""
ONE_DIVIDED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa-1)
  MIG 3g.40gb     Device  0: (UUID: MIG-cccc-3)
  MIG 3g.40gb     Device  1: (UUID: MIG-dddd-4)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb-2)
"""
# Holds a device until its standard input ends, and says which.
HOLDER = """\
import os, sys
from pathlib import Path
from crossmodal import device
device._torch_knows_gpus = device._torch_sees_gpus = lambda: True
device._lock_folder = lambda: Path(sys.argv[1])
with device.claimed_device("auto") as kind:
    print(kind, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A function that makes nvidia-smi list what it is given; None: there is no driver."""
    folder = tmp_path / "driver"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device, "_lock_folder", lambda: tmp_path)
    monkeypatch.delenv("CROSSMODAL_JOBS_PER_GPU", raising=False)
    monkeypatch.setattr(device, "_torch_knows_gpus", lambda: True)
    monkeypatch.setattr(device, "_torch_sees_gpus", lambda: True)

    def lists(listing: str) -> None:
        (folder / "listing").write_text(listing)
        program = folder / "nvidia-smi"
        program.write_text(f'#!/bin/sh\n[ "$1" = -L ] && cat {folder}/listing\n')
        program.chmod(0o755)

    return lists


@pytest.mark.parametrize(
    ("listing", "named", "expected"),
    [
        (TWO_GPUS, None, ["GPU-aaaa-1", "GPU-bbbb-2"]),
        (TWO_GPUS, "1", ["GPU-bbbb-2"]),
        (TWO_GPUS, "1,0", ["GPU-bbbb-2", "GPU-aaaa-1"]),
        (TWO_GPUS, "GPU-bbbb", ["GPU-bbbb-2"]),
        (TWO_GPUS, "", []),
        (TWO_GPUS, "-1", []),
        (TWO_GPUS, "0,-1,1", ["GPU-aaaa-1"]),
        (ONE_DIVIDED, None, ["MIG-cccc-3", "MIG-dddd-4", "GPU-bbbb-2"]),
        (ONE_DIVIDED, "MIG-dddd-4", ["MIG-dddd-4"]),
        ("No devices were found\n", None, []),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", None, []),
    ],
)
def test_gpus_are_named_by_uuid(driver, monkeypatch, listing, named, expected):
    driver(listing)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert device.visible_gpus() == expected


def test_without_nvidia_smi_the_scheduler_is_believed(driver, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert device.visible_gpus() == ["3"]


@pytest.mark.parametrize(
    ("listing", "answers", "refusal"),
    [
        ("", {}, "no GPU is visible"),
        (TWO_GPUS, {"_torch_sees_gpus": False}, "without CUDA"),
        (TWO_GPUS, {"_torch_knows_gpus": False}, "without CUDA"),
    ],
)
@pytest.mark.parametrize("named", [None, "1"])
def test_without_a_gpu_that_torch_sees_auto_is_cpu_and_cuda_is_refused(
    driver, monkeypatch, listing, answers, refusal, named
):
    driver(listing)
    if named and listing:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    before = dict(os.environ)
    for name, answer in answers.items():
        monkeypatch.setattr(device, name, lambda answer=answer: answer)
    with device.claimed_device("auto") as kind:
        assert kind == "cpu"
        assert dict(os.environ) == before
    with pytest.raises(UserError, match=refusal), device.claimed_device("cuda"):
        pass


def test_cpu_takes_no_gpu(driver):
    driver(TWO_GPUS)
    with device.claimed_device("cpu") as kind:
        assert kind == "cpu"
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.fixture
def hold(driver, tmp_path):
    """A function that starts another process that holds a GPU, which ends with the test."""
    driver(TWO_GPUS)
    started = []

    def start() -> subprocess.Popen:
        command, pipe = [sys.executable, "-c", HOLDER, str(tmp_path)], subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def gpu_of(holder: subprocess.Popen) -> str:
    """The GPU that a holder took; waits until it has one."""
    kind, gpu = holder.stdout.readline().split()
    assert kind == "cuda"
    return gpu


def test_trainings_side_by_side_take_different_gpus_and_one_too_many_waits(hold):
    first, second = hold(), hold()
    assert {gpu_of(first), gpu_of(second)} == {"GPU-aaaa-1", "GPU-bbbb-2"}
    third = hold()
    assert "waiting for a GPU: all 2 are held" in third.stderr.readline()
    assert third.poll() is None
    second.communicate(timeout=20)  # closes its input: it ends as a finished job does
    assert gpu_of(third) in {"GPU-aaaa-1", "GPU-bbbb-2"}


def test_so_many_jobs_share_a_gpu_as_the_user_says(hold, monkeypatch):
    monkeypatch.setenv("CROSSMODAL_JOBS_PER_GPU", "2")
    four = [gpu_of(hold()) for _ in range(4)]
    assert sorted(four) == ["GPU-aaaa-1", "GPU-aaaa-1", "GPU-bbbb-2", "GPU-bbbb-2"]
    assert set(four[:2]) == {"GPU-aaaa-1", "GPU-bbbb-2"}  # an empty GPU first
    assert "gpu=4" in hold().stderr.readline()


@pytest.mark.parametrize("given", ["0", "-1", "two", ""])
def test_the_number_of_jobs_a_gpu_is_a_number(driver, monkeypatch, given):
    driver(TWO_GPUS)
    monkeypatch.setenv("CROSSMODAL_JOBS_PER_GPU", given)
    with pytest.raises(UserError, match="CROSSMODAL_JOBS_PER_GPU"), device.claimed_device("auto"):
        pass


def test_a_killed_training_frees_its_gpu(hold):
    first = hold()
    taken = gpu_of(first)
    first.kill()
    first.wait()
    assert gpu_of(hold()) == taken


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept_for_the_next_array():
    code = (
        "import resource, numpy as np; from crossmodal.device import claimed_device\n"
        "def faults():\n"
        "    for size in [3_000_000, 40_000_000]: np.ones(size, np.float32)\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for size in [3_000_000, 40_000_000]: np.ones(size, np.float32)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "first = faults()\n"
        "with claimed_device('cpu'): print(first, faults())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    without, kept = map(int, run.stdout.split())
    assert kept < 100 < without


@pytest.mark.parametrize("variable", [None, ":16:8"])
def test_the_choice_of_kernels_ends_with_its_block(variable, monkeypatch):
    import torch

    def chosen() -> tuple:
        return torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark, os.environ.get(device.CUBLAS)

    monkeypatch.delenv(device.CUBLAS, raising=False)
    if variable:
        monkeypatch.setenv(device.CUBLAS, variable)
    before = chosen()
    with device.fix_arithmetic(torch.device("cuda"), False):
        assert chosen() == (0, True, variable)
    with device.fix_arithmetic(torch.device("cuda"), True):
        assert chosen() == (2, False, ":4096:8")
    assert chosen() == before


@pytest.mark.parametrize(
    ("vendor", "flags", "fast"),
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx2", False),
    ],
)
def test_bf16_is_for_processors_that_are_fast_in_it(vendor: str, flags: str, fast: bool) -> None:
    assert device.fast_in_bf16(f"vendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n") is fast
