"""Every finding of every film answered for itself, and judged with intervals over patients."""

from fewshot_cxr.evaluation.multi_label.answers import Answers
from fewshot_cxr.evaluation.multi_label.evaluate import evaluate_multi_label
from fewshot_cxr.evaluation.multi_label.result import FilmAnswer, FindingScores, MultiLabelResult

__all__ = ["Answers", "FilmAnswer", "FindingScores", "MultiLabelResult", "evaluate_multi_label"]
