"""From embeddings and a protocol to a result value."""

from fewshot_cxr.evaluation.episodic import evaluate_episodes
from fewshot_cxr.evaluation.results import EpisodicResult, Estimate

__all__ = ["EpisodicResult", "Estimate", "evaluate_episodes"]
