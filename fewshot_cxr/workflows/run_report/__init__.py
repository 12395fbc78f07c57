"""One page on runs and results, with the films that they were judged on."""

from fewshot_cxr.workflows.run_report.films import ReportFilms, film_sections
from fewshot_cxr.workflows.run_report.inputs import Inputs, read_inputs
from fewshot_cxr.workflows.run_report.page import GivenFilms, load_films, report_page

__all__ = ["GivenFilms", "Inputs", "ReportFilms", "film_sections", "load_films", "read_inputs", "report_page"]
