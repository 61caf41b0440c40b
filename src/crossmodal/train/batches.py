"""Batches that a run can repeat and resume, and cases whose damaged files are named.

nnU-Net's own multi-process loader hands out batches in the order in which its workers finish. Here batch
number n is drawn from a seed of its own, whichever worker makes it.
"""

import ctypes
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.dataloading import data_loader
from threadpoolctl import ThreadpoolController
from torch.utils.data import DataLoader, Dataset

from crossmodal.errors import UserError
from crossmodal.train.reproducibility import derive_seed, seed_everything

KEPT_AT_MOST = 2**28  # bytes of a whole dataset, decompressed: a demo's, not a BraTS release's
PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent ends


@contextmanager
def cached_thread_limits() -> Iterator[None]:
    """Let nnU-Net's loader find the thread pools of this process once, while the block runs.

    For each batch it calls threadpoolctl's `threadpool_limits`, which looks through every loaded library anew: 1 to
    2 ms. Worker processes that are started in the block inherit this.
    """
    pools = cache(ThreadpoolController)  # made for the first batch, when all libraries are loaded
    theirs = data_loader.threadpool_limits
    data_loader.threadpool_limits = lambda limits, user_api: pools().limit(limits=limits, user_api=user_api)
    try:
        yield
    finally:
        data_loader.threadpool_limits = theirs


class CheckedCases:
    """An nnU-Net dataset that names the case it cannot read, and keeps a small dataset decompressed.

    Cases may be moved or deleted while training. Those that were kept are forgotten when their folder changes.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.kept: dict[str, tuple] = {}
        self.folder_changed = 0

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # while it is being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def load_case(self, case: str) -> tuple:
        """As the dataset's own. Raises UserError where a file of the case is missing or damaged."""
        try:
            changed = Path(self.dataset.source_folder).stat().st_mtime_ns
            if changed != self.folder_changed:
                self.kept, self.folder_changed = {}, changed
            if case in self.kept:
                return self.kept[case]
            data, seg, *others = self.dataset.load_case(case)
            size = sum(math.prod(array.shape) * array.dtype.itemsize for array in (data, seg))
            if len(self.dataset.identifiers) * size > KEPT_AT_MOST:
                return data, seg, *others
            self.kept[case] = _Kept.of(data), _Kept.of(seg), *others
            return self.kept[case]
        except Exception as error:  # each format raises its own
            raise UserError(
                f"{self.dataset.source_folder}: the case {case} cannot be read ({error}): was the dataset moved or "
                f"removed? Build it again (crossmodal dataset, or snakemake), then run the same command: "
                f"the training goes on from the last state that was saved"
            ) from None


class _Kept(np.ndarray):
    """An array in memory whose parts are copies, as a compressed one's are: augmentation writes into them."""

    @classmethod
    def of(cls, array: Any) -> "_Kept":
        return np.asarray(array[:]).view(cls)

    def __getitem__(self, part: Any) -> np.ndarray:
        return np.array(super().__getitem__(part))


class _NumberedBatches(Dataset):
    def __init__(self, loader: Any, seed: int, count: int) -> None:
        self.loader, self.seed, self.count = loader, seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict:
        torch.set_num_threads(1)
        seed_everything(derive_seed(self.seed, number))
        try:
            return self.loader.generate_train_batch()
        except UserError as error:  # raised here, it would arrive wrapped in a traceback
            return {"fault": str(error)}


def batches_in_order(loader: Any, seed: int, first: int, count: int, workers: int, pin: bool) -> Iterator[dict]:
    """Batches `first` to `count` − 1 of an nnUNetDataLoader, made by `workers` processes.

    Args:
        loader: an nnUNetDataLoader with its transforms.
        seed: seed of this stream; batch n is drawn from (seed, n).
        first: number of the first batch: 0, or where a resumed training stopped.
        count: number of batches in the whole training.
        workers: processes; they start here, and end with this process, even when it is killed.
        pin: whether to put batches into page-locked memory for a GPU.

    Raises:
        UserError: a case cannot be read, or a worker was killed.
    """
    batches = DataLoader(
        _NumberedBatches(loader, seed, count),
        batch_size=None,
        sampler=range(first, count),
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=3,
        worker_init_fn=_follow_parent,
    )
    return map(_without_fault, iter(batches))  # iter starts the workers now


def _without_fault(batch: dict) -> dict:
    if "fault" in batch:
        raise UserError(batch["fault"])
    return batch


def _follow_parent(_number: int) -> None:
    """Leave signals to the training process, which saves its state first; end when it says so, or ends itself.

    A scheduler or Ctrl-C signals every process of a job. A worker that outlived a killed training would hold
    its memory and its lock.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_await_end, daemon=True).start()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _await_end() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
