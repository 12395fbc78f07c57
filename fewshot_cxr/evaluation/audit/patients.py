"""What the records alone tell of patients: contradictory labels, views, children among adults."""

from collections.abc import Iterable

import numpy as np

from fewshot_cxr.evaluation.audit.result import (
    Children,
    ContradictoryPatient,
    Measure,
    Views,
)
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.metrics.association import cramers_v, cross_table
from fewshot_cxr.records import Record, Records

ADULT_YEARS = 18
_NORMAL = frozenset({"normal", "no finding"})


def contradictory_patients(records: Records) -> tuple[ContradictoryPatient, ...]:
    """Find patients whose films carry findings that exclude each other.

    In a set of single-label films: films of one patient with different findings. In a multi-label set (one film at
    least has several findings) only "normal" or "No Finding" beside another finding, on one film or over several: two
    films of different findings contradict nothing there. A patient may also have changed between two films; whether
    that is so, dates tell, which no record has.
    """
    is_multi_label = any(len(film.findings) > 1 for film in records)
    found = _films_of_two_labels(records)
    for patient, films in films_of(records, "patient_id").items():
        names = tuple(sorted({name for film in films for name in film.findings}))
        n_normal = sum(_is_normal(name) for name in names)
        if len(names) > 1 and (0 < n_normal < len(names) or not is_multi_label):
            found.append(ContradictoryPatient(patient, names, len(films), tuple(film.path for film in films)))
    return tuple(found)


def _films_of_two_labels(records: Records) -> list[ContradictoryPatient]:
    film_of = {film.path: film for film in records}
    found = []
    for problem in records.problems:
        film = film_of.get(problem.path)
        if film is not None and problem.kind == "finding_conflict":
            names = tuple(sorted({*film.findings, *problem.clash.split("|")}))
            found.append(ContradictoryPatient(film.patient_id or film.path, names, 1, (film.path,)))
    return found


def contradiction_rule(records: Records) -> str:
    """Say in a sentence what `contradictory_patients` counted."""
    if any(len(film.findings) > 1 for film in records):
        return "multi-label set: a patient is contradictory when normal (No Finding) stands beside another finding"
    return "single-label set: a patient is contradictory when its films have different findings"


def association(rows: list[str], columns: list[str], *, what: str) -> Measure:
    """Return Cramer's V of two columns of films, or why it cannot be assessed.

    Args:
        rows: the finding of each film.
        columns: source or view of each of these films.
        what: the word for the columns: "source", "view".
    """
    for name, values in ((what, columns), ("finding", rows)):
        if not values:
            return Measure.impossible(f"no {what} is stated")
        if len(set(values)) == 1:
            return Measure.impossible(f"one {name}")
    counts = np.array([list(line.values()) for line in cross_table(rows, columns).values()])
    findings = tuple(sorted(set(rows)))
    corrected = cramers_v(counts, is_corrected=True)
    return Measure(Estimate(cramers_v(counts)), corrected, chance=0.0, n_films=len(rows), findings=findings)


def tabulate(records: Iterable[Record], column: str) -> dict[str, dict[str, int]]:
    """Count films by finding and a column ("source", "view"); a film counts under each of its findings."""
    pairs = [(name, getattr(film, column) or "not stated") for film in records for name in film.findings]
    return cross_table([name for name, _ in pairs], [value for _, value in pairs])


def views(records: Records) -> Views:
    """Tell how findings and views go together; Cramer's V is over the single-label films with a view."""
    stated = [(film.finding, film.view) for film in records if len(film.findings) == 1 and film.view]
    measure = association([name for name, _ in stated], [view for _, view in stated], what="view")
    return Views(tabulate(records, "view"), measure)


def children_among_adults(records: Records) -> Children:
    """Count films of children and adults by finding; a film without an age counts as neither."""
    aged = [(film, film.age_years < ADULT_YEARS) for film in records if film.age_years is not None]
    if not aged:
        return Children(False, "cannot be assessed: no ages", n_unknown=len(records))
    by_finding: dict[str, dict[str, int]] = {}
    for film, is_child in aged:
        for name in film.findings:
            counts = by_finding.setdefault(name, {"children": 0, "adults": 0})
            counts["children" if is_child else "adults"] += 1
    n_children = sum(is_child for _, is_child in aged)
    return Children(
        True,
        n_children=n_children,
        n_adults=len(aged) - n_children,
        n_unknown=len(records) - len(aged),
        by_finding=dict(sorted(by_finding.items())),
    )


def films_of(records: Records, column: str) -> dict[str, list[Record]]:
    """Return the films of each patient ("patient_id") or group ("group_id"), by name; those that state none are out."""
    members: dict[str, list[Record]] = {}
    for film in records:
        name = getattr(film, column)
        if name:
            members.setdefault(name, []).append(film)
    return dict(sorted(members.items()))


def _is_normal(finding: str) -> bool:
    return finding.strip().lower().replace("_", " ") in _NORMAL
