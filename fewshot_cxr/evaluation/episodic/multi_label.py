"""Episodes on films that may show several findings: each finding of an episode is told against its absence.

For a finding, the support films that show it are one class and those that do not the other, so every rule serves. Films
of which the finding is not stated are left out for it. The score is how much nearer "present" is than "absent".
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.episodes import EpisodeBlock
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.evaluation.episodic.tally import OF_FINDING, Key, Scored
from fewshot_cxr.evaluation.episodic.threads import Clock
from fewshot_cxr.metrics import Cells, mean_of_defined, numbers_in, ranking_scores

_CELLS = ("absent, taken for absent", "absent, taken for present", "present, taken for absent", "present, taken so")
_RANKED = ("auroc", "auprc", "ranked")


@dataclass(frozen=True)
class MultiLabelLayout:
    """Where each statistic stands in an episode's row: four cells and three ranking sums for each finding."""

    findings: tuple[str, ...]
    has_outside: bool = False
    why_absent: str = "films may show several findings: only one-vs-rest numbers are defined"

    @property
    def n_statistics(self) -> int:
        """Length of a row."""
        return len(self.findings) * (len(_CELLS) + len(_RANKED))

    def numbers(self, mean: Tensor) -> dict[Key, Tensor]:
        """Make the numbers of the means (..., n_statistics), each of shape (...); what is undefined is NaN."""
        table = mean.reshape(*mean.shape[:-1], len(self.findings), -1)
        cells = Cells(table[..., : len(_CELLS)].reshape(*table.shape[:-1], 2, 2))
        is_ranked = table[..., -1] > 0
        ranked = torch.where(is_ranked, table[..., -1], 1.0)
        numbers = numbers_in("finding").items()
        of_finding = {name: one.of_finding(cells)[..., 1] for name, one in numbers if one.of_finding}
        of_finding |= {
            name: torch.where(is_ranked, table[..., len(_CELLS) + place] / ranked, torch.nan)
            for place, name in enumerate(_RANKED[:2])
        }
        overall = {
            "balanced_accuracy": (of_finding["sensitivity"] + of_finding["specificity"]) / 2,
            "macro_f1": of_finding["f1"],
            "auroc": of_finding["auroc"],
            "auprc": of_finding["auprc"],
        }
        found: dict[Key, Tensor] = {(name,): mean_of_defined(values) for name, values in overall.items()}
        for place, finding in enumerate(self.findings):
            found |= {(OF_FINDING, finding, name): values[..., place] for name, values in of_finding.items()}
        return found


class MultiLabelScorer:
    """Apply a rule to multi-label episodes, one finding at a time; see `Scorer`.

    Args:
        rule: with its films.
    """

    temperatures: tuple[float, ...] = ()

    def __init__(self, rule: FilmRule) -> None:
        self.rule, self._stated = rule, rule.films.class_ids
        self.layout, self.clock = MultiLabelLayout(rule.films.class_names), Clock(rule.n_threads)
        self.confusion = np.zeros((0, 0))

    @torch.inference_mode()
    def __call__(self, block: EpisodeBlock) -> Scored:
        """Score a block of episodes; several threads may do so at once."""
        table = torch.zeros(len(block), len(self.layout.findings), len(_CELLS) + len(_RANKED), dtype=torch.float64)
        with self.clock.times("distances"):
            for episode, class_ids in enumerate(block.class_ids.tolist()):
                sides = (np.unique(side[episode][side[episode] >= 0]) for side in (block.support, block.query))
                support, query = sides
                for class_id in class_ids:
                    table[episode, class_id] = self._one(support, query, class_id)
        return Scored(table.flatten(1), self.confusion, np.zeros(0))

    def count(self, scored: Scored) -> None:
        """Several findings have no confusion matrix: there is nothing to count."""

    def _one(self, support: np.ndarray, query: np.ndarray, class_id: int) -> Tensor:
        """Tell one finding in one episode: its four cells as shares of the queries, and its ranking."""
        stated = self._stated[:, class_id]
        support, query = (rows[~np.isnan(stated[rows])] for rows in (support, query))
        labels, truth = (torch.from_numpy(stated[rows]).long() for rows in (support, query))
        if not len(query) or not bool((labels == 0).any() and (labels == 1).any()):
            return torch.zeros(len(_CELLS) + len(_RANKED), dtype=torch.float64)
        distances = self.rule.decide(support, labels, query).double().cpu()
        score = distances[:, 0] - distances[:, 1]
        present = torch.where(score > 0, 1.0, torch.where(score == 0, 0.5, 0.0)).double()
        cells = torch.zeros(2, 2, dtype=torch.float64)
        cells.index_add_(0, truth, torch.stack([1 - present, present], dim=1) / len(truth))
        auroc, auprc = ranking_scores(score, truth == 1)
        is_ranked = bool(auroc.isfinite() & auprc.isfinite())
        ranking = torch.stack([auroc, auprc, torch.ones_like(auroc)]) if is_ranked else torch.zeros(3)
        return torch.cat([cells.flatten(), ranking.double()])
