"""The exemplars of a bank, row by row, in an order that follows from what they are."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from fewshot_cxr._checks import lookup
from fewshot_cxr.data import CachedFilms, patient_groups
from fewshot_cxr.data.film_digests import film_digests
from fewshot_cxr.data.film_marks import film_marks
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.records import Records

_KEY = b"fewshot_cxr bank"
TEXTS = ("findings", "films", "digests", "patients", "groups", "sources")


def hashed(text: str) -> str:
    """Return what stands in a bank for the id of a patient: BLAKE2b, 64 bits, hex.

    Whoever has a list of ids can hash them, too: it keeps ids out of a file, and is no secret.
    """
    return hashlib.blake2b(text.encode(), digest_size=8, person=_KEY).hexdigest()


@dataclass(frozen=True, eq=False)
class ExemplarTable:
    """Labelled films, embedded, each once.

    Args:
        vectors: embeddings, float32, shape (n, dim).
        features: what the encoder pools before its head, float32, shape (n, n_features): by these a film is strange.
        findings: n names.
        films: n paths, each below the root of its own data set, so that two of one path may be two films; see `names`.
        digests: of the pixels that the encoder takes, by which a film is known again.
        patients: `hashed` ids of patients; of the film, where nobody knows its patient.
        groups: `hashed`; films that may be of one patient share it.
        sources: n texts, "" where it is not known.
        ages: years, float32, shape (n,); NaN where it is not known.
        thumbnails: uint8, shape (n, S, S); None: none are kept.
        has_patient: bool, shape (n,), whether a patient is known.
        is_frontal: bool, shape (n,), whether it looks like a frontal film of the chest.
    """

    vectors: np.ndarray
    features: np.ndarray
    findings: tuple[str, ...]
    films: tuple[str, ...]
    digests: tuple[str, ...]
    patients: tuple[str, ...]
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    ages: np.ndarray
    has_patient: np.ndarray
    is_frontal: np.ndarray
    thumbnails: np.ndarray | None = None

    def __post_init__(self) -> None:
        keys = list(zip(self.findings, self.digests, self.films, strict=True))
        if all(first <= second for first, second in pairwise(keys)):
            return  # what comes from a file is in order: its vectors need not be copied
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                object.__setattr__(self, item.name, _taken(value, order))

    def __len__(self) -> int:
        return len(self.films)

    def take(self, rows: Sequence[int]) -> "ExemplarTable":
        """Return some rows."""
        return ExemplarTable(**{item.name: _taken(getattr(self, item.name), rows) for item in fields(self)})

    def joined(self, other: "ExemplarTable") -> "ExemplarTable":
        """Return the rows of both, films that both have once; thumbnails where both keep them.

        Raises:
            ValueError: the two call a film by two findings, or are embedded at another length.
        """
        if self.vectors.shape[1:] != other.vectors.shape[1:]:
            dims = self.vectors.shape[1], other.vectors.shape[1]
            raise ValueError(f"embeddings of dim {dims[0]} and {dims[1]}: two encoders")
        own, theirs = ({digest: row for row, digest in enumerate(table.digests)} for table in (self, other))
        for digest in own.keys() & theirs.keys():
            here, there = self.findings[own[digest]], other.findings[theirs[digest]]
            if here != there:
                film = other.films[theirs[digest]]
                raise ValueError(f"{film} is {there} here and {here} in the bank: the same film; remove one first")
        kept = [row for one, row in own.items() if one not in theirs or self._rank(row) <= other._rank(theirs[one])]
        new = [row for one, row in theirs.items() if one not in own or other._rank(row) < self._rank(own[one])]
        first, second = self.take(kept), other.take(new)
        values: dict[str, Any] = {}
        for item in fields(self):
            pair = getattr(first, item.name), getattr(second, item.name)
            values[item.name] = None if any(one is None for one in pair) else _both(*pair)
        return ExemplarTable(**values)

    def without(self, what: str, name: str) -> "ExemplarTable":
        """Return the rows without those of a finding, a film or a patient.

        Args:
            what: "finding", "film" or "patient".
            name: of it; of a film as in `names`; of a patient the id that the films were read with.

        Raises:
            ValueError: there are none, several films have that path, or fewer than two findings are left.
        """
        column = lookup({"finding": self.findings, "film": self.names, "patient": self.patients}, what, what="part")
        unwanted = {"film": self._name_of, "patient": hashed}.get(what, str)(name)
        kept = [row for row, one in enumerate(column) if one != unwanted]
        if len(kept) == len(self):
            raise ValueError(f"nothing of that {what} is in the bank")
        if len({self.findings[row] for row in kept}) < 2:
            raise ValueError("a bank knows two findings or more, and fewer would be left: delete the file instead")
        smaller = self.take(kept)
        return replace(smaller, groups=smaller._groups_without(unwanted)) if what == "patient" else smaller

    def _name_of(self, name: str) -> str:
        """Return which film is named: a path that only one film has, or a path and the digest of the film.

        Raises:
            ValueError: several films have that path.
        """
        if several := [known for known, path in zip(self.names, self.films, strict=True) if path == name != known]:
            raise ValueError(f"{len(several)} films are called {name}: name one of them, {' or '.join(several)}")
        return dict(zip(map(_full_name, self.films, self.digests), self.names, strict=True)).get(name, name)

    def _groups_without(self, patient: str) -> tuple[str, ...]:
        """Return the groups; one that bears the name of a patient who is gone is named after one who is left."""
        left = min((one for one, of in zip(self.patients, self.groups, strict=True) if of == patient), default="")
        return tuple(left if group == patient else group for group in self.groups)

    def _rank(self, row: int) -> tuple[object, ...]:
        """Return by what one of two copies of a film is kept, whichever comes first: that of a known patient."""
        texts = (getattr(self, name)[row] for name in TEXTS)
        return not self.has_patient[row], *texts, str(self.ages[row]), self.vectors[row].tobytes()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each film is called: its path; where another film has that, too, followed by # and its digest."""
        often = Counter(self.films)
        full = map(_full_name, self.films, self.digests)
        return tuple(path if often[path] == 1 else one for path, one in zip(self.films, full, strict=True))

    @cached_property
    def people(self) -> tuple[str, ...]:
        """The same text for films that may be of one patient: of one group, of one id, or linked by such films.

        Films that came at two times have groups of two times, in which one id may stand.
        """
        names, before = list(self.groups), list[str]()
        while names != before:
            before = names
            for column in (self.patients, self.groups):
                first: dict[str, str] = {}
                for key, name in zip(column, names, strict=True):
                    first[key] = min(first.get(key, name), name)
                names = [first[key] for key in column]
        return tuple(names)

    @cached_property
    def _row_of(self) -> dict[tuple[str, str], int]:
        return {pair: row for row, pair in enumerate(zip(self.names, self.findings, strict=True))}

    def thumbnail(self, name: str, finding: str) -> np.ndarray | None:
        """Return the thumbnail of the exemplar of that name and finding, uint8 (S, S); None: none is kept."""
        row = self._row_of.get((name, finding))
        return None if self.thumbnails is None or row is None else np.asarray(self.thumbnails[row])

    @cached_property
    def embeddings(self) -> Embeddings:
        """The exemplars as evaluation and rules take them; see `people`."""
        return Embeddings(
            self.vectors,
            self.findings,
            self.people,
            sources=self.sources,
            paths=self.names,
            has_patient=self.has_patient,
        )


