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
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from nnunetv2.training.dataloading import data_loader
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from threadpoolctl import ThreadpoolController
from torch.utils.data import DataLoader, Dataset

from crossmodal.errors import UserError
from crossmodal.train.reproducibility import derive_seed, seed_everything
from crossmodal.train.transforms import augmented

KEPT_AT_MOST = 2**28  # bytes of a whole dataset, decompressed: a demo's, not a BraTS release's
OUTSIDE = {"image": 0, "segmentation": -1}  # what nnU-Net puts around a case
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


class PatchLoader(nnUNetDataLoader):
    """nnU-Net's loader for its default augmentation: the same draws and voxels, with less reading.

    nnU-Net reads a patch with room for a rotation, and keeps its centre alone where none is drawn: in two of three
    samples of a training. Here the rotation is drawn before the patch is read. An nnUNetDataLoader whose `transforms`
    are `speed_up`'s becomes one by its `__class__`.

    Attributes:
        elsewhere: whether `augmented_on` completes the batches, and not this loader.
    """

    elsewhere = False

    def generate_train_batch(self) -> dict:
        """A batch; or, to be completed elsewhere, what was cut out of each case and how it is to be rotated."""
        samples, keys = [], self.get_indices()
        with torch.no_grad(), data_loader.threadpool_limits(limits=1, user_api=None):
            for number, case in enumerate(keys):
                part = self._cut_out(case, self.get_do_oversample(number))
                samples.append(part if self.elsewhere else _completed(part, self.transforms.transforms))
        return {"parts": samples, "keys": keys} if self.elsewhere else _collated(samples, keys)

    def _cut_out(self, case: str, force_foreground: bool) -> dict:
        *arrays, _, properties = self._data.load_case(case)
        spatial, size = self.transforms.transforms[0], arrays[0].shape[1:]
        low, _ = self.get_bbox(size, force_foreground, properties["class_locations"])
        kept, drawn = [slice(0, int(n)) for n in self.patch_size], None
        if isinstance(spatial, SpatialTransform):
            drawn = spatial.get_parameters(image=torch.zeros(()).expand(len(arrays[0]), *self.patch_size))
            if drawn["grid"] is None:  # what `crop_tensor` of batchgeneratorsv2 keeps
                middles = map(math.floor, drawn["center_location_in_pixels"])
                starts = [(m - n // 2, n) for m, n in zip(middles, map(int, spatial.patch_size), strict=True)]
                kept = [slice(start, start + n) for start, n in starts]
        read = [slice(max(a + k.start, 0), min(a + k.stop, n)) for a, k, n in zip(low, kept, size, strict=True)]
        image, segmentation = (torch.from_numpy(array[(slice(None), *read)]) for array in arrays)
        return {
            "image": image.float(),
            "segmentation": segmentation.to(torch.int16),
            "patch": tuple(map(int, self.patch_size)),
            "kept": [slice(None), *kept],
            "read": [slice(None), *(slice(r.start - a, r.stop - a) for r, a in zip(read, low, strict=True))],
            "drawn": drawn,
        }


def _completed(part: dict, transforms: list[BasicTransform]) -> dict:
    """A sample from what was read of a case: in its place in the patch, then after nnU-Net's transforms.

    The centre of a patch stays a view of the patch, as nnU-Net's is: sums over its voxels are rounded in the order in
    which they lie in memory.
    """
    sample, drawn = {}, part["drawn"]
    for name, outside in OUTSIDE.items():
        patch = part[name].new_empty(len(part[name]), *part["patch"])
        sample[name] = patch[tuple(part["kept"])]
        if part[name].shape != sample[name].shape:
            sample[name].fill_(outside)
        patch[tuple(part["read"])] = part[name]
    if drawn is not None:
        if drawn["grid"] is not None:
            sample = transforms[0].apply(sample, **drawn)
        transforms = transforms[1:]
    return augmented(sample, transforms)


def _collated(samples: list[dict], keys: Any) -> dict:
    scales = zip(*(sample["segmentation"] for sample in samples), strict=True)
    return {
        "data": torch.stack([sample["image"] for sample in samples]),
        "target": [torch.stack(scale) for scale in scales],
        "keys": keys,
    }


def augmented_on(
    device: torch.device, batches: Iterator[dict], transforms: list[BasicTransform], seed: int, first: int
) -> Iterator[dict]:
    """Batches whose samples were only cut out of their cases, completed on a device.

    Args:
        device: where the network is.
        batches: of a `PatchLoader` with `elsewhere`, in order.
        transforms: its transforms.
        seed: seed of this stream; batch n is augmented from (seed, n). Python's, NumPy's and torch's generators are
            seeded anew for each batch.
        first: number of the first batch.
    """
    for number, batch in enumerate(batches, first):
        seed_everything(derive_seed(seed, number))
        samples = []
        with torch.no_grad():
            for part in batch["parts"]:
                placed = {name: part[name].to(device, non_blocking=True) for name in OUTSIDE}
                samples.append(_completed(part | placed, transforms))
        yield _collated(samples, batch["keys"])


class _NumberedBatches(Dataset):
    def __init__(self, loader: Any, seed: int, count: int) -> None:
        self.loader, self.seed, self.count = loader, seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict:
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
        workers: processes; they start here, and end with this process, even when it is killed. 0: this process.
        pin: whether to put batches into page-locked memory for a GPU.

    Raises:
        UserError: a case cannot be read, or a worker was killed.
    """
    batches = DataLoader(
        _NumberedBatches(loader, seed, count),
        batch_size=None,
        collate_fn=_as_it_is,
        sampler=range(first, count),
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_follow_parent,
    )
    return map(_without_fault, iter(batches))  # iter starts the workers now


def _as_it_is(batch: dict) -> dict:
    return batch


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
