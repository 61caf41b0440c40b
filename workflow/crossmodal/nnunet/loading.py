"""Batches loaded by several processes in a fixed order, so that a run can be repeated and resumed.

nnU-Net's own multi-process loader hands out batches in the order in which its workers finish. Here batch
number n is drawn from a seed of its own, whichever worker makes it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from crossmodal.nnunet.seeds import derive_seed, seed_everything


class _NumberedBatches(Dataset):
    def __init__(self, loader: Any, seed: int, count: int) -> None:
        self.loader, self.seed, self.count = loader, seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict:
        torch.set_num_threads(1)
        seed_everything(derive_seed(self.seed, number))
        return self.loader.generate_train_batch()


def batches_in_order(
    loader: Any, seed: int, first: int, count: int, workers: int, pin: bool
) -> Iterator[dict]:
    """Batches `first` to `count` − 1 of an nnUNetDataLoader, made by `workers` processes.

    Args:
        loader: an nnUNetDataLoader with its transforms.
        seed: seed of this stream; batch n is drawn from (seed, n).
        first: number of the first batch: 0, or where a resumed training stopped.
        count: number of batches in the whole training.
        workers: processes.
        pin: whether to put batches into page-locked memory for a GPU.
    """
    return iter(
        DataLoader(
            _NumberedBatches(loader, seed, count),
            batch_size=None,
            sampler=range(first, count),
            num_workers=workers,
            pin_memory=pin,
            prefetch_factor=3,
        )
    )
