"""The audit of a set of films as tables: what a page and a terminal show alike."""

from collections import Counter
from collections.abc import Mapping, Sequence

from fewshot_cxr.evaluation.audit.result import CHECKS, Audit, Measure, NearDuplicate
from fewshot_cxr.report.tables import UNKNOWN, Table, interval_text
from fewshot_cxr.unknown_patients import CANNOT_BE_ASSESSED
from fewshot_cxr.visualise.text import percent

_SEES = {
    "source": "the source alone",
    "size": "width, height and aspect ratio alone",
    "border": "the outer border alone",
    "thumbnail": "a 16 x 16 thumbnail",
}
_MARKS = {
    "constant": "films without contrast",
    "nearly_empty": "films that are nearly empty",
    "inverted": "films that look inverted (lungs white)",
    "burnt_in_text": "films with letters or markers burnt in",
}


def checks_table(audit: Audit) -> Table:
    """Return one row for each check: its name (as --fail-on takes it), whether it has hits, and which."""
    told = {
        "leak": _leak_text(audit),
        "duplicates": "the next two together",
        "exact_duplicates": _exact_text(audit),
        "near_duplicates": _pairs_text(audit.near_duplicates, "saved anew"),
        "possible_duplicates": _pairs_text(audit.possible_duplicates, "re-cropped, marked or a moment apart"),
        "contradictory": _contradictory_text(audit),
        "confounding": f"finding and source: {v_text(audit.confounding.cramers_v)}",
        "views": f"finding and view: {v_text(audit.films.views.cramers_v)}",
        "children": _children_text(audit),
        "unreadable": _counted(len(audit.films.unreadable), "film", "films"),
        **{mark: f"{len(audit.films.marks.get(mark, ()))} {text}" for mark, text in _MARKS.items()},
    }
    failed = audit.failed()
    rows = [(name, "found" if name in failed else "-", told[name]) for name in CHECKS]
    return Table(("check", "", "what"), tuple(rows), "What the audit looked for")


def confounding_table(audit: Audit) -> Table:
    """Return how well the finding follows from what is no sign of it."""
    rows = []
    for name, measure in audit.confounding.balanced_accuracy.items():
        number = measure.number
        told: tuple[str, ...] = (number.reason or "", "", "", "")
        if number.mean is not None:
            chance = percent(measure.chance or 0)
            told = (percent(number.mean), interval_text(number.ci95), chance, f"{measure.n_films:,}")
        rows.append((_SEES.get(name, name), *told))
    columns = ("a classifier that sees only", "balanced accuracy", "95 % interval", "chance", "films")
    return Table(columns, tuple(rows), "Cross-validated by patient group; the interval is over groups")


def counts_table(counts: Mapping[str, Mapping[str, int]], caption: str, *, most_columns: int = 6) -> Table:
    """Return films by finding and something else, the most frequent columns first, the rest summed."""
    totals: Counter[str] = Counter()
    for row in counts.values():
        totals.update(row)
    names = sorted(totals, key=lambda name: (-totals[name], name))
    shown, others = names[:most_columns], names[most_columns:]
    columns = ("finding", *shown, *(("others",) if others else ()))
    rows = []
    for finding, row in counts.items():
        cells = [row.get(name, 0) for name in shown] + ([sum(row.get(name, 0) for name in others)] if others else [])
        rows.append((finding, *(f"{cell:,}" for cell in cells)))
    return Table(columns, tuple(rows), caption)


def v_text(measure: Measure) -> str:
    """Return Cramer's V in words."""
    if measure.number.mean is None:
        return measure.number.reason or UNKNOWN
    corrected = "" if measure.corrected is None else f", {measure.corrected:.2f} without what chance gives"
    return f"Cramer's V {measure.number.mean:.2f}{corrected} (1 is complete), {measure.n_films:,} films"


def _leak_text(audit: Audit) -> str:
    if not audit.leaks and set(audit.films.by_split) <= {"not stated"}:
        return "cannot be assessed: no split is stated"
    counts = Counter(leak.by for leak in audit.leaks)
    told = ", ".join(f"{count} by {by.replace('_', ' ')}" for by, count in counts.items())
    found = f"{len(audit.leaks):,} in several splits" + (f": {told}" if told else "")
    return _as_far_as_known(audit, found, is_found=bool(audit.leaks))


def _contradictory_text(audit: Audit) -> str:
    n_found = len(audit.contradictory_patients)
    found = _counted(n_found, "patient with contradictory labels", "patients with contradictory labels")
    return _as_far_as_known(audit, found, is_found=n_found > 0)


def _as_far_as_known(audit: Audit, found: str, *, is_found: bool) -> str:
    """Return what was found by patient where some, or all, are unknown: 0 would look like a clean bill."""
    n_unknown, n_films = audit.films.n_films_without_patient, audit.films.n_films
    if 0 < n_unknown == n_films:
        return f"{found}; the rest {CANNOT_BE_ASSESSED}" if is_found else CANNOT_BE_ASSESSED
    return found + f"; patients unknown for {n_unknown:,} of {n_films:,} films" * (n_unknown > 0)


def _exact_text(audit: Audit) -> str:
    n_films = sum(len(group.paths) for group in audit.exact_duplicates)
    groups = _counted(len(audit.exact_duplicates), "group of copies", "groups of copies")
    return f"{groups}, {n_films} films" if n_films else groups


def _pairs_text(pairs: Sequence[NearDuplicate], what: str) -> str:
    facts = [
        (sum(pair.same_patient is False for pair in pairs), "of different patients"),
        (sum(not pair.same_label for pair in pairs), "of different labels"),
    ]
    told = _counted(len(pairs), f"pair {what}", f"pairs {what}")
    return ", ".join([told, *(f"{count} {text}" for count, text in facts if count)])


def _children_text(audit: Audit) -> str:
    children = audit.films.children
    if not children.assessed:
        return children.reason or UNKNOWN
    return f"{children.n_children:,} films of children, {children.n_adults:,} of adults, {children.n_unknown:,} unknown"


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"
