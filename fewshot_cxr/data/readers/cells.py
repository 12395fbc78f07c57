"""What a cell of a table means, and the name of a folder or a finding: nothing, a split, one name or several."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any

from fewshot_cxr._checks import first_of
from fewshot_cxr._visible import one_form
from fewshot_cxr.data.no_value import is_nobody, says_nothing
from fewshot_cxr.data.split_names import SPLITS, plain, split_named
from fewshot_cxr.records import Record
from fewshot_cxr.unknown_patients import count_unknown, unknown_text

_COLUMNS = ("patient_id", "group_id", "source", "view", "split", "sex")
_cells_of = attrgetter(*_COLUMNS)
_OF_PATIENTS = ("patient_id", "group_id")
_WHOLE = re.compile(r"\d+\.0+")
_SAME_MEANING = (
    ("covid", "covid19", "covid2019", "sarscov2", "2019ncov", "ncov", "positive"),
    ("normal", "nofinding", "nofindings", "negative", "healthy"),
)
_MEANING_OF = {name: names[0] for names in _SAME_MEANING for name in names}
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_ITEM = rf"(?:np\.str_\()?(?:{_QUOTED.pattern})\)?"
_LIST = re.compile(rf"(?:(?:frozenset|set|array)\()?[\[({{]\s*((?:{_ITEM}[\s,]*)*)[\])}}](?:, dtype=.+)?\)?")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_BETWEEN_NAMES = re.compile(r"[;,/&+]")
_NO_DISEASE = ("supportdevices", "negative")
ALIKE = "findings that may be one"
_MOST_NAMED = 5


def is_normal(finding: str) -> bool:
    """Return whether a finding says that nothing was found: normal, "No Finding", negative, healthy."""
    return _MEANING_OF.get(plain(finding)) == "normal"


@lru_cache(maxsize=4096)  # a table of 100,000 rows has some hundred different cells
def names_in(cell: str) -> tuple[str, ...]:
    """Return the findings of a cell, each once: `a|b`, or a list, tuple or set as Python, numpy or JSON writes it."""
    cell = cell.strip()
    if listed := _LIST.fullmatch(cell):
        names = [_unquoted(name) for name in _QUOTED.findall(listed[1])]
    elif cell[:1] == "[" and cell[-1:] == "]":
        names = [name.strip().strip("'\"") for name in cell[1:-1].split(",")]
    else:
        names = cell.split("|")
    return tuple(dict.fromkeys(filter(None, map(str.strip, names))))


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text[1:-1])


def clean_cells(films: Iterable[Record]) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """Take what stands for "no value" as no value, the names of splits by their meaning, and names in one Unicode form.

    A film whose findings all say nothing keeps none.

    Returns:
        The films, and notes that count what was changed and name the splits that are none of train, val and test.
    """
    films, notes = _in_one_form(films), []
    for column in _COLUMNS:
        counts = Counter(map(attrgetter(column), films))
        new = {text: _meaning(column, text) for text in counts if text is not None}
        if column in _OF_PATIENTS:
            new |= _without_point({value for value in new.values() if value is not None})
        new = {text: value for text, value in new.items() if value != text}
        if not new:
            continue
        films = tuple(
            replace(film, **{column: new.get(getattr(film, column), getattr(film, column))}) for film in films
        )
        notes += _told(column, counts, new)
    empty = set(filter(says_nothing, _names_of(films)))
    if empty:
        n_films = sum(not empty.isdisjoint(film.findings) for film in films)
        notes.append(f"{n_films} films have a finding that stands for none ({_quoted(empty)}): taken as no finding")
        films = tuple(replace(film, findings=tuple(n for n in film.findings if n not in empty)) for film in films)
    return films, (*notes, *_normal_beside(films), *_strange_splits(films))


def _in_one_form(films: Iterable[Record]) -> tuple[Record, ...]:
    """Return films with the names of findings and patients in one form (NFC); paths stay, as they are on the disk."""

    def changed(film: Record) -> Record:
        cells: dict[str, Any] = {name: one_form(text) for name in _COLUMNS if (text := getattr(film, name))}
        for name in ("findings", "unstated"):
            cells[name] = tuple(dict.fromkeys(map(one_form, getattr(film, name))))
        return replace(film, **cells)

    def is_plain(film: Record) -> bool:
        return "".join([*film.findings, *film.unstated, *filter(None, _cells_of(film))]).isascii()

    return tuple(film if is_plain(film) else changed(film) for film in films)


def _normal_beside(films: Iterable[Record]) -> list[str]:
    """Say how many films are normal and have a finding at once; support devices beside "No Finding" are none."""
    names = [name for name in _names_of(films) if plain(name) not in _NO_DISEASE]
    normal = set(filter(is_normal, names))
    findings = {name for name in names if name not in normal}
    both = [film for film in films if len(film.findings) > 1 and not normal.isdisjoint(film.findings)]
    both = [film for film in both if not findings.isdisjoint(film.findings)]
    if not both:
        return []
    told = " and ".join(both[0].findings)
    return [f"{len(both)} films are called normal and have a finding ({both[0].path}: {told}): correct their rows"]


def split_joined_names(films: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """Take "a;b" for the findings a and b where both stand alone elsewhere; say so, and say where it is not sure."""
    names = set(_names_of(films))
    parts = {name: tuple(filter(None, map(str.strip, _BETWEEN_NAMES.split(name)))) for name in names}
    parts = {name: found for name, found in parts.items() if len(found) > 1}
    alone = names - parts.keys()
    sure = {name: found for name, found in parts.items() if alone.issuperset(found)}
    doubtful = [n for n in sorted(parts.keys() - sure.keys()) if ";" in n or any(part in names for part in parts[n])]
    notes = []
    if sure:
        n_films = sum(not sure.keys().isdisjoint(film.findings) for film in films)
        notes.append(f"{n_films} films name several findings at once ({_quoted(sure)}): each is taken for itself")
    if doubtful:
        notes.append(
            f"{_quoted(doubtful)} may be several findings: separate them with |, or give it one name with "
            "`fscxr data read --map OLD=NEW`"
        )
    if not sure:
        return tuple(films), tuple(notes)
    each = (dict.fromkeys(part for name in film.findings for part in sure.get(name, (name,))) for film in films)
    return tuple(replace(film, findings=tuple(new)) for film, new in zip(films, each, strict=True)), tuple(notes)


def alike_findings(films: Iterable[Record]) -> tuple[str, ...]:
    """Return a note for each set of findings whose names differ little, or mean the same, with what joins them."""
    counts = _names_of(films)
    notes = []
    for first, *others in alike_names(counts):
        told = ", ".join(f"{name} ({counts[name]} films)" for name in (first, *others))
        pairs = (f"{name}={first}" for name in others)
        flags = " ".join(f'--map "{pair}"' if " " in pair else f"--map {pair}" for pair in pairs)
        notes.append(f"{ALIKE}: {told}; `fscxr data read SOURCE {flags} --out films.csv` joins them")
    return tuple(notes)


def alike_names(counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield each set of names that differ little, or mean the same, that of most films first."""
    sets: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        key = plain(name) or name
        sets[_MEANING_OF.get(key, key.rstrip("s"))].append(name)
    yield from (names for names in sets.values() if len(names) > 1)


