"""Where a network looks, over whole sets of films: heat, its share by place, pictures, and two runs paired."""

from fewshot_cxr.workflows.explaining.deciders import EXPLAINED_RULES
from fewshot_cxr.workflows.explaining.explainer import QUESTIONS, Explainer
from fewshot_cxr.workflows.explaining.focus_report import FilmFocus, FocusReport, explain_films
from fewshot_cxr.workflows.explaining.shown import heat_section

__all__ = [
    "EXPLAINED_RULES",
    "QUESTIONS",
    "Explainer",
    "FilmFocus",
    "FocusReport",
    "explain_films",
    "heat_section",
]
