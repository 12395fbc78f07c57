"""Labelled films that classify others: with their embeddings and the rule they decide by."""

from dataclasses import dataclass
from typing import Any

from fewshot_cxr.data import CachedFilms
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import Answers, decide_by_exemplars


@dataclass(frozen=True, eq=False)
class ExemplarJudge:
    """What classifies by exemplars: the rule with its options, the labelled films, and their embeddings."""

    rule: str
    distance: str
    options: dict[str, Any]
    films: CachedFilms
    known: Embeddings

    def decide(self, films: Embeddings) -> Answers:
        """Decide films by the rule."""
        return decide_by_exemplars(films, self.known, rule=self.rule, distance=self.distance, options=self.options)
