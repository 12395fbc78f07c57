"""The one Dataset: decoded films with their classes, fetched a batch at a time."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fewshot_cxr.data.cache import CachedFilms
from fewshot_cxr.data.splits import patient_groups


class XrayDataset(Dataset[tuple[Tensor, Tensor]]):
    """Films as uint8 with class ids; `to_images` makes what an encoder takes of them, on any device.

    With a DataLoader, pass `collate_fn=keep_batch`: a batch is fetched whole, from the memory map.

    Args:
        films: decoded films, single-label.
        class_names: findings in the order of the class ids; None: those of the films, sorted.

    Attributes:
        class_ids: int64, shape (N,). group_ids: int64, shape (N,), equal for films of one patient.

    Raises:
        ValueError: a film has a finding outside `class_names`, or several; a class is named twice.
    """

    def __init__(self, films: CachedFilms, class_names: Sequence[str] | None = None) -> None:
        self.films = films
        self.class_names = tuple(films.records.findings if class_names is None else class_names)
        position = {name: index for index, name in enumerate(self.class_names)}
        if len(position) < len(self.class_names):
            raise ValueError(f"class_names must name each class once, got {', '.join(self.class_names)}")
        for film in films.records:
            if film.finding not in position:
                raise ValueError(f"{film.path} has the finding {film.finding!r}, none of {', '.join(self.class_names)}")
        self.class_ids = np.array([position[film.finding] for film in films.records], dtype=np.int64)
        self.group_ids = patient_groups(films.records)

    def __len__(self) -> int:
        return len(self.films)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        """Return one film, uint8 (S, S), and its class id, int64 ()."""
        images, class_ids = self.__getitems__([row])
        return images[0], class_ids[0]

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return films, uint8 (B, S, S), and class ids, int64 (B,)."""
        return torch.from_numpy(self.films.rows(rows)), torch.from_numpy(self.class_ids[list(rows)])


def keep_batch(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Collate nothing: `__getitems__` has made a batch already."""
    return batch
