"""Which films are trained on and validate, and which of them make a batch."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr._checks import lookup
from fewshot_cxr.data import XrayDataset, assert_no_leak, drop_lone_films, split_by_patient
from fewshot_cxr.records import Records
from fewshot_cxr.samplers import BalancedBatchSampler, ClassBatchSampler, EpisodicBatchSampler, PairBatchSampler
from fewshot_cxr.unknown_patients import count_unknown, unknown_part


def training_parts(
    train: Records, val: Records | None, *, is_multi_label: bool = False, val_fraction: float, seed: int
) -> tuple[Records, Records, tuple[str, ...]]:
    """Leave out findings with one film, carve validation films where none are given, and check for leaks.

    Args:
        train: films of one finding each.
        val: films of other patients; None: `val_fraction` of the training films, by patient.
        is_multi_label: films show any number of findings. A film then stays whatever it shows, and what validation
            films show besides the findings of the training films is taken off them.
        val_fraction: 0..1.
        seed: of the carving.

    Returns:
        Films to train on, films to validate with, and what was done, in words.

    Raises:
        ValueError: fewer than two findings are left (multi-label: none), or a patient is in both parts.
    """
    told = len(train.notes)
    if not is_multi_label:
        train = drop_lone_films(train)
    notes = train.notes[told:]
    _check_findings(train, notes, is_multi_label=is_multi_label)
    every = (*train, *(val or ()))
    whose = unknown_part(count_unknown(every), len(every))
    if val is None:
        train, val = split_by_patient(train, (1 - val_fraction, val_fraction), seed=seed, names=("train", "val"))
        notes += (f"no validation films given: {len(val)} films carved from the training films, by patient{whose}",)
    if whose:
        notes += (f"one patient may be in training and in validation{whose}, whose accuracy is then too high",)
    known = train.findings
    unknown = sorted(set(val.findings) - set(known))
    if unknown:
        if is_multi_label:
            val = val.each(lambda film: replace(film, findings=tuple(name for name in film.findings if name in known)))
        else:
            val = val.where(lambda film: film.finding in known)
        notes += (f"validation leaves out what training does not know: {', '.join(unknown)}",)
    if not len(val):
        raise ValueError(
            "no film is left for validation: give films of the findings that are trained on, or none at all, and a "
            "part of the training films is carved out"
        )
    assert_no_leak(train, val)
    return train, val, notes


def _check_findings(train: Records, notes: tuple[str, ...], *, is_multi_label: bool) -> None:
    if is_multi_label and not train.findings:
        raise ValueError("training needs films with findings, there is none; choose others (--findings)")
    if not is_multi_label and len(train.findings) < 2:
        found = ", ".join(train.findings) or "none"
        way_out = "choose findings that more films have alone (--findings), or take --with-others"
        dropped = "".join(f"; {note}" for note in notes)
        raise ValueError(f"training needs two findings of two films or more each, there is {found}{dropped}; {way_out}")


SAMPLERS = ("balanced", "pairs", "episodic", "shuffled")


class BatchSampler(Protocol):
    """What every sampler of `samplers/` is: batches of rows, epoch after epoch."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[list[int]]: ...
    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""


class Rows(Protocol):
    """What batches are gathered from: `XrayDataset` (images), or `FilmVectors` in their place."""

    @property
    def group_ids(self) -> np.ndarray:
        """The patient of each row."""

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor]: ...


class BatchLoader:
    """Iterate over (images uint8 (N, S, S) or stored vectors, class_ids (N,) or float (N, n_findings), group_ids (N,)).

    No worker processes: a batch is one gather from memory-mapped uint8, which costs far less than its transport
    between processes would.
    """

    def __init__(self, films: Rows, sampler: BatchSampler) -> None:
        self.films = films
        self.sampler = sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        groups = torch.from_numpy(self.films.group_ids)
        for rows in self.sampler:
            images, class_ids = self.films.__getitems__(rows)
            yield images, class_ids, groups[rows]


def choose_sampler(
    name: str,
    dataset: XrayDataset,
    *,
    batch_size: int,
    n_batches: int | None,
    n_way: int | None,
    n_shot: int,
    seed: int,
) -> BatchSampler:
    """Build a sampler over the training films.

    Args:
        name: in SAMPLERS.
        dataset: single-label.
        batch_size: films in a batch.
        n_batches: in an epoch; None: about as many as cover all films once.
        n_way: findings in an episodic batch; None: all.
        n_shot: support films of each in an episodic batch; the films left over are queries, the same for each.
        seed: of all draws.

    Raises:
        ValueError: unknown name, or a batch too small for its episodes; what the samplers say.
    """
    lookup(dict.fromkeys(SAMPLERS), name, what="sampler")
    class_ids, group_ids = dataset.class_ids, dataset.group_ids
    if name == "balanced":
        return BalancedBatchSampler(class_ids, group_ids, batch_size=batch_size, n_batches=n_batches, seed=seed)
    if name == "pairs":
        return PairBatchSampler(class_ids, group_ids, batch_size=batch_size, n_batches=n_batches, seed=seed)
    if name == "shuffled":
        return ClassBatchSampler(class_ids, batch_size=batch_size, n_batches=n_batches, seed=seed)
    ways = len(dataset.class_names) if n_way is None else n_way
    n_query = batch_size // ways - n_shot
    if n_query < 1:
        raise ValueError(
            f"batch_size {batch_size} leaves no query in {ways}-way {n_shot}-shot batches; "
            f"make it {ways * (n_shot + 1)} or more (--batch-size)"
        )
    try:
        return EpisodicBatchSampler(
            class_ids,
            group_ids,
            dataset.class_names,
            n_way=ways,
            n_shot=n_shot,
            n_query=n_query,
            n_batches=max(1, round(len(class_ids) / batch_size)) if n_batches is None else n_batches,
            seed=seed,
        )
    except ValueError as error:  # it names settings of evaluation
        reason = str(error).partition(";")[0]
        raise ValueError(f"{reason}: take smaller batches (--batch-size) or fewer shots (--n-shot)") from error
