"""One rule on one set of embeddings: from the rows of an episode to its distances."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodePart
from fewshot_cxr.inference.applied_rule import AppliedRule
from fewshot_cxr.inference.device import choose_device

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
        sides = [part.support, part.query, *([] if part.outside is None else [part.outside])]
        step = len(part)
        if self.device.type == "cpu":
            n_values = sum(side.shape[1] for side in sides) * self._vectors.shape[1]
            step = max(_FEWEST_AT_ONCE, _CACHED_VALUES // max(1, n_values))
        sides = sides if has_outside else sides[:2]
        found = [
            self._some(labels, *(side[first : first + step] for side in sides)) for first in range(0, len(part), step)
        ]
        known, unknown, nearest = zip(*found, strict=True)
        if unknown[0] is None:
            return _stacked(known), None, None
        return _stacked(known), _stacked(unknown), torch.cat(nearest)

    def _some(
        self, labels: Tensor, support_rows: np.ndarray, query_rows: np.ndarray, outside_rows: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        queries, decide = self._embeddings(query_rows), self._decide(support_rows, labels)
        if outside_rows is None:
            return decide(queries), None, None
        asked = torch.cat([queries, self._embeddings(outside_rows)], dim=1)
        n_known = queries.shape[1]
        both = decide(asked)
        # A transductive rule would let the unknown films move its answers to the known ones.
        known = decide(queries) if self.rule.is_transductive else both[:, :n_known]
        to_exemplars = pairwise_distances(asked, self._embeddings(support_rows), self.rule.distance)
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
    """Join (b, n_queries, n_way) along b, class by class in memory: sums over so few classes are faster that way."""
    return torch.cat([each.mT for each in distances]).mT
