"""What an audit has found, the gravest first, each with what to do: what a page and a terminal show alike."""

from collections import Counter
from collections.abc import Sequence

from fewshot_cxr.evaluation.audit.result import STRONG_V, Audit, Children, Measure, NearDuplicate
from fewshot_cxr.report.audit_tables import v_text
from fewshot_cxr.report.tables import UNKNOWN, Table
from fewshot_cxr.unknown_patients import CANNOT_BE_ASSESSED
from fewshot_cxr.visualise.text import percent

# The checks, the gravest first, and what to do where one finds something. "duplicates" is only the next two together.
_ADVICE = {
    "leak": "split anew, copies together: data split --audit",
    "confounding": "judge on a source left out (data split --leave-source-out), add films of all findings from each",
    "contradictory": "look at these films; correct the labels, or leave the films out",
    "exact_duplicates": "keep one of each, or keep them together: data split --audit, with --copies",
    "near_duplicates": "look at the pairs; keep them together: data split --audit",
    "possible_duplicates": "look at the pairs; keep them together: data split --audit",
    "unreadable": "get these films anew, or leave them out",
    "constant": "leave these films out",
    "nearly_empty": "look, and leave out what shows no chest",
    "inverted": "look, and turn the gray values of negatives round",
    "children": "judge children and adults apart, or leave one of them out",
    "views": "keep one view, or judge each view by itself",
    "burnt_in_text": "train with --border-crop as well, and compare",
}
# What would let a check be assessed that cannot be.
_MISSING = {
    "leak": "state the split of each film (column split), or audit train and test as a manifest each",
    "patients": "name the patients: --patient-column, or --patient-pattern",
    "confounding": "state the source of each film (column source); add films of other sources",
    "views": "state the view of each film (column view)",
    "children": "state the age of each film's patient (column age_years)",
}
_MARKS = {
    "constant": "without contrast",
    "nearly_empty": "nearly empty",
    "inverted": "that may be inverted (lungs white)",
    "burnt_in_text": "with letters or markers burnt in",
}
FOUND, NONE = "found", "none"


def checks_table(audit: Audit) -> Table:
    """Return one row for each check: its name (as --fail-on takes it), its state, and what was found.

    First what was found, the gravest first, then what is unknown, then where nothing was found. Below stands what to
    do, and what would let a check be assessed. "duplicates", which is exact and near ones together, has no row.
    """
    told = {
        "leak": _leak_text(audit),
        "contradictory": _contradictory_text(audit),
        "exact_duplicates": _exact_text(audit),
        "near_duplicates": _pairs_text(audit.near_duplicates, "saved anew"),
        "possible_duplicates": _pairs_text(audit.possible_duplicates, "re-cropped, marked or taken a moment apart"),
        "confounding": _confounding_text(audit),
        "views": _v_sentence("view", audit.films.views.cramers_v),
        "children": children_text(audit.films.children, audit.films.n_films),
        "unreadable": _films_text(len(audit.films.unreadable), "that cannot be read"),
        **{mark: _films_text(len(audit.films.marks.get(mark, ())), text) for mark, text in _MARKS.items()},
    }
    failed, unknown = audit.failed(_ADVICE), _unknown(audit)
    states = {name: FOUND if name in failed else UNKNOWN if name in unknown else NONE for name in _ADVICE}
    ranked = sorted(_ADVICE, key=lambda name: (FOUND, UNKNOWN, NONE).index(states[name]))
    advice = unknown | {name: _ADVICE[name] for name in ranked if states[name] == FOUND}
    below = tuple((name, advice[name]) for name in ranked if name in advice)
    rows = tuple((name, states[name], told[name]) for name in ranked)
    return Table(("check", "state", "what was found"), rows, "Checks, the gravest finding first", below)


def _v_sentence(what: str, measure: Measure) -> str:
    return measure.number.reason or f"finding and {what}: {v_text(measure)}"


def children_text(children: Children, n_films: int) -> str:
    """Return how many films are of children, or of how many films the age is unknown where that leaves it open."""
    if not children.assessed:
        return children.reason or UNKNOWN
    counts = f"{_films_text(children.n_children, 'of children')}, {children.n_adults:,} of adults"
    if children.is_mostly_unknown:
        return f"age unknown for {children.n_unknown:,} of {n_films:,} films; of the others, {counts}"
    return counts + (f", age unknown for {children.n_unknown:,}" if children.n_unknown else "")


