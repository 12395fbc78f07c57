"""The one Dataset: decoded films with their classes, fetched a batch at a time."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Subset

from fewshot_cxr.data.cache import CachedFilms
from fewshot_cxr.data.splits import patient_groups
from fewshot_cxr.data.square import to_square
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.patient_ids import is_unknown_id
from fewshot_cxr.records import Record, Records
from fewshot_cxr.unknown_patients import count_unknown, unknown_text

_ROUNDING = 1e-3  # by which a resampled image may leave 0..1


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

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> names = ["normal", "covid19", "normal"]
        >>> scans = [(np.full((8, 8), 40 * n, dtype=np.uint8), name) for n, name in enumerate(names)]
        >>> dataset = XrayDataset(DatasetFilms(scans, ImageSpec(size_px=8)), ["normal", "covid19"])
        >>> images, class_ids = next(iter(DataLoader(dataset, batch_size=3, collate_fn=keep_batch)))
        >>> images.shape, class_ids
        (torch.Size([3, 8, 8]), tensor([0, 1, 0]))
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

    Examples:
        >>> half_known = Record("2.png", ("pneumonia",), unstated=("effusion",))
        >>> films = Records((Record("1.png", ("pneumonia", "effusion")), half_known, Record("3.png", ())), ".")
        >>> findings_table(films, ["effusion", "pneumonia"]).tolist()
        [[1.0, 1.0], [nan, 1.0], [0.0, 0.0]]
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
    """Collate nothing: `__getitems__` has made a batch already.

    Examples:
        >>> images, class_ids = keep_batch((torch.zeros(2, 8, 8, dtype=torch.uint8), torch.tensor([0, 1])))
        >>> class_ids
        tensor([0, 1])
    """
    return batch


class DatasetFilms(CachedFilms):
    """The images of a Dataset whose `dataset[row]` is (image, label).

    An image may be a PIL image, which is prepared as `spec` says; or an array or a tensor, uint8 or float of 0..1, of
    shape (S, S) or (C, S, S), taken as it is. A label is a number, a text, or a row of 1 (present), 0 (absent) and NaN
    (not stated). Their names are in `dataset.classes` or `.class_names` (as torchvision has them), labels in `.targets`
    or `.class_ids` (else every item is asked for once), and patients in `.patient_ids`; without these each image is a
    patient of its own. `Subset` is seen through, and an `XrayDataset` brings the records of its films.

    Args:
        dataset: anything with `len` and `[]`.
        spec: side and channels of the images.
        name: what the images are called after, with their row.
        records: some of an earlier one's, in any order; None: all.

    Examples:
        >>> scans = [(np.zeros((8, 8), np.uint8), "normal"), (np.full((8, 8), 200, np.uint8), "covid19")]
        >>> films = DatasetFilms(scans, ImageSpec(size_px=8))
        >>> films.records.findings, films.rows([1]).shape
        (('covid19', 'normal'), (1, 8, 8))
    """

    def __init__(self, dataset: Any, spec: ImageSpec, *, name: str = "image", records: Records | None = None) -> None:
        self._dataset, self._spec, self._name = dataset, spec, name
        known = _records(dataset, name)
        position = {film.path: row for row, film in enumerate(known)}
        chosen = known if records is None else records
        self._places = [position[film.path] for film in chosen]
        nowhere = np.empty(0, dtype=np.int64)
        super().__init__(chosen, (), nowhere, nowhere, spec.size_px)

    def take(self, records: Records) -> "DatasetFilms":
        """Return some of the films, in the order of these records."""
        return DatasetFilms(self._dataset, self._spec, name=self._name, records=records)

    def rows(self, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """Ask for images: uint8, shape (B, S, S), or float32 of 0..1, shape (B, C, S, S).

        Raises:
            ValueError: an image of another size or of other channels than the spec's, or of values beyond 0..1.
        """
        places = [self._places[index] for index in np.asarray(indices, dtype=np.int64).tolist()]
        images, side = [_prepared(self._dataset[place][0], self._spec) for place in places], self._spec.size_px
        if len({image.shape for image in images}) > 1:  # some are gray and others have channels
            scaled = (image if image.dtype == np.float32 else image[None] / np.float32(255) for image in images)
            images = [np.broadcast_to(image, (self._spec.n_channels, side, side)) for image in scaled]
        return np.stack(images)


def _records(dataset: Any, name: str) -> Records:
    if isinstance(dataset, XrayDataset):
        return dataset.films.records
    if isinstance(dataset, Subset):
        return _records(dataset.dataset, name).take(dataset.indices)
    names = _attribute(dataset, ("classes", "class_names"))
    labels = _attribute(dataset, ("targets", "class_ids"))
    if labels is None:
        labels = [_label(dataset[row], row) for row in range(len(dataset))]
    patients = getattr(dataset, "patient_ids", None)
    for what, values in (("labels", labels), ("patient_ids", patients)):
        if values is not None and len(values) != len(dataset):
            raise ValueError(f"the dataset has {len(dataset)} items and {len(values)} {what}; each item needs its own")
    films = []
    for row, label in enumerate(labels):
        present, unstated = _findings(label, names)
        patient = None if patients is None or is_unknown_id(patients[row]) else str(np.asarray(patients[row]))
        films.append(Record(f"{name}/{row:07d}", present, patient_id=patient, unstated=unstated))
    told = unknown_text(count_unknown(films), len(films))
    return Records(tuple(films), Path(name), notes=(f"{told}; the dataset's patient_ids name them",) if told else ())


def _label(item: Any, row: int) -> Any:
    if not isinstance(item, Sequence) or len(item) < 2:
        raise TypeError(f"item {row} of the dataset is {type(item).__name__}: a pair of image and label was expected")
    return item[1]


def _attribute(dataset: Any, names: Iterable[str]) -> Any:
    return next((found for name in names if (found := getattr(dataset, name, None)) is not None), None)


def _findings(label: Any, names: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which findings a label states, and which it leaves open."""
    if isinstance(label, str):
        return (label,), ()
    values = np.asarray(label)
    if values.ndim == 0:
        return (str(values) if names is None else names[int(label)],), ()
    words = [str(column) for column in range(len(values))] if names is None else names
    is_open = np.isnan(values.astype(np.float64))
    present, unstated = (
        tuple(word for word, is_so in zip(words, rows, strict=True) if is_so) for rows in (values == 1, is_open)
    )
    return present, unstated


def _prepared(image: Any, spec: ImageSpec) -> np.ndarray:
    if isinstance(image, Image.Image):
        return to_square(np.asarray(image.convert("L")), spec)
    pixels = image.numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    shape, side = pixels.shape, spec.size_px
    if shape not in ((side, side), (1, side, side), (spec.n_channels, side, side)):
        raise ValueError(
            f"the dataset gives images of shape {shape}, the image_spec says {spec.n_channels} x {side} x {side}: "
            "resize them in its transform, or give another image_spec"
        )
    if pixels.dtype == np.uint8:
        return pixels.reshape(side, side) if pixels.size == side**2 else pixels.astype(np.float32) / 255
    low, high = float(pixels.min()), float(pixels.max())
    if not (-_ROUNDING <= low <= high <= 1 + _ROUNDING):
        raise ValueError(
            f"the dataset gives values of {low:.4g}..{high:.4g}, images are uint8 or of 0..1: leave normalisation out "
            "of its transform, image_spec says mean and std"
        )
    return np.ascontiguousarray(pixels, dtype=np.float32).reshape(-1, side, side)
