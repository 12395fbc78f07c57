"""Numbers about predictions and tables: thin over torch and SciPy, each checked against an independent oracle."""

from fewshot_cxr.metrics.association import cramers_v, cross_table
from fewshot_cxr.metrics.bounded import bounded_interval
from fewshot_cxr.metrics.calibration import (
    brier_score,
    class_probabilities,
    expected_calibration_error,
    fit_temperature,
    log_odds,
    reliability_bins,
)
from fewshot_cxr.metrics.confusion import confusion_counts, tie_credits
from fewshot_cxr.metrics.estimate import Estimate, Interval
from fewshot_cxr.metrics.intervals import RunningMean, RunningMoments, t_interval, wilson_interval
from fewshot_cxr.metrics.open_set import area_under_risk_coverage, open_set_scores, risk_coverage
from fewshot_cxr.metrics.paired import DeLong, McNemar, delong, mcnemar
from fewshot_cxr.metrics.ranking import one_vs_rest, ranking_scores
from fewshot_cxr.metrics.scores import confusion_scores

__all__ = [
    "DeLong",
    "Estimate",
    "Interval",
    "McNemar",
    "RunningMean",
    "RunningMoments",
    "area_under_risk_coverage",
    "bounded_interval",
    "brier_score",
    "class_probabilities",
    "confusion_counts",
    "confusion_scores",
    "cramers_v",
    "cross_table",
    "delong",
    "expected_calibration_error",
    "fit_temperature",
    "log_odds",
    "mcnemar",
    "one_vs_rest",
    "open_set_scores",
    "ranking_scores",
    "reliability_bins",
    "risk_coverage",
    "t_interval",
    "tie_credits",
    "wilson_interval",
]
