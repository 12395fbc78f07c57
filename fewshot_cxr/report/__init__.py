"""From result values to tables and one-page reports."""

from fewshot_cxr.report.audit_page import audit_page
from fewshot_cxr.report.audit_tables import checks_table, confounding_table, counts_table
from fewshot_cxr.report.episode_page import episode_page
from fewshot_cxr.report.episode_sections import (
    accuracy_section,
    calibration_section,
    confusion_section,
    episodic_headlines,
    findings_section,
    numbers_section,
    open_set_section,
    recall_section,
)
from fewshot_cxr.report.episode_tables import (
    accuracy_table,
    confusion_table,
    findings_table,
    numbers_table,
    recall_table,
)
from fewshot_cxr.report.episode_words import is_alarm, patients_text, protocol_facts, reading_text
from fewshot_cxr.report.extremes_section import extremes_section
from fewshot_cxr.report.html import Headline, Page, Section, render_page
from fewshot_cxr.report.multi_label_tables import multi_label_csv, multi_label_table
from fewshot_cxr.report.number_rows import numbers_csv
from fewshot_cxr.report.pictures import Picture, figure_png, save_figure
from fewshot_cxr.report.projection_section import projection_section
from fewshot_cxr.report.run_page import PageParts, run_page
from fewshot_cxr.report.run_sections import ShownResult, ShownRun
from fewshot_cxr.report.sections import prediction_section, samples_section, training_section
from fewshot_cxr.report.som_section import som_section
from fewshot_cxr.report.tables import Table

__all__ = [
    "Headline",
    "Page",
    "PageParts",
    "Picture",
    "Section",
    "ShownResult",
    "ShownRun",
    "Table",
    "accuracy_section",
    "accuracy_table",
    "audit_page",
    "calibration_section",
    "checks_table",
    "confounding_table",
    "confusion_section",
    "confusion_table",
    "counts_table",
    "episode_page",
    "episodic_headlines",
    "extremes_section",
    "figure_png",
    "findings_section",
    "findings_table",
    "is_alarm",
    "multi_label_csv",
    "multi_label_table",
    "numbers_csv",
    "numbers_section",
    "numbers_table",
    "open_set_section",
    "patients_text",
    "prediction_section",
    "projection_section",
    "protocol_facts",
    "reading_text",
    "recall_section",
    "recall_table",
    "render_page",
    "run_page",
    "samples_section",
    "save_figure",
    "som_section",
    "training_section",
]