def _names_of(films: Iterable[Record]) -> Counter[str]:
    return Counter(chain.from_iterable(map(attrgetter("findings"), films)))


def _meaning(column: str, text: str) -> str | None:
    if says_nothing(text) or (column in _OF_PATIENTS and is_nobody(text)):
        return None
    return (split_named(text) or text) if column == "split" else text


def _told(column: str, counts: Counter[str | None], new: dict[str, str | None]) -> list[str]:
    empty = [text for text, value in new.items() if value is None and text.strip()]
    n_empty = sum(counts[text] for text in empty)
    told = [f"{n_empty} films have no {column}: {_quoted(empty)} stands for none"] if empty else []
    named = sorted(text for text, value in new.items() if value is not None and text.strip().lower() != value)
    if named and column in _OF_PATIENTS:
        return [*told, f"the {column} is a number with a point: {named[0]} is taken for {new[named[0]]}, and so on"]
    return told + [f"the split {text!r} is taken for {new[text]} ({counts[text]} films)" for text in named]


def _without_point(ids: Collection[str]) -> dict[str, str]:
    """Return what whole numbers are called that a program wrote as 7.0, since other cells of theirs were empty.

    All ids are such numbers, or the number without its point is an id, too.
    """
    whole = {one: one.partition(".")[0] for one in ids if _WHOLE.fullmatch(one)}
    return {one: number for one, number in whole.items() if len(whole) == len(ids) or number in ids}


def _strange_splits(films: Iterable[Record]) -> list[str]:
    counts = Counter(map(attrgetter("split"), films))
    strange = sorted(name for name in counts if name and name not in SPLITS)
    if not strange:
        return []
    told = ", ".join(f"{name!r} ({counts[name]} films)" for name in strange[:_MOST_NAMED])
    return [f"the split {told} is none of train, val and test: it is used only where --split names it"]


def _quoted(names: Iterable[str]) -> str:
    return first_of([repr(name) for name in sorted(names)], _MOST_NAMED)


PatientOf = Callable[[str], str | None]


def patient_of_path(pattern: str | None) -> PatientOf:
    """Return what finds the patient in a path: the first group of a pattern or, without one, the whole match.

    Raises:
        ValueError: the pattern is no regular expression.
    """
    try:
        compiled = None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--patient-pattern {pattern!r} is no regular expression: {error}") from error

    def patient(path: str) -> str | None:
        found = compiled.search(path) if compiled else None
        return ((found.group(1) if found.groups() else found.group()) or None) if found else None

    return patient


def patients_note(films: Sequence[Record], *, pattern: str | None, hint: str = "--patient-pattern") -> tuple[str, ...]:
    """Say of how many films the patient is unknown, or () where all are known.

    Args:
        films: as they were read.
        pattern: that was searched for in their paths.
        hint: the flags that would tell.
    """
    n_unknown = count_unknown(films)
    told = unknown_text(n_unknown, len(films))
    if told and pattern is not None:
        return (f"{n_unknown} of {len(films)} paths do not match the patient pattern: each counts as its own patient",)
    return (f"{told}, so films of one patient may leak between splits; name a {hint}",) if told else ()


def crowded_patient(films: Sequence[Record]) -> tuple[str, ...]:
    """Say where one patient has so many of the films that its id may stand for "unknown"; () where none has."""
    counts = Counter(film.patient_id for film in films if film.patient_id is not None)
    if len(counts) < 2:
        return ()
    (name, n_films), (_, n_next) = counts.most_common(2)
    if n_films < max(8, 0.2 * len(films), 2 * n_next):
        return ()
    return (f"the patient {name!r} has {n_films} of {len(films)} films: does this id stand for an unknown patient?",)
