"""Every film of a test set decided once, by exemplars or by any classifier, and judged with intervals over patients."""

from fewshot_cxr.evaluation.closed_set.by_classifier import decide_by_classifier
from fewshot_cxr.evaluation.closed_set.decisions import Decisions, decide_by_exemplars
from fewshot_cxr.evaluation.closed_set.evaluate import evaluate_closed_set
from fewshot_cxr.evaluation.closed_set.prediction_file import read_predictions
from fewshot_cxr.evaluation.closed_set.result import ClosedSetResult

__all__ = [
    "ClosedSetResult",
    "Decisions",
    "decide_by_classifier",
    "decide_by_exemplars",
    "evaluate_closed_set",
    "read_predictions",
]
