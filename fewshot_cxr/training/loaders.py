"""Batches for Lightning: rows from a sampler, gathered from the memory map in one step, augmented together."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from fewshot_cxr.data import XrayDataset


class BatchSampler(Protocol):
    """What every sampler of `samplers/` is: batches of rows, epoch after epoch."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[list[int]]: ...
    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""


class BatchLoader:
    """Iterate over (images uint8 (N, S, S), class_ids (N,) or float (N, n_findings), group_ids (N,)).

    No worker processes: a batch is one gather from memory-mapped uint8, which costs far less than its transport
    between processes would.
    """

    def __init__(self, films: XrayDataset, sampler: BatchSampler) -> None:
        self.films = films
        self.sampler = sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        groups = torch.from_numpy(self.films.group_ids)
        for rows in self.sampler:
            images, class_ids = self.films.__getitems__(rows)
            yield images, class_ids, groups[rows]
