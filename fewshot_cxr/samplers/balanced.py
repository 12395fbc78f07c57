"""P classes x K films per batch, from as many patients as there are."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.seeding import generator


class BalancedBatchSampler(Sampler[list[int]]):
    """Batches that hold every class about equally often, whatever the classes' sizes.

    Within an epoch the films of a class come round without repetition before any comes again, one of each patient
    before a second one of any; a new round begins with the patients that its first batch does not hold yet. No film
    is twice in one batch: where a class has fewer films than its share, the batch is that much smaller.

    Each epoch is drawn from (seed, epoch) alone. The sampler counts its epochs itself, since Lightning tells a batch
    sampler nothing: it goes to the next after each whole iteration; `set_epoch` puts it anywhere.

    Args:
        class_ids: int64, shape (N,).
        group_ids: of patients, int64, shape (N,).
        batch_size: films in a batch, spread as evenly as can be over the classes.
        n_classes: classes in a batch; None: all, or as many as leave each two films.
        n_batches: in an epoch; None: about as many as cover all films once.
        seed: of all draws.

    Raises:
        ValueError: fewer than two classes, no class with two films, too small a batch, no batch, n_classes out of
            range, or not a group for each film.
    """

    def __init__(
        self,
        class_ids: np.ndarray,
        group_ids: np.ndarray,
        *,
        batch_size: int = 48,
        n_classes: int | None = None,
        n_batches: int | None = None,
        seed: int = 0,
    ) -> None:
        self.classes, _ = check_films(class_ids, group_ids)
        n_found = len(self.classes)
        check_at_least(batch_size, 4, "batch_size")
        most = min(n_found, batch_size // 2)
        self.n_classes = most if n_classes is None else n_classes
        if not 2 <= self.n_classes <= most:
            here = f"{n_found} findings and batch_size {batch_size}"
            raise ValueError(f"n_classes must be 2..{most} for {here}, got {n_classes}")
        self.rows = {int(c): np.flatnonzero(class_ids == c) for c in self.classes}
        self.group_ids = np.asarray(group_ids)
        self.batch_size, self.seed = batch_size, seed
        self.n_batches = max(1, round(len(class_ids) / batch_size)) if n_batches is None else n_batches
        check_at_least(self.n_batches, 1, "n_batches")
        self.epoch = 0

    def __len__(self) -> int:
        return self.n_batches

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch of this epoch."""
        rng = generator(self.seed, "balanced batches", self.epoch)
        queues: dict[int, list[int]] = {class_id: [] for class_id in self.rows}
        for _ in range(self.n_batches):
            chosen = rng.permutation(self.classes)[: self.n_classes].tolist()
            batch: list[int] = []
            for position, class_id in enumerate(chosen):
                share = self.batch_size // self.n_classes + (position < self.batch_size % self.n_classes)
                batch += self._take(queues[class_id], class_id, share, rng)
            yield batch
        self.epoch += 1

    def _take(self, queue: list[int], class_id: int, share: int, rng: np.random.Generator) -> list[int]:
        share = min(share, len(self.rows[class_id]))
        taken: list[int] = []
        while len(taken) < share:
            # A film taken at the end of one round must not come again at the start of the next, in the same batch.
            position = next((index for index, row in enumerate(queue) if row not in taken), None)
            if position is None:
                queue += self._shuffled(class_id, rng, self.group_ids[taken])
            else:
                taken.append(queue.pop(position))
        return taken

    def _shuffled(self, class_id: int, rng: np.random.Generator, groups: np.ndarray) -> list[int]:
        """Return the films of a class, one of each patient, then a second one of each; in each turn `groups` last."""
        rows = rng.permutation(self.rows[class_id])
        seen: dict[int, int] = {}
        turns = []
        for group in self.group_ids[rows].tolist():
            turns.append(seen.get(group, 0))
            seen[group] = turns[-1] + 1
        is_late = np.isin(self.group_ids[rows], groups)
        shuffled: list[int] = rows[np.lexsort((is_late, np.array(turns)))].tolist()
        return shuffled


def check_films(class_ids: np.ndarray, group_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes and how many films each has, after checking that films of two classes can be compared."""
    if len(class_ids) != len(group_ids):
        raise ValueError(f"each film needs its class and its group: got {len(class_ids)} and {len(group_ids)}")
    classes, sizes = np.unique(class_ids, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"metric learning needs films of two findings or more, got {len(classes)}: add a finding")
    if sizes.max() < 2:
        raise ValueError("metric learning needs a finding with two films; each finding here has one")
    return classes, sizes
