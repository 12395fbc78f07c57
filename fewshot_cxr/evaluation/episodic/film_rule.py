"""One rule on one set of embeddings: from the rows of an episode to its distances."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.distances import TableDistances
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodePart
from fewshot_cxr.inference.applied_rule import AppliedRule
from fewshot_cxr.inference.device import choose_device
from fewshot_cxr.inference.rules import OF_EXEMPLARS

_N_NEAREST = 5  # exemplars of the kNN score of the open set
_CACHED_VALUES = 3 << 18  # of embeddings looked at together, 3 MiB: what stays in a core's cache from step to step
_FEWEST_AT_ONCE = 16  # episodes; with fewer, the calls cost more than the arithmetic


class FilmRule:
    """A rule with the films that it decides on, moved to the device once.

    Args:
        films: embeddings.
        rule: a name in RULES.
        distance: a name in DISTANCES.
        options: further keyword arguments of the rule.
        device: where the arithmetic is done; "auto", "cpu", "cuda" or "cuda:N".
    """

    def __init__(
        self,
        films: Embeddings,
        *,
        rule: str,
        distance: str,
        options: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        self.films, self.rule = films, AppliedRule(rule, distance, options or {})
        self.device = choose_device(device)
        self._vectors = torch.tensor(films.vectors, device=self.device)

    def on(self, films: Embeddings) -> "FilmRule":
        """Return the same rule on other films."""
        how = self.rule
        return FilmRule(films, rule=how.name, distance=how.distance, options=how.options, device=str(self.device))

    @cached_property
    def _measure(self) -> TableDistances:
        return TableDistances(self._vectors, self.rule.distance)

    @property
    def n_threads(self) -> int:
        """How many blocks are looked at at once: as many as torch has threads, or one on a GPU."""
        return torch.get_num_threads() if self.device.type == "cpu" else 1

    def decide(self, support: np.ndarray, labels: Tensor, query: np.ndarray) -> Tensor:
        """Return the rule's distances of query rows, (..., n_queries, n_way), on the device."""
        return self._decide(support, labels.to(self.device))(self._embeddings(query))

    @torch.inference_mode()
    def distances(self, part: EpisodePart) -> Tensor:
        """Return the rule's distances of the queries, (b, n_queries, n_way)."""
        return self.distances_beside(part, has_outside=False)[0]

    def distances_beside(self, part: EpisodePart, *, has_outside: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the distances of the queries, of the films outside, and of all of these to the nearest exemplars."""
        labels = torch.from_numpy(part.support_labels).to(self.device)
        support, asked = part.support, part.query
        if has_outside and part.outside is not None:
            asked = np.concatenate([part.query, part.outside], axis=1)
        step = len(part)
        if self.device.type == "cpu":
            n_values = (support.shape[1] + asked.shape[1]) * self._vectors.shape[1]
            step = max(_FEWEST_AT_ONCE, _CACHED_VALUES // max(1, n_values))
        n_known, found = part.query.shape[1], []
        for first in range(0, len(part), step):
            some = slice(first, first + step)
            found.append(self._some(labels, support[some], asked[some], n_known))
        known, unknown, nearest = zip(*found, strict=True)
        if unknown[0] is None:
            return _stacked(known), None, None
        return _stacked(known), _stacked(unknown), torch.cat(nearest)

    def _some(
        self, labels: Tensor, support: np.ndarray, asked: np.ndarray, n_known: int
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        of_exemplars = OF_EXEMPLARS.get(self.rule.name)
        has_outside, to_exemplars = n_known < asked.shape[1], None
        if of_exemplars is not None or has_outside:
            where = (torch.from_numpy(rows).to(self.device) for rows in (asked, support))
            to_exemplars = self._measure(*where)
        if of_exemplars is not None and to_exemplars is not None:
            both = of_exemplars(to_exemplars, labels, **self.rule.options)
            known = both[:, :n_known]
        else:
            films, decide = self._embeddings(asked), self._decide(support, labels)
            both = decide(films)
            # A transductive rule would let the unknown films move its answers to the known ones.
            known = decide(films[:, :n_known]) if self.rule.is_transductive and has_outside else both[:, :n_known]
        if not has_outside or to_exemplars is None:
            return known, None, None
        return known, both[:, n_known:], _mean_nearest(to_exemplars, min(_N_NEAREST, len(labels)))

    def _decide(self, rows: np.ndarray, labels: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what makes distances of queries to the classes of a support."""
        support = self._embeddings(rows)
        rule = self.rule.settled_on(support, labels, self.films.patient_ids[rows])
        return lambda queries: rule(support, labels, queries)

    def _embeddings(self, rows: np.ndarray) -> Tensor:
        where = torch.from_numpy(rows).to(self.device)
        return self._vectors.index_select(0, where.flatten()).reshape(*where.shape, -1)

    def wait(self) -> None:
        """Let queued work end, without which a clock would charge the next step."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _mean_nearest(distances: Tensor, k: int) -> Tensor:
    """Return the mean of the k smallest along the last axis; of so few NumPy finds them four times as fast as torch."""
    if distances.device.type != "cpu":
        return distances.topk(k, largest=False).values.mean(dim=-1)
    return torch.from_numpy(np.partition(distances.numpy(), k - 1, axis=-1)[..., :k].mean(axis=-1))


def _stacked(distances: Sequence[Tensor]) -> Tensor:
    """Join (b, n_queries, n_way) along b, class after class in memory: the fastest order for sums over few classes."""
    return torch.cat([each.movedim(-1, 0) for each in distances], dim=1).movedim(0, -1)