def _unknown(audit: Audit) -> dict[str, str]:
    """Return the checks that cannot be assessed, and what would let them be."""
    unassessed, measures = audit.unassessed(), audit.confounding.balanced_accuracy.values()
    is_unknown = {
        "leak": "leak" in unassessed or len(_splits(audit)) < 2,
        "contradictory": "contradictory" in unassessed,
        "confounding": audit.confounding.cramers_v.number.mean is None
        or not any(measure.number.mean is not None for measure in measures),
        "views": audit.films.views.cramers_v.number.mean is None,
        "children": not audit.films.children.assessed or audit.films.children.is_mostly_unknown,
    }
    missing = _MISSING | {"contradictory": _MISSING["patients"]}
    missing |= {"leak": _MISSING["patients"]} if "leak" in unassessed else {}
    return {name: missing[name] for name, is_open in is_unknown.items() if is_open}


def _splits(audit: Audit) -> list[str]:
    return [name for name in audit.films.by_split if name != "not stated"]


def _leak_text(audit: Audit) -> str:
    if not audit.leaks and len(_splits(audit)) < 2:
        splits = _splits(audit)
        return "cannot be assessed: " + (f"one split, {splits[0]}" if splits else "no split is stated")
    counts = Counter(leak.by for leak in audit.leaks)
    told = ", ".join(f"{count:,} by {by.replace('_', ' ')}" for by, count in counts.items())
    found = f"{counted(len(audit.leaks), 'leak', 'leaks')} between splits" + (f" ({told})" if told else "")
    return _as_far_as_known(audit, found, is_found=bool(audit.leaks))


def _contradictory_text(audit: Audit) -> str:
    n_found = len(audit.contradictory_patients)
    found = counted(n_found, "patient with contradictory labels", "patients with contradictory labels")
    return _as_far_as_known(audit, found, is_found=n_found > 0)


def _as_far_as_known(audit: Audit, found: str, *, is_found: bool) -> str:
    """Return what was found by patient where some, or all, are unknown: 0 would look like a clean bill."""
    n_unknown, n_films = audit.films.n_films_without_patient, audit.films.n_films
    if 0 < n_unknown == n_films:
        return f"{found}; the rest {CANNOT_BE_ASSESSED}" if is_found else CANNOT_BE_ASSESSED
    return found + f"; patients unknown for {n_unknown:,} of {n_films:,} films" * (n_unknown > 0)


def _confounding_text(audit: Audit) -> str:
    """Return what goes with the finding and is no sign of it: source, size, border."""
    confounding = audit.confounding
    v = confounding.cramers_v
    found = []
    if (v.corrected or 0) >= STRONG_V:
        found.append(f"finding and source go together (Cramer's V {v.number.value:.2f}, 1 is complete)")
    names = [
        name for name in ("source", "size", "border") if confounding.balanced_accuracy[name].is_clearly_above_chance
    ]
    if names:
        measures = [confounding.balanced_accuracy[name] for name in names]
        told = ", ".join(f"{name} ({percent(one.number.value)})" for name, one in zip(names, measures, strict=True))
        found.append(f"the finding follows from {told} alone; chance is {percent(measures[0].chance or 0)}")
    if found:
        return "; ".join(found)
    shapes = [confounding.balanced_accuracy[name].number.mean for name in ("size", "border")]
    is_told = v.number.mean is None and None not in shapes
    return _v_sentence("source", v) + ("; size and border do not tell the finding" if is_told else "")


def _exact_text(audit: Audit) -> str:
    groups = counted(len(audit.exact_duplicates), "group of exact copies", "groups of exact copies")
    paths = {path for group in audit.exact_duplicates for path in group.paths}
    clashes = sum(not group.same_label for group in audit.exact_duplicates)
    told = [groups] + [f"{len(paths):,} films"] * bool(paths) + [f"{clashes:,} of different labels"] * bool(clashes)
    return ", ".join(told)


def _pairs_text(pairs: Sequence[NearDuplicate], what: str) -> str:
    facts = [
        (sum(pair.same_patient is False for pair in pairs), "of different patients"),
        (sum(not pair.same_label for pair in pairs), "of different labels"),
    ]
    told = counted(len(pairs), f"pair {what}", f"pairs {what}")
    return ", ".join([told, *(f"{count:,} {text}" for count, text in facts if count)])


def _films_text(count: int, what: str) -> str:
    return f"{counted(count, 'film', 'films')} {what}"


def counted(count: int, one: str, several: str) -> str:
    """Return a count and its word: "1 film", "0 films"."""
    return f"{count:,} {one if count == 1 else several}"