def table_of(
    films: CachedFilms, features: np.ndarray, vectors: np.ndarray, *, thumbnail_px: int | None = None
) -> ExemplarTable:
    """Return decoded and embedded films as exemplars; a film that is there twice counts once.

    Args:
        films: one finding each.
        features: of the same films.
        vectors: likewise.
        thumbnail_px: the side of a small picture of each; None: none is kept.

    Raises:
        ValueError: a film has two findings.
    """
    records, digests = films.records, film_digests(films)
    pictures = None
    if thumbnail_px is not None:
        step = max(1, films.size_px // thumbnail_px)
        pictures = np.stack([_small(films.rows([row])[0], step) for row in range(len(films))])
    known: dict[str, int] = {}
    for row, digest in enumerate(digests):
        first = known.setdefault(digest, row)
        if records[first].finding != records[row].finding:
            raise ValueError(
                f"{records[first].path} and {records[row].path} are the same film, by two findings: leave one out"
            )
    table = ExemplarTable(
        vectors=vectors,
        features=features,
        findings=tuple(film.finding for film in records),
        films=tuple(film.path for film in records),
        digests=tuple(digests),
        patients=tuple(hashed(film.patient_id or digests[row]) for row, film in enumerate(records)),
        groups=_groups(records, digests),
        sources=tuple(film.source or "" for film in records),
        ages=np.array([np.nan if film.age_years is None else film.age_years for film in records], dtype=np.float32),
        has_patient=np.array([bool(film.patient_id or film.group_id) for film in records]),
        is_frontal=np.array([film_marks(films.rows([row])[0]).is_frontal for row in range(len(films))]),
        thumbnails=pictures,
    )
    return table if len(known) == len(table) else _distinct(table)


def _full_name(path: str, digest: str) -> str:
    return f"{path}#{digest}"


def _distinct(table: ExemplarTable) -> ExemplarTable:
    first = {digest: row for row, digest in reversed(list(enumerate(table.digests)))}
    return table.take(sorted(first.values()))


def _groups(records: Records, digests: Sequence[str]) -> tuple[str, ...]:
    """Return one hash for all films that may be of one patient: that of the first of their ids."""
    codes = patient_groups(records).tolist()
    first: dict[int, str] = {}
    for row, film in enumerate(records):
        own = film.patient_id or film.group_id or digests[row]
        first[codes[row]] = min(first.get(codes[row], own), own)
    return tuple(hashed(first[code]) for code in codes)


def _small(film: np.ndarray, step: int) -> np.ndarray:
    side = len(film) // step
    means: np.ndarray = film[: side * step, : side * step].reshape(side, step, side, step).mean(axis=(1, 3))
    return means.round().astype(np.uint8)


def _taken(value: Any, rows: Sequence[int]) -> Any:
    if value is None or isinstance(value, np.ndarray):
        return None if value is None else value[np.asarray(rows, dtype=np.int64)]
    return tuple(value[row] for row in rows)


def _both(first: Any, second: Any) -> Any:
    return np.concatenate([first, second]) if isinstance(first, np.ndarray) else (*first, *second)
