"""From result values to tables and one-page reports."""

from fewshot_cxr.report.audit_page import audit_page
from fewshot_cxr.report.audit_tables import checks_table, confounding_table, counts_table
from fewshot_cxr.report.html import Headline, Page, Section, render_page
from fewshot_cxr.report.pictures import Picture, figure_png, save_figure
from fewshot_cxr.report.sections import (
    confusion_section,
    episodic_headlines,
    prediction_section,
    recall_section,
    samples_section,
    training_section,
)
from fewshot_cxr.report.tables import Table, accuracy_table, protocol_facts, recall_table

__all__ = [
    "Headline",
    "Page",
    "Picture",
    "Section",
    "Table",
    "accuracy_table",
    "audit_page",
    "checks_table",
    "confounding_table",
    "confusion_section",
    "counts_table",
    "episodic_headlines",
    "figure_png",
    "prediction_section",
    "protocol_facts",
    "recall_section",
    "recall_table",
    "render_page",
    "samples_section",
    "save_figure",
    "training_section",
]
