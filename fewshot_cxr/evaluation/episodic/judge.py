"""One rule on one set of embeddings: from a block of episodes to the statistics of each."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import lookup
from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodeBlock, EpisodePart
from fewshot_cxr.evaluation.episodic.clock import Clock
from fewshot_cxr.evaluation.episodic.tally import BIN_SUMS, OPEN_SCORES, Judged, Layout
from fewshot_cxr.evaluation.episodic.threads import threads_for
from fewshot_cxr.inference.rules import RULES, TRANSDUCTIVE
from fewshot_cxr.metrics import (
    area_under_risk_coverage,
    brier_score,
    class_probabilities,
    log_odds,
    one_vs_rest,
    open_set_scores,
    reliability_bins,
    risk_coverage,
    tie_credits,
)

COVERAGES = tuple(step / 20 for step in range(1, 21))
_N_NEAREST = 5  # exemplars of the kNN score of the open set
_CACHED_VALUES = 3 << 18  # of embeddings looked at together, 3 MiB: what stays in a core's cache from step to step
_FEWEST_AT_ONCE = 16  # episodes; with fewer, the calls cost more than the arithmetic


class Judge:
    """Apply a rule to episodes, and keep what is only added up: the confusion matrix and the risk-coverage curve.

    Args:
        films: embeddings, moved to the device once.
        rule: a name in RULES.
        distance: a name in DISTANCES.
        layout: of the statistics.
        temperatures: of the probabilities, as many as the layout has.
        options: further keyword arguments of the rule.
        device: where the arithmetic is done.
    """

    def __init__(
        self,
        films: Embeddings,
        *,
        rule: str,
        distance: str,
        layout: Layout,
        temperatures: tuple[float, ...] = (1.0,),
        options: Mapping[str, Any] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._decide: Callable[..., Tensor] = partial(
            lookup(RULES, rule, what="rule"), distance=distance, **options or {}
        )
        self.rule, self.distance, self.temperatures = rule, distance, temperatures
        self._device = device or torch.device("cpu")
        self._vectors = torch.tensor(films.vectors, device=self._device)
        self.n_threads = threads_for(self._device)
        self.layout, self.clock = layout, Clock(self.n_threads)
        self.confusion = np.zeros((len(layout.findings),) * 2)
        self.risks, self._n_risks = np.zeros(len(COVERAGES)), 0

    @torch.inference_mode()
    def __call__(self, block: EpisodeBlock) -> Judged:
        """Judge a block of episodes; several threads may do so at once."""
        parts, rows, confusion, risks = [], [], np.zeros_like(self.confusion), np.zeros_like(self.risks)
        for part in block.parts():
            with self.clock.times("distances"):
                known, unknown, to_exemplars = self._distances(part)
                self._wait()
            with self.clock.times("metrics"):
                statistics, counts = self._statistics(part, known)
                confusion += counts
                if unknown is not None and to_exemplars is not None:
                    found, more = self._open_set(known, unknown, to_exemplars, part)
                    statistics |= found
                    risks += more
                rows.append(self.layout.join(statistics).cpu())
            parts.append(part.positions)
        if len(rows) == 1:
            return Judged(rows[0], confusion, risks)
        return Judged(torch.cat(rows)[torch.from_numpy(np.concatenate(parts).argsort())], confusion, risks)

    def count(self, judged: Judged) -> None:
        """Let the episodes of a block enter `confusion` and `mean_risks`."""
        self.confusion += judged.confusion
        self.risks += judged.risks
        self._n_risks += len(judged.rows)

    @torch.inference_mode()
    def distances(self, part: EpisodePart) -> Tensor:
        """Return the rule's distances of the queries, (b, n_queries, n_way)."""
        return self._distances(part)[0]

    def mean_risks(self) -> tuple[tuple[float, float], ...]:
        """Return the risk-coverage curve over all episodes: (share answered, share of those answered wrongly)."""
        return tuple(zip(COVERAGES, (self.risks / max(self._n_risks, 1)).tolist(), strict=True))

    def _distances(self, part: EpisodePart) -> tuple[Tensor, Tensor | None, Tensor | None]:
        labels = torch.from_numpy(part.support_labels).to(self._device)
        sides = [part.support, part.query] if part.outside is None else [part.support, part.query, part.outside]
        step = len(part)
        if self._device.type == "cpu":
            n_values = sum(side.shape[1] for side in sides) * self._vectors.shape[1]
            step = max(_FEWEST_AT_ONCE, _CACHED_VALUES // max(1, n_values))
        found = [
            self._distances_of(labels, *(side[first : first + step] for side in sides))
            for first in range(0, len(part), step)
        ]
        known, unknown, nearest = zip(*found, strict=True)
        if unknown[0] is None:
            return _stacked(known), None, None
        return _stacked(known), _stacked(unknown), torch.cat(nearest)

    def _distances_of(
        self, labels: Tensor, support_rows: np.ndarray, query_rows: np.ndarray, outside_rows: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        support, queries = self._embeddings(support_rows), self._embeddings(query_rows)
        if outside_rows is None or not self.layout.has_outside:
            return self._decide(support, labels, queries), None, None
        asked = torch.cat([queries, self._embeddings(outside_rows)], dim=1)
        n_known = queries.shape[1]
        both = self._decide(support, labels, asked)
        # A transductive rule would let the unknown films move its answers to the known ones.
        known = self._decide(support, labels, queries) if self.rule in TRANSDUCTIVE else both[:, :n_known]
        nearest = pairwise_distances(asked, support, self.distance).topk(min(_N_NEAREST, len(labels)), largest=False)
        return known, both[:, n_known:], nearest.values.mean(dim=-1)

    def _statistics(self, part: EpisodePart, distances: Tensor) -> tuple[dict[str, Tensor], np.ndarray]:
        class_ids = torch.from_numpy(part.class_ids).to(self._device)
        labels = torch.from_numpy(part.query_labels).to(self._device)
        truth = functional.one_hot(labels, class_ids.shape[1]).to(distances.dtype)
        credits = tie_credits(distances)
        confusion = truth.T @ credits  # (b, n_way, n_way)
        cells = class_ids[:, :, None] * len(self.layout.findings) + class_ids[:, None, :]
        counts = np.bincount(cells.flatten().cpu(), confusion.flatten().cpu(), self.confusion.size)
        counts = counts.reshape(self.confusion.shape)
        right = confusion.diagonal(dim1=1, dim2=2)
        ranking = one_vs_rest(log_odds(distances), labels, class_ids.shape[1])
        found = self._calibration(distances, credits, labels)
        if self.layout.is_wide:
            found["right"] = right.sum(dim=1, keepdim=True)
            found["asked"] = torch.full_like(found["right"], len(labels))
            found["balanced"] = (right / truth.sum(dim=0)).mean(dim=1, keepdim=True)
            for name, values in zip(("auroc", "auprc"), ranking, strict=True):
                found[name] = values.mean(dim=1, keepdim=True)
            return found, counts
        found["confusion"] = _spread(cells.flatten(1), confusion.flatten(1), self.confusion.size)
        is_ranked = ranking[0].isfinite() & ranking[1].isfinite()
        for name, values in zip(("auroc", "auprc", "ranked"), (*ranking, is_ranked.double()), strict=True):
            found[name] = _spread(class_ids, torch.where(is_ranked, values, 0.0), len(self.layout.findings))
        return found, counts

    def _calibration(self, distances: Tensor, credits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        correct = credits[:, torch.arange(len(labels), device=labels.device), labels]
        found: dict[str, Tensor] = {}
        for number, temperature in enumerate(self.temperatures):
            probabilities = class_probabilities(distances, temperature)
            found[f"brier{number}"] = brier_score(probabilities, labels).unsqueeze(1)
            sums = reliability_bins(probabilities.amax(dim=-1), correct)
            found |= {f"{name}{number}": one for name, one in zip(BIN_SUMS, sums, strict=True)}
        return found

    def _open_set(
        self, known: Tensor, unknown: Tensor, nearest: Tensor, part: EpisodePart
    ) -> tuple[dict[str, Tensor], np.ndarray]:
        n_known = known.shape[1]
        asked = torch.cat([known, unknown], dim=1)
        confidence = log_odds(asked).amax(dim=-1)  # orders films as the largest probability, which rounds to 1
        found: dict[str, Tensor] = {}
        for name, score in zip(OPEN_SCORES, (confidence, -asked.amin(dim=-1), -nearest), strict=True):
            auroc, fpr = open_set_scores(score[:, :n_known], score[:, n_known:])
            found |= {f"auroc {name}": auroc.unsqueeze(1), f"fpr {name}": fpr.unsqueeze(1)}
        labels = torch.from_numpy(part.query_labels).to(self._device)
        error = torch.ones_like(confidence)
        error[:, :n_known] -= tie_credits(known)[:, torch.arange(n_known, device=labels.device), labels]
        grid = torch.tensor(COVERAGES, dtype=torch.float64, device=self._device)
        risks = risk_coverage(confidence, error, grid).sum(dim=0).cpu().numpy()
        return found | {"area": area_under_risk_coverage(confidence, error).unsqueeze(1)}, risks

    def _embeddings(self, rows: np.ndarray) -> Tensor:
        where = torch.from_numpy(rows).to(self._device)
        return self._vectors.index_select(0, where.flatten()).reshape(*where.shape, -1)

    def _wait(self) -> None:
        if self._device.type == "cuda":  # its work is queued: without this the clock would charge the next step
            torch.cuda.synchronize(self._device)


def _stacked(distances: Sequence[Tensor]) -> Tensor:
    """Join (b, n_queries, n_way) along b, class by class in memory: sums over so few classes are faster that way."""
    return torch.cat([each.mT for each in distances]).mT


def _spread(where: Tensor, values: Tensor, size: int) -> Tensor:
    """Put values (b, k) at the places `where` (b, k) of rows that are 0 elsewhere: float64 (b, size)."""
    rows = torch.zeros(len(values), size, dtype=torch.float64, device=values.device)
    return rows.scatter_(1, where, values.double())
