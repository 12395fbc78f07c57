"""What stands for "no value" in a cell or a header, and for "nobody" as a patient."""

from fewshot_cxr.data.split_names import plain

NO_VALUE = frozenset(
    (
        *("", "nan", "none", "na", "n/a", "n.a.", "n.a", "<na>", "#n/a", "#na", "null", "nil", "nat", "<null>"),
        *("<none>", "-", "--", "---", "?", "??", ".", "_", "\N{EN DASH}", "\N{EM DASH}"),
    )
)
_NOBODY = frozenset(("unknown", "missing", "undefined", "notavailable", "notstated", "unidentified", "withheld")) | {
    stem + end for stem in ("anonym", "anonymous", "anonymized", "anonymised", "anon") for end in ("", "patient")
}


def says_nothing(cell: str) -> bool:
    """Return whether a cell stands for "no value": empty, nan, None, N/A, a dash, a question mark and their like."""
    return cell.strip().casefold() in NO_VALUE


def is_nobody(patient: str) -> bool:
    """Return whether an id of a patient is none: no value, unknown, anonymous and their like."""
    return says_nothing(patient) or plain(patient) in _NOBODY
