"""The metadata.csv of covid-chestxray-dataset, Figure1 and Actualmed: one row a film, three forms of one header.

Sources: Cohen et al., "COVID-19 Image Data Collection: Prospective Predictions Are the Future", 2020, arXiv:2006.11988;
the repositories ieee8023/covid-chestxray-dataset, agchung/Figure1-COVID-chestxray-dataset and
agchung/Actualmed-COVID-chestxray-dataset.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.readers.csv_table import read_rows
from fewshot_cxr.data.readers.gathering import Row
from fewshot_cxr.records import Record

FRONTAL = ("PA", "AP", "AP Supine", "AP semi erect", "AP erect")
VIEWS = (*FRONTAL, "L", "Axial", "Coronal")
FORMS = {
    "ieee8023": "covid-chestxray-dataset (its column filename names the film)",
    "actualmed": "Actualmed (its column imagename names the film)",
    "figure1": "Figure1 (no column names the film: it is images/<patientid>.jpg or .png)",
}
# What becomes of "Pneumonia/Viral/COVID-19"; a path that ends above a level keeps its last element.
FINDING_RULES: dict[str, Callable[[list[str]], str]] = {
    "leaf": lambda parts: parts[-1],
    "path": "/".join,
    "level1": lambda parts: parts[0],
    "level2": lambda parts: parts[:2][-1],
    "level3": lambda parts: parts[:3][-1],
}
_COLUMNS = ("patientid", "finding", "view", "modality")
_FILE_COLUMNS = {"filename": "ieee8023", "imagename": "actualmed"}
_FREE_TEXT = {"clinical_notes", "clinical notes", "other_notes", "other notes", "notes"}
_KNOWN = {"patientid", "finding", "view", "sex", "age", "filename", "imagename", ""}
_UNSTATED = {"", "todo", "unknown"}
_SPELLING = {"no finding": "No Finding"}  # "No finding" in Figure1 and Actualmed
_VIEW_SPELLING = {"aps": "AP Supine", **{name.casefold(): name for name in VIEWS}}  # APS: the data set's SCHEMA.md
_FILM_LETTER = re.compile(r"(?<=\d)[a-z]$")  # COVID-00039a, -b and -c of Figure1 are three films of one patient


def read_covid_list(table: str | Path, *, findings: str = "leaf") -> tuple[str, list[Row], tuple[str, ...]]:
    """Read a metadata.csv of any of the three FORMS, whether its films are there or not.

    Args:
        table: the CSV, in UTF-8 or Latin-1.
        findings: what a finding with "/" becomes, in FINDING_RULES: "leaf" its last element, "path" the whole,
            "level1", "level2", "level3" the element at this level from the top.

    Returns:
        Its form, in FORMS; every row that is not blank, of every modality and view; and notes. A row that states no
        finding has a film without one. Free text about the patient is left out. Figure1 does not name its films: the
        path is <patientid>.jpg, where it may be <patientid>.png.

    Raises:
        FileNotFoundError: no such table.
        ValueError: no CSV, a column is not there, or an unknown rule.
    """
    table = Path(table)
    lookup(FINDING_RULES, findings, what="rule for findings")
    rows, places, notes = read_rows(table, _COLUMNS)
    file_column = next((name for name in _FILE_COLUMNS if name in places), None)
    form = "figure1" if file_column is None else _FILE_COLUMNS[file_column]
    others = [name for name in sorted(places, key=places.__getitem__) if name not in _KNOWN | _FREE_TEXT]
    width = max(places.values()) + 1
    found = []
    for number, row in enumerate(rows, start=2):
        if any(row):
            cells = {name: (row[at] if at < len(row) else "").strip() for name, at in places.items()}
            named = cells[file_column or "patientid"]
            fault = "" if named else "the row names no file"
            if any(row[width:]):
                fault = f"the row has {len(row)} cells, the header names {width} columns"
            path = f"{cells.get('folder') or 'images'}/{named}" if file_column else f"images/{named}.jpg"
            attributes = {name: cells[name] for name in others}
            film = _record(path if named else "", cells, attributes, form, findings)
            found.append(Row(number, film, fault))
    return form, found, notes


def split_findings(cell: str, rule: str = "leaf") -> tuple[str, ...]:
    """Return the findings that a cell names, each once: "Pneumonia/Viral/COVID-19, ARDS" -> COVID-19 and ARDS.

    Args:
        cell: findings separated by commas, each perhaps a path of "/"; "todo", "Unknown" and "" are none.
        rule: in FINDING_RULES.

    Raises:
        ValueError: an unknown rule.
    """
    choose = lookup(FINDING_RULES, rule, what="rule for findings")
    found = []
    for name in cell.split(","):
        parts = [part.strip() for part in name.split("/")]
        if parts[-1].casefold() not in _UNSTATED:
            chosen = choose(parts)
            found.append(_SPELLING.get(chosen.casefold(), chosen))
    return tuple(dict.fromkeys(found))


def _record(path: str, cells: dict[str, str], attributes: dict[str, str], form: str, rule: str) -> Record:
    age = cells.get("age", "")
    years = _years(age)
    if age and years is None:
        attributes["age"] = age  # "50+", "early 40s"
    patient = cells["patientid"]
    return Record(
        path,
        split_findings(cells["finding"], rule),
        patient_id=(_FILM_LETTER.sub("", patient) if form == "figure1" else patient) or None,
        source=_host(cells.get("url", "")) if form == "ieee8023" else form,
        view=_VIEW_SPELLING.get(cells["view"].casefold(), cells["view"]) or None,
        age_years=years,
        sex=cells.get("sex") or None,
        attributes=attributes,
    )


def _years(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _host(url: str) -> str | None:
    """Return the site that a film was taken from: "radiopaedia.org"."""
    try:
        host = urlsplit(url).hostname
    except ValueError:  # "http://[": no address at all, and so no site
        return None
    return host.removeprefix("www.") if host else None
