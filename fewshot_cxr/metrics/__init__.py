"""Numbers about predictions: thin over NumPy and SciPy, each checked against an independent oracle."""

from fewshot_cxr.metrics.confusion import confusion_counts, tie_credits
from fewshot_cxr.metrics.intervals import RunningMean

__all__ = ["RunningMean", "confusion_counts", "tie_credits"]
