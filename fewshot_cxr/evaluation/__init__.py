"""From embeddings and a protocol, or from films, to a result value."""

from fewshot_cxr.evaluation.audit import CHECKS, Audit, audit_films
from fewshot_cxr.evaluation.cautions import floor_warning, sources_apart
from fewshot_cxr.evaluation.closed_set import (
    ClosedSetResult,
    Decisions,
    decide_by_classifier,
    decide_by_exemplars,
    evaluate_closed_set,
    read_predictions,
)
from fewshot_cxr.evaluation.compare import Result, compare_results, result_from_json
from fewshot_cxr.evaluation.comparison import Comparison, Difference
from fewshot_cxr.evaluation.curves import roc_points
from fewshot_cxr.evaluation.data_hash import data_hash
from fewshot_cxr.evaluation.episodic import (
    PROTOCOLS,
    Plan,
    ShownEpisode,
    ShownQuery,
    evaluate_episodes,
    evaluate_plan,
    extreme_episodes,
    plan_episodes,
    replay_plan,
)
from fewshot_cxr.evaluation.estimates import Calibration, Estimate, OpenSet, Reliability, Scores
from fewshot_cxr.evaluation.multi_label import FindingScores, MultiLabelResult, evaluate_multi_label
from fewshot_cxr.evaluation.results import EpisodicResult, Replicates

__all__ = [
    "CHECKS",
    "PROTOCOLS",
    "Audit",
    "Calibration",
    "ClosedSetResult",
    "Comparison",
    "Decisions",
    "Difference",
    "EpisodicResult",
    "Estimate",
    "FindingScores",
    "MultiLabelResult",
    "OpenSet",
    "Plan",
    "Reliability",
    "Replicates",
    "Result",
    "Scores",
    "ShownEpisode",
    "ShownQuery",
    "audit_films",
    "compare_results",
    "data_hash",
    "decide_by_classifier",
    "decide_by_exemplars",
    "evaluate_closed_set",
    "evaluate_episodes",
    "evaluate_multi_label",
    "evaluate_plan",
    "extreme_episodes",
    "floor_warning",
    "plan_episodes",
    "read_predictions",
    "replay_plan",
    "result_from_json",
    "roc_points",
    "sources_apart",
]
