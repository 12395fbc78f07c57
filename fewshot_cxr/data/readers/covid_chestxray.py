"""covid-chestxray-dataset (ieee8023), Figure1 and Actualmed: metadata.csv beside images/, three forms of one header.

Sources: Cohen et al., "COVID-19 Image Data Collection: Prospective Predictions Are the Future", 2020, arXiv:2006.11988;
the repositories ieee8023/covid-chestxray-dataset, agchung/Figure1-COVID-chestxray-dataset and
agchung/Actualmed-COVID-chestxray-dataset.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.readers.csv_table import number_of, read_rows
from fewshot_cxr.data.readers.gathering import Gathering, Row, StateOf, wrong_root
from fewshot_cxr.data.readers.views import asked_names
from fewshot_cxr.records import Record, Records

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
_EXPECTED = "metadata.csv and images/, as in a clone of covid-chestxray-dataset, Figure1 or Actualmed"
_MODALITIES = ("X-ray", "CT")
_VOLUMES = (".nii", ".nii.gz")
_RULE_WORDS = {"leaf": "the last element", "path": "the whole"}


def read_covid_chestxray(
    root: str | Path,
    *,
    views: tuple[str, ...] = ("frontal",),
    modality: tuple[str, ...] = ("X-ray",),
    finding_level: str = "leaf",
) -> Records:
    """Read the films of a metadata.csv in any of its three forms, which its header tells apart.

    Args:
        root: the folder with metadata.csv, the one above or its images/; or the CSV itself, under any name.
        views: that are taken; "frontal" stands for PA, AP, AP Supine, AP semi erect and AP erect (and in Figure1 for
            rows without a view, as most of its rows are), "all" or no name for every one. Case does not matter.
        modality: that are taken, X-ray or CT; "all" or no name for every one.
        finding_level: what "Pneumonia/Viral/COVID-19" becomes: "leaf" its last element, "path" the whole, "level1",
            "level2" or "level3" the element at this level from the top (the last, where the path ends above it).

    Returns:
        Films in the order of the rows. A finding such as "COVID-19, ARDS" is two. `source` is the site that the film
        was taken from, else the name of the list; attributes are the other columns but for the free text of the notes.
        Rows that were not asked for or state no finding are counted in `.notes`; a row of an asked modality whose film
        is missing or empty is in `.problems`, whatever its view and finding.

    Raises:
        FileNotFoundError: no metadata.csv there, or no readable row.
        ValueError: no CSV, a column is not there, an unknown view, modality or rule, or a path that leaves the root.
        TypeError: views or modality is one text.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Path(folder, "images").mkdir()
        ...     n_bytes = Path(folder, "images/1.png").write_bytes(b"a film")
        ...     with open(f"{folder}/metadata.csv", "w") as table:
        ...         print("patientid,finding,view,modality,filename", file=table)
        ...         print("7,Pneumonia/Viral/COVID-19,PA,X-ray,1.png", file=table)
        ...     [(film.findings, film.patient_id) for film in read_covid_chestxray(folder)]
        [(('COVID-19',), '7')]
    """
    table = _find_table(Path(root))
    form, rows, notes = read_covid_list(table, findings=finding_level)
    asked_views = asked_names("views", views, (*VIEWS, *(row.film.view for row in rows)))
    there = (row.film.attributes["modality"] for row in rows)
    asked_modality = asked_names("modality", modality, (*_MODALITIES, *there))
    gathering = Gathering(table.parent)
    for row in rows:
        if not row.fault and not _is_asked(row.film.attributes["modality"], asked_modality):
            gathering.pass_over(f"modality {row.film.attributes['modality'] or 'not stated'}")
        else:
            gathering.take(table, row if row.fault else _located(row, table, gathering.state_of, asked_views))
    return gathering.records((*notes, *_notes(form, table, views, modality, finding_level)))


def _find_table(root: Path) -> Path:
    if root.is_file():
        return root
    near = [root / "metadata.csv", *([root.parent / "metadata.csv"] if root.name == "images" else [])]
    found = [table for table in near if table.is_file()] or sorted(root.glob("*/metadata.csv"))
    if len(found) > 1:
        raise ValueError(f"{root} holds {len(found)} folders with a metadata.csv; name one of them: {found[0].parent}")
    if not found:
        raise wrong_root(root, _EXPECTED)
    return found[0]


def _is_asked(value: str, asked: set[str]) -> bool:
    return not asked or value.casefold() in asked


def _located(row: Row, table: Path, state_of: StateOf, asked_views: set[str]) -> Row:
    """Find the film of a row, and say whether it was asked for; one that is not there is a problem in any case."""
    # Figure1: the picture that is there, under either of two names; else the first name is the missing one.
    is_figure1, view = row.film.source == "figure1", row.film.view or ""
    names = [row.film.path, *([row.film.path.removesuffix(".jpg") + ".png"] if is_figure1 else [])]
    states = [state_of(name, table, row.number) for name in names]
    path, lost, _ = next((state for state in states if state[1] != "missing"), states[0])
    row = row._replace(film=replace(row.film, path=path))
    if lost:
        return row
    if path.lower().endswith(_VOLUMES):
        return row._replace(fault="is a volume, not a film")
    is_frontal = view in FRONTAL or (is_figure1 and not view)
    if not _is_asked(view, asked_views) and not ("frontal" in asked_views and is_frontal):
        return row._replace(unasked=f"view {view or 'not stated'}")
    return row if row.film.findings else row._replace(unasked="finding not stated (blank, todo or Unknown)")


def _notes(
    form: str, table: Path, views: tuple[str, ...], modality: tuple[str, ...], finding_level: str
) -> Iterable[str]:
    yield f"{table.name} is in the form of {FORMS[form]}"
    frontal = f"; frontal means {', '.join(FRONTAL)}" if "frontal" in views else ""
    yield f"taken: modality {', '.join(modality) or 'all'}, views {', '.join(views) or 'all'}{frontal}"
    yield f"findings: split at commas; of a path with / {_RULE_WORDS.get(finding_level, finding_level)} is taken"
    yield "the free text of the notes is left out"
    if form == "figure1":
        yield "patients: patientid without the letter at its end, which counts the films of one patient"
        yield "a row without a view counts as frontal"
    if form == "ieee8023":
        yield "some cases were collected twice, under two patients and even two findings: run `fscxr data audit`"


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
    years = number_of(age)
    if years is not None and years < 0:
        years = None
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


def _host(url: str) -> str | None:
    """Return the site that a film was taken from: "radiopaedia.org"."""
    try:
        host = urlsplit(url).hostname
    except ValueError:  # "http://[": no address at all, and so no site
        return None
    return host.removeprefix("www.") if host else None
