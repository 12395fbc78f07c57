"""From embeddings and a protocol, or from films, to a result value."""

from fewshot_cxr.evaluation.audit import CHECKS, Audit, audit_films
from fewshot_cxr.evaluation.data_hash import data_hash
from fewshot_cxr.evaluation.episodic import PROTOCOLS, Plan, evaluate_episodes, evaluate_plan, plan_episodes
from fewshot_cxr.evaluation.estimates import Calibration, Estimate, OpenSet, Reliability, Scores
from fewshot_cxr.evaluation.results import EpisodicResult, Replicates

__all__ = [
    "CHECKS",
    "PROTOCOLS",
    "Audit",
    "Calibration",
    "EpisodicResult",
    "Estimate",
    "OpenSet",
    "Plan",
    "Reliability",
    "Replicates",
    "Scores",
    "audit_films",
    "data_hash",
    "evaluate_episodes",
    "evaluate_plan",
    "plan_episodes",
]
