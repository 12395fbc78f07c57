"""Figures by name, of a result, a training, films or embeddings."""

from fewshot_cxr.workflows.plots.inputs import PlotInputs, PlotOptions, read_history, read_result
from fewshot_cxr.workflows.plots.table import PLOTS, PlotKind

__all__ = ["PLOTS", "PlotInputs", "PlotKind", "PlotOptions", "read_history", "read_result"]
