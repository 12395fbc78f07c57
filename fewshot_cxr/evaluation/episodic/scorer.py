"""From a block of episodes to the statistics of each."""

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr import metrics
from fewshot_cxr.episodes import EpisodeBlock, EpisodePart
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.evaluation.episodic.tally import BIN_SUMS, CONFUSION_SUMS, N_BINS, OPEN_SCORES, Layout, Scored
from fewshot_cxr.evaluation.episodic.threads import Clock
from fewshot_cxr.evaluation.scores import UNFITTED

COVERAGES = tuple(step / 20 for step in range(1, 21))


class Scorer:
    """Apply a rule to episodes, and keep what is only added up: the confusion matrix and the risk-coverage curve.

    Args:
        rule: with its films.
        layout: of the statistics.
        temperatures: of the probabilities, as many as the layout has.
        basis: of the first of them, as `Reliability` says it.
    """

    def __init__(
        self, rule: FilmRule, layout: Layout, temperatures: tuple[float, ...] = (1.0,), basis: str = UNFITTED
    ) -> None:
        self.rule, self.layout, self.temperatures, self.basis = rule, layout, temperatures, basis
        self.clock = Clock(rule.n_threads)
        self.confusion = np.zeros((len(layout.findings),) * 2)
        self.risks, self._n_risks = np.zeros(len(COVERAGES)), 0

    @torch.inference_mode()
    def __call__(self, block: EpisodeBlock) -> Scored:
        """Score a block of episodes; several threads may do so at once."""
        parts, rows, confusion, risks = [], [], np.zeros_like(self.confusion), np.zeros_like(self.risks)
        for part in block.parts():
            with self.clock.times("distances"):
                known, unknown, to_exemplars = self.rule.distances_beside(part, has_outside=self.layout.has_outside)
                self.rule.wait()
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
            return Scored(rows[0], confusion, risks)
        return Scored(torch.cat(rows)[torch.from_numpy(np.concatenate(parts).argsort())], confusion, risks)

    def count(self, scored: Scored) -> None:
        """Let the episodes of a block enter `confusion` and `mean_risks`."""
        self.confusion += scored.confusion
        self.risks += scored.risks
        self._n_risks += len(scored.rows)

    def mean_risks(self) -> tuple[tuple[float, float], ...]:
        """Return the risk-coverage curve over all episodes: (share answered, share of those answered wrongly)."""
        return tuple(zip(COVERAGES, (self.risks / max(self._n_risks, 1)).tolist(), strict=True))

    def _statistics(self, part: EpisodePart, distances: Tensor) -> tuple[dict[str, Tensor], np.ndarray]:
        class_ids = torch.from_numpy(part.class_ids).to(self.rule.device)
        labels = torch.from_numpy(part.query_labels).to(self.rule.device)
        credits = metrics.tie_credits(distances)
        confusion = _added_by_class(credits, part.query_labels)  # (b, n_way, n_way)
        cells = class_ids[:, :, None] * len(self.layout.findings) + class_ids[:, None, :]
        counts = np.bincount(cells.flatten().cpu(), confusion.flatten().cpu(), self.confusion.size)
        counts = counts.reshape(self.confusion.shape)
        right = confusion.diagonal(dim1=1, dim2=2)
        ranking = metrics.one_vs_rest(metrics.margins(distances), labels, class_ids.shape[1])
        found = self._calibration(distances, credits, labels)
        if self.layout.is_wide:
            found["right"] = right.sum(dim=1, keepdim=True)
            found["asked"] = torch.full_like(found["right"], len(labels))
            found["balanced"] = (right / labels.bincount()).mean(dim=1, keepdim=True)
            for name, values in zip(("auroc", "auprc"), ranking, strict=True):
                found[name] = values.mean(dim=1, keepdim=True)
            return found, counts
        wrong = confusion - torch.diag_embed(right)
        for name, values in zip(CONFUSION_SUMS, (right, wrong.sum(dim=2), wrong.sum(dim=1)), strict=True):
            found[name] = _spread(class_ids, values, len(self.layout.findings))
        is_ranked = ranking[0].isfinite() & ranking[1].isfinite()
        for name, values in zip(("auroc", "auprc", "ranked"), (*ranking, is_ranked.double()), strict=True):
            found[name] = _spread(class_ids, torch.where(is_ranked, values, 0.0), len(self.layout.findings))
        return found, counts

    def _calibration(self, distances: Tensor, credits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        correct = _own(credits, labels)
        found: dict[str, Tensor] = {}
        for number, temperature in enumerate(self.temperatures):
            probabilities = metrics.class_probabilities(distances, temperature)
            found[f"brier{number}"] = metrics.brier_score(probabilities, labels).unsqueeze(1)
            sums = metrics.reliability_bins(probabilities.amax(dim=-1), correct, N_BINS)
            found |= {f"{name}{number}": one for name, one in zip(BIN_SUMS, sums, strict=True)}
        return found

    def _open_set(
        self, known: Tensor, unknown: Tensor, nearest: Tensor, part: EpisodePart
    ) -> tuple[dict[str, Tensor], np.ndarray]:
        n_known, temperature = known.shape[1], self.temperatures[0]
        # They order films as the largest probability does, which rounds to 1.
        confidence = torch.cat([metrics.largest_log_odds(side / temperature) for side in (known, unknown)], dim=1)
        closest = torch.cat([known.amin(dim=-1), unknown.amin(dim=-1)], dim=1)
        found: dict[str, Tensor] = {}
        for name, score in zip(OPEN_SCORES, (confidence, -closest, -nearest), strict=True):
            auroc, fpr = metrics.open_set_scores(score[:, :n_known], score[:, n_known:])
            found |= {f"auroc {name}": auroc.unsqueeze(1), f"fpr {name}": fpr.unsqueeze(1)}
        labels = torch.from_numpy(part.query_labels).to(self.rule.device)
        error = torch.ones_like(confidence)
        error[:, :n_known] -= _own(metrics.tie_credits(known), labels)
        risks = metrics.risks_by_number(confidence, error)
        n_decided = np.ceil(np.array(COVERAGES) * risks.shape[1] - 1e-6).astype(int)
        at_coverages = risks[:, n_decided - 1].sum(dim=0).cpu().numpy()
        return found | {"area": risks.mean(dim=1, keepdim=True)}, at_coverages


def _added_by_class(credits: Tensor, labels: np.ndarray) -> Tensor:
    """Add up (b, n_queries, n_way) over the queries of each class, which lie class by class: (b, n_way, n_way)."""
    sizes = np.bincount(labels).tolist()
    return torch.stack([some.sum(dim=1) for some in torch.split(credits, sizes, dim=1)], dim=1)


def _own(values: Tensor, labels: Tensor) -> Tensor:
    """Return the value of each query's own class, (b, n_queries), of values (b, n_queries, n_way)."""
    return values.gather(-1, labels.expand(values.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def _spread(where: Tensor, values: Tensor, size: int) -> Tensor:
    """Put values (b, k) at the places `where` (b, k) of rows that are 0 elsewhere: float64 (b, size)."""
    rows = torch.zeros(len(values), size, dtype=torch.float64, device=values.device)
    return rows.scatter_(1, where, values.double())
