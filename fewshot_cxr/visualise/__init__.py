"""Figures from arrays and plain values: every function returns a Figure; none shows it or saves it."""

from fewshot_cxr.visualise.curves import pr_figure, roc_figure
from fewshot_cxr.visualise.exemplars import exemplar_figure, rank_table_figure
from fewshot_cxr.visualise.figures import class_counts_figure, confusion_matrix_figure, recall_figure
from fewshot_cxr.visualise.films import sample_grid_figure
from fewshot_cxr.visualise.reliability import reliability_figure, risk_coverage_figure
from fewshot_cxr.visualise.style import THEMES, Figure
from fewshot_cxr.visualise.training_curves import learning_curves_figure

__all__ = [
    "THEMES",
    "Figure",
    "class_counts_figure",
    "confusion_matrix_figure",
    "exemplar_figure",
    "learning_curves_figure",
    "pr_figure",
    "rank_table_figure",
    "recall_figure",
    "reliability_figure",
    "risk_coverage_figure",
    "roc_figure",
    "sample_grid_figure",
]
