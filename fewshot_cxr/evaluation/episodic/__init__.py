"""Few-shot episodes on cached embeddings: planned, judged, and given with what other patients would change."""

from fewshot_cxr.evaluation.episodic.evaluate import evaluate_episodes, evaluate_plan
from fewshot_cxr.evaluation.episodic.extremes import ShownEpisode, ShownQuery, extreme_episodes, replay_plan
from fewshot_cxr.evaluation.episodic.protocols import PROTOCOLS, Plan, plan_episodes

__all__ = [
    "PROTOCOLS",
    "Plan",
    "ShownEpisode",
    "ShownQuery",
    "evaluate_episodes",
    "evaluate_plan",
    "extreme_episodes",
    "plan_episodes",
    "replay_plan",
]
