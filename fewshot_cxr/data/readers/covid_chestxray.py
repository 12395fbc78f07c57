"""covid-chestxray-dataset (ieee8023), and the Figure1 and Actualmed lists: metadata.csv beside images/."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.readers.covid_lists import FORMS, FRONTAL, VIEWS, read_covid_list
from fewshot_cxr.data.readers.gathering import Gathering, Row, wrong_root
from fewshot_cxr.data.readers.presence import StateOf
from fewshot_cxr.records import Records

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
    """
    table = _find_table(Path(root))
    form, rows, notes = read_covid_list(table, findings=finding_level)
    asked_views = _asked("views", views, VIEWS, (row.film.view for row in rows))
    asked_modality = _asked("modality", modality, _MODALITIES, (row.film.attributes["modality"] for row in rows))
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


def _asked(option: str, names: tuple[str, ...], known: tuple[str, ...], present: Iterable[str | None]) -> set[str]:
    """Return the asked values in lower case; empty: all of them."""
    if isinstance(names, str):
        raise TypeError(f"{option} must be a tuple of names, got the text {names!r}; write ({names!r},)")
    choices = {name: name for name in (*known, *filter(None, present), "all")}
    if option == "views":
        choices["frontal"] = "frontal"
    by_case = {name.casefold(): name for name in choices}
    asked = {lookup(choices, by_case.get(name.casefold(), name), what=option).casefold() for name in names}
    return set() if "all" in asked else asked


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
