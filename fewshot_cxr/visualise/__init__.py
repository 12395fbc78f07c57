"""Figures from arrays and plain values: every function returns a Figure; none shows it or saves it."""

from fewshot_cxr.visualise.figures import confusion_matrix_figure, learning_curves_figure, recall_figure
from fewshot_cxr.visualise.films import exemplar_figure, sample_grid_figure
from fewshot_cxr.visualise.reliability import reliability_figure, risk_coverage_figure
from fewshot_cxr.visualise.style import THEMES, Figure

__all__ = [
    "THEMES",
    "Figure",
    "confusion_matrix_figure",
    "exemplar_figure",
    "learning_curves_figure",
    "recall_figure",
    "reliability_figure",
    "risk_coverage_figure",
    "sample_grid_figure",
]
