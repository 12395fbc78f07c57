"""covid-chestxray-dataset (ieee8023), and the Figure1 and Actualmed lists: metadata.csv beside images/."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.readers.covid_lists import FORMS, FRONTAL, VIEWS, CovidList, ListedFilm, read_covid_list
from fewshot_cxr.data.readers.gathering import Gathering, wrong_root
from fewshot_cxr.data.readers.presence import file_states
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
    listing = read_covid_list(table, findings=finding_level)
    asked_views = _asked("views", views, VIEWS, (item.film.view for item in listing.films))
    asked_modality = _asked("modality", modality, _MODALITIES, (item.modality for item in listing.films))
    gathering = Gathering(table.parent)
    state_of = file_states(table.parent)
    for item in listing.films:
        if item.fault:
            gathering.leave_out(item.row, item.film.path, item.fault)
        elif not _is_asked(item.modality, asked_modality):
            gathering.pass_over(f"modality {item.modality or 'not stated'}")
        else:
            states = [state_of(path, table, item.row) for path in item.paths]
            # Figure1: the picture that is there, under either of two names; else the first name is the missing one.
            path, kind, reason = next((state for state in states if state[1] != "missing"), states[0])
            if kind:
                gathering.leave_out(item.row, path, reason, kind=kind)
            else:
                _take(gathering, table, item, path, asked_views)
    return gathering.records(_notes(listing, table, views, modality, finding_level))


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


def _take(gathering: Gathering, table: Path, item: ListedFilm, path: str, asked: set[str]) -> None:
    """Take the film of a row, or pass it over; the file is there."""
    film = item.film
    is_frontal = film.view in FRONTAL or (not film.view and film.source == "figure1")
    if path.lower().endswith(_VOLUMES):
        gathering.leave_out(item.row, path, "is a volume, not a film")
    elif not _is_asked(film.view or "", asked) and not ("frontal" in asked and is_frontal):
        gathering.pass_over(f"view {film.view or 'not stated'}")
    elif not film.findings:
        gathering.pass_over("finding not stated (blank, todo or Unknown)")
    else:
        gathering.add(table, item.row, replace(film, path=path))


def _notes(
    listing: CovidList, table: Path, views: tuple[str, ...], modality: tuple[str, ...], finding_level: str
) -> Iterable[str]:
    yield from listing.notes
    yield f"{table.name} is in the form of {FORMS[listing.form]}"
    frontal = f"; frontal means {', '.join(FRONTAL)}" if "frontal" in views else ""
    yield f"taken: modality {', '.join(modality) or 'all'}, views {', '.join(views) or 'all'}{frontal}"
    yield f"findings: split at commas; of a path with / {_RULE_WORDS.get(finding_level, finding_level)} is taken"
    yield "the free text of the notes is left out"
    if listing.form == "figure1":
        yield "patients: patientid without the letter at its end, which counts the films of one patient"
        yield "a row without a view counts as frontal"
    if listing.form == "ieee8023":
        yield "some cases were collected twice, under two patients and even two findings: run `fscxr data audit`"
