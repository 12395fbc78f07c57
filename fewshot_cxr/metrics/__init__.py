"""Numbers about predictions and tables: thin over NumPy and SciPy, each checked against an independent oracle."""

from fewshot_cxr.metrics.association import cramers_v, cross_table
from fewshot_cxr.metrics.confusion import confusion_counts, tie_credits
from fewshot_cxr.metrics.intervals import RunningMean

__all__ = ["RunningMean", "confusion_counts", "cramers_v", "cross_table", "tie_credits"]
