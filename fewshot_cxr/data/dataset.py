"""The one Dataset: decoded films with their classes, fetched a batch at a time."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fewshot_cxr.data.cache import CachedFilms
from fewshot_cxr.data.splits import patient_groups
from fewshot_cxr.records import Records


class XrayDataset(Dataset[tuple[Tensor, Tensor]]):
    """Films as uint8 with class ids; `to_images` makes what an encoder takes of them, on any device.

    With a DataLoader, pass `collate_fn=keep_batch`: a batch is fetched whole, from the memory map.

    Args:
        films: decoded films, single-label unless `is_multi_label`.
        class_names: findings in the order of the class ids; None: those of the films, sorted.
        is_multi_label: a film may show several of the findings, or none; see `findings_table`.

    Attributes:
        class_ids: int64, shape (N,); multi-label: float32, shape (N, n_findings), 1 present, 0 absent, NaN not stated.
        group_ids: int64, shape (N,), equal for films of one patient.

    Raises:
        ValueError: a class is named twice; single-label: a film has a finding outside `class_names`, or several.
    """

    def __init__(
        self, films: CachedFilms, class_names: Sequence[str] | None = None, *, is_multi_label: bool = False
    ) -> None:
        self.films = films
        self.class_names = tuple(films.records.findings if class_names is None else class_names)
        self.is_multi_label = is_multi_label
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError(f"class_names must name each class once, got {', '.join(self.class_names)}")
        as_ids = findings_table if is_multi_label else _class_ids
        self.class_ids = as_ids(films.records, self.class_names)
        self.group_ids = patient_groups(films.records)

    def __len__(self) -> int:
        return len(self.films)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        """Return one film, uint8 (S, S), and its class id, int64 (); multi-label: float32 (n_findings,)."""
        images, class_ids = self.__getitems__([row])
        return images[0], class_ids[0]

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return films, uint8 (B, S, S), and class ids, int64 (B,); multi-label: float32 (B, n_findings)."""
        return torch.from_numpy(self.films.rows(rows)), torch.from_numpy(self.class_ids[list(rows)])


def findings_table(records: Records, class_names: Sequence[str]) -> np.ndarray:
    """Say of each film which of the findings it shows.

    Args:
        records: the films. What they show besides the named findings ("No Finding", say) has no column.
        class_names: findings in the order of the columns.

    Returns:
        float32, shape (N, n_findings): 1 present, 0 absent, NaN where `Record.unstated` names the finding.
    """
    position = {name: index for index, name in enumerate(class_names)}
    table = np.zeros((len(records), len(position)), dtype=np.float32)
    for row, film in enumerate(records):
        table[row, [position[name] for name in film.unstated if name in position]] = np.nan
        table[row, [position[name] for name in film.findings if name in position]] = 1
    return table


def _class_ids(records: Records, class_names: Sequence[str]) -> np.ndarray:
    position = {name: index for index, name in enumerate(class_names)}
    for film in records:
        if film.finding not in position:
            raise ValueError(f"{film.path} has the finding {film.finding!r}, none of {', '.join(class_names)}")
    return np.array([position[film.finding] for film in records], dtype=np.int64)


def keep_batch(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Collate nothing: `__getitems__` has made a batch already."""
    return batch
