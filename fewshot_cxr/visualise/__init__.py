"""Figures from arrays and plain values: every function returns a Figure; none shows it or saves it."""

from fewshot_cxr.visualise.curves import pr_figure, roc_figure
from fewshot_cxr.visualise.exemplars import exemplar_figure, rank_table_figure
from fewshot_cxr.visualise.figures import class_counts_figure, confusion_matrix_figure, recall_figure
from fewshot_cxr.visualise.films import sample_grid_figure
from fewshot_cxr.visualise.focus_figure import FocusBar, deletion_figure, focus_figure
from fewshot_cxr.visualise.heat import HeatTile, heat_figure, heat_sheet_figure
from fewshot_cxr.visualise.neighbours import NeighbourRow, neighbours_figure
from fewshot_cxr.visualise.projection import (
    PROJECTIONS,
    TSNE_PUBLISHED,
    Projection,
    project,
    published_rows,
    silhouette,
)
from fewshot_cxr.visualise.projection_figure import projection_figure, projections_figure
from fewshot_cxr.visualise.reliability import reliability_figure, risk_coverage_figure
from fewshot_cxr.visualise.som import Som, class_proximity, train_som
from fewshot_cxr.visualise.som_figures import som_distance_figure, som_hits_figure
from fewshot_cxr.visualise.style import THEMES, Figure
from fewshot_cxr.visualise.training_curves import learning_curves_figure

__all__ = [
    "PROJECTIONS",
    "THEMES",
    "TSNE_PUBLISHED",
    "Figure",
    "FocusBar",
    "HeatTile",
    "NeighbourRow",
    "Projection",
    "Som",
    "class_counts_figure",
    "class_proximity",
    "confusion_matrix_figure",
    "deletion_figure",
    "exemplar_figure",
    "focus_figure",
    "heat_figure",
    "heat_sheet_figure",
    "learning_curves_figure",
    "neighbours_figure",
    "pr_figure",
    "project",
    "projection_figure",
    "projections_figure",
    "published_rows",
    "rank_table_figure",
    "recall_figure",
    "reliability_figure",
    "risk_coverage_figure",
    "roc_figure",
    "sample_grid_figure",
    "silhouette",
    "som_distance_figure",
    "som_hits_figure",
    "train_som",
]
