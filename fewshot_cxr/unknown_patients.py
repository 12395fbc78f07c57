"""What is said where patients are unknown, and each film counts as its own patient: the words stand here, once."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fewshot_cxr.records import Record, Records

_MARK = "as its own patient"
_ALL = f"patients are unknown: each film counts {_MARK}"
CANNOT_BE_ASSESSED = "cannot be assessed: patients unknown"


def is_unknown(film: Record) -> bool:
    """Whether a film names neither a patient nor a group."""
    return not (film.patient_id or film.group_id)


def count_unknown(films: Iterable[Record]) -> int:
    """Count the films of unknown patients."""
    return sum(map(is_unknown, films))


def unknown_text(n_unknown: int, n_films: int) -> str:
    """Return the sentence on films without a patient; "" where there is none."""
    if not n_unknown:
        return ""
    if n_unknown == n_films:
        return _ALL
    return f"the patients of {n_unknown:,} of {n_films:,} films are unknown: each of these counts {_MARK}"


def unknown_part(n_unknown: int, n_films: int) -> str:
    """Return what stands behind a count or an interval: "", " (patients unknown)" or for how many films they are."""
    if not n_unknown:
        return ""
    return " (patients unknown)" if n_unknown == n_films else f" (unknown for {n_unknown:,} of {n_films:,} films)"


def over_patients(n_unknown: int, n_films: int) -> str:
    """Return what an interval is over: patients, as far as they are known, or films."""
    over = "over films" if 0 < n_unknown == n_films else "over patients"
    return over + unknown_part(n_unknown, n_films)


def unknown_warning(n_unknown: int, n_films: int) -> str:
    """Return what a reader of numbers on such films must know; "" where all patients are known."""
    told = unknown_text(n_unknown, n_films)
    return told and f"{told}; one may be on both sides of a split or an episode: numbers too high, intervals too narrow"


def of_patients(n_films: int, n_patients: int, n_unknown: int) -> str:
    """Return what stands behind a number of films, such as " of 6 patients"."""
    who = "" if 0 < n_unknown == n_films else f" of {n_patients:,} patient{'s' * (n_patients != 1)}"
    return who + unknown_part(n_unknown, n_films)


def films_text(n_films: int, n_patients: int, n_unknown: int) -> str:
    """Return how many films of how many patients there are, such as "24 films of 6 patients"."""
    return f"{n_films:,} film{'s' * (n_films != 1)}{of_patients(n_films, n_patients, n_unknown)}"


def records_text(records: Sequence[Record]) -> str:
    """Return how many films of how many patients these are, as `films_text`."""
    return films_text(len(records), len({film.group for film in records}), count_unknown(records))


def patients_cell(films: Sequence[Record]) -> str:
    """Return the patients of these films for a table: their number, and of how many films they are unknown."""
    return patients_count(len(films), len({film.group for film in films}), count_unknown(films))


def patients_count(n_films: int, n_patients: int, n_unknown: int) -> str:
    """Return a number of patients for a table of films, each film of an unknown one being counted among them."""
    if 0 < n_unknown == n_films:
        return "unknown"
    return f"{n_patients - n_unknown:,}{f' and {n_unknown:,} unknown' if n_unknown else ''}"


def with_unknown_noted(records: Records) -> Records:
    """Return the films with a note on unknown patients, unless a note (of the reader, of a part) says it already."""
    text = unknown_text(count_unknown(records), len(records))
    if not text or any(_MARK in note for note in records.notes):
        return records
    return replace(records, notes=(*records.notes, text))
