"""From a block of episodes to the statistics of each."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr import metrics
from fewshot_cxr.episodes import EpisodeBlock, EpisodePart
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.evaluation.episodic.tally import BIN_SUMS, OPEN_SCORES, Layout, Scored
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
        truth = functional.one_hot(labels, class_ids.shape[1]).to(distances.dtype)
        credits = metrics.tie_credits(distances)
        confusion = truth.T @ credits  # (b, n_way, n_way)
        cells = class_ids[:, :, None] * len(self.layout.findings) + class_ids[:, None, :]
        counts = np.bincount(cells.flatten().cpu(), confusion.flatten().cpu(), self.confusion.size)
        counts = counts.reshape(self.confusion.shape)
        right = confusion.diagonal(dim1=1, dim2=2)
        ranking = metrics.one_vs_rest(metrics.margins(distances), labels, class_ids.shape[1])
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
            probabilities = metrics.class_probabilities(distances, temperature)
            found[f"brier{number}"] = metrics.brier_score(probabilities, labels).unsqueeze(1)
            sums = metrics.reliability_bins(probabilities.amax(dim=-1), correct)
            found |= {f"{name}{number}": one for name, one in zip(BIN_SUMS, sums, strict=True)}
        return found

    def _open_set(
        self, known: Tensor, unknown: Tensor, nearest: Tensor, part: EpisodePart
    ) -> tuple[dict[str, Tensor], np.ndarray]:
        n_known = known.shape[1]
        asked = torch.cat([known, unknown], dim=1)
        # They order films as the largest probability does, which rounds to 1.
        confidence = metrics.log_odds(asked / self.temperatures[0]).amax(dim=-1)
        found: dict[str, Tensor] = {}
        for name, score in zip(OPEN_SCORES, (confidence, -asked.amin(dim=-1), -nearest), strict=True):
            auroc, fpr = metrics.open_set_scores(score[:, :n_known], score[:, n_known:])
            found |= {f"auroc {name}": auroc.unsqueeze(1), f"fpr {name}": fpr.unsqueeze(1)}
        labels = torch.from_numpy(part.query_labels).to(self.rule.device)
        error = torch.ones_like(confidence)
        error[:, :n_known] -= metrics.tie_credits(known)[:, torch.arange(n_known, device=labels.device), labels]
        grid = torch.tensor(COVERAGES, dtype=torch.float64, device=self.rule.device)
        risks = metrics.risk_coverage(confidence, error, grid).sum(dim=0).cpu().numpy()
        return found | {"area": metrics.area_under_risk_coverage(confidence, error).unsqueeze(1)}, risks


def _spread(where: Tensor, values: Tensor, size: int) -> Tensor:
    """Put values (b, k) at the places `where` (b, k) of rows that are 0 elsewhere: float64 (b, size)."""
    rows = torch.zeros(len(values), size, dtype=torch.float64, device=values.device)
    return rows.scatter_(1, where, values.double())
