"""From embeddings and a protocol, or from films, to a result value."""

from fewshot_cxr.evaluation.audit import CHECKS, Audit, audit_films
from fewshot_cxr.evaluation.episodic import evaluate_episodes
from fewshot_cxr.evaluation.results import EpisodicResult, Estimate

__all__ = ["CHECKS", "Audit", "EpisodicResult", "Estimate", "audit_films", "evaluate_episodes"]
