"""The pages that a browser is shown: templates, and the function that fills them in."""

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from fewshot_cxr.report.pictures import data_uri


def render(template: str, **values: Any) -> str:
    """Return a page as HTML; every text is escaped.

    Args:
        template: its name.
        values: what it shows.
    """
    return _environment().get_template(template).render(**values)


def source(name: str) -> str:
    """Return a template's own text, such as that of the style."""
    loader = _environment().loader
    return loader.get_source(_environment(), name)[0] if loader is not None else ""


@cache
def _environment() -> Environment:
    found = Environment(
        loader=ChoiceLoader([PackageLoader("fewshot_cxr.serve"), PackageLoader("fewshot_cxr.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["data_uri"] = data_uri
    return found
