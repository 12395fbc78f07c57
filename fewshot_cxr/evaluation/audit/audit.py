"""The audit of a set of films: one pass over the files, then tables."""

from collections.abc import Iterable, Sequence
from functools import partial
from time import perf_counter

import numpy as np

from fewshot_cxr import __version__
from fewshot_cxr._progress import Auto, Bar, Bars, bars_of
from fewshot_cxr.data import notes_of_films
from fewshot_cxr.evaluation.audit.confounding import assess_confounding
from fewshot_cxr.evaluation.audit.film_pass import FilmFacts, read_films
from fewshot_cxr.evaluation.audit.near_duplicates import near_duplicates
from fewshot_cxr.evaluation.audit.patients import (
    children_among_adults,
    contradiction_rule,
    contradictory_patients,
    find_leaks,
    views,
)
from fewshot_cxr.evaluation.audit.perceptual_hash import equalised
from fewshot_cxr.evaluation.audit.registration import correlation_in_place
from fewshot_cxr.evaluation.audit.result import Audit, ExactDuplicates, Films, NearDuplicate, UnreadableFilm
from fewshot_cxr.evaluation.audit.shared_sets import shared_between_sets
from fewshot_cxr.records import Problem, Record, Records
from fewshot_cxr.unknown_patients import count_unknown

# A copy saved anew differs in at most so many bits of the frame, or correlates so highly before it is moved. In two
# sets whose copies are listed (1,432 films, 2026-11-21) the listed pairs differ in at most 1 bit, all others in 3 or
# more, and the others' correlation is 0.959 at most. Copies of 60 films with other gamma, contrast or size have 0.966
# or more, crops of 1 % 0.938 or less. All of it was chosen on these films.
SAME_FRAME_BITS, SAME_FRAME_CORRELATION = 2, 0.963
FEWEST_FILMS = 5
MARKS = ("constant", "nearly_empty", "inverted", "burnt_in_text")


def audit_films(
    records: Records, *, n_workers: int | None = None, progress: Bars | Auto | None = "auto", seed: int = 0
) -> Audit:
    """Look for what ruins a study: duplicates, leaks, contradictory labels, confounding, films that are none.

    Every film is decoded once; a few kilobytes are kept of it. A film that cannot be read is named in the result and
    takes no part in what is said of pixels.

    Args:
        records: the films. Their `split` decides what is a leak; nothing in them is refused here.
        n_workers: threads that decode; None: one for each processor.
        progress: called with (what is done, done, in all); "auto": bars in a terminal or a notebook; None: nothing.
        seed: of the sample and the folds of the confounding measures; all else is not drawn.

    Raises:
        ValueError: there is no film.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     films = (Record("1.png", ("normal",), "p1"), Record("2.png", ("covid19",), "p2"))
        ...     for film in films: Image.new("L", (32, 32)).save(f"{folder}/{film.path}")  # the same picture twice
        ...     audit: Audit = audit_films(Records(films, folder), progress=None)
        >>> audit.exact_duplicates[0].paths, audit.exact_duplicates[0].same_label
        (('1.png', '2.png'), False)
    """
    if not records:
        raise ValueError("records holds no film, so that there is nothing to audit; look at its problems")
    start = perf_counter()
    bars = bars_of(progress)
    reading, comparing = (
        bars and partial(bars, what) for what in ("looking at films", "comparing films that look alike")
    )
    facts, problems = read_films(records, n_workers=n_workers, progress=reading)
    exact = exact_duplicates(records.films, facts)
    near, possible = _near_pairs(records.films, facts, comparing, n_workers=n_workers)
    return Audit(
        near_duplicates=near,
        possible_duplicates=possible,
        exact_duplicates=exact,
        contradictory_patients=contradictory_patients(records),
        leaks=find_leaks(records, exact, near, possible),
        confounding=assess_confounding(records, facts, seed=seed),
        films=_films(records, facts, problems),
        data_hash=records.data_hash,
        version=__version__,
        seed=seed,
        seconds=perf_counter() - start,
        notes=(*shared_between_sets(records, exact, (*near, *possible)), *_notes(records, facts)),
    )


def exact_duplicates(films: Sequence[Record], facts: Sequence[FilmFacts | None]) -> tuple[ExactDuplicates, ...]:
    """Group films of the same bytes, then films of the same decoded pixels where the bytes do not tell it already."""
    groups: list[ExactDuplicates] = []
    told: set[tuple[int, ...]] = set()
    for by in ("bytes", "pixels"):
        members: dict[str, list[int]] = {}
        for row, found in enumerate(facts):
            if found is not None:
                members.setdefault(found.byte_hash if by == "bytes" else found.pixel_hash, []).append(row)
        for rows in members.values():
            if len(rows) > 1 and tuple(rows) not in told:
                told.add(tuple(rows))
                own = [films[row] for row in rows]
                groups.append(ExactDuplicates(tuple(f.path for f in own), by, _same_patient(own), _same_label(own)))
    return tuple(groups)


def _near_pairs(
    films: Sequence[Record], facts: Sequence[FilmFacts | None], progress: Bar | None, *, n_workers: int | None
) -> tuple[tuple[NearDuplicate, ...], tuple[NearDuplicate, ...]]:
    """Return copies saved anew, with the exact ones, and then those re-cropped or marked; both in the films' order.

    An exact copy is paired with the first one alone: each with each, 1,000 of them would make half a million pairs.
    """
    first_of: dict[str, int] = {}
    kept: list[FilmFacts] = []
    rows: list[int] = []
    near: list[tuple[int, int, int, float]] = []
    possible: list[tuple[int, int, int, float]] = []
    for row, found in enumerate(facts):
        if found is None or "constant" in found.marks:
            continue
        first = first_of.setdefault(found.pixel_hash, row)
        if first == row:
            rows.append(row)
            kept.append(found)
        else:
            near.append((first, row, 0, 1.0))
    if len(kept) > 1:
        hashes, small = (np.stack(column) for column in zip(*((f.fingerprint, f.small) for f in kept), strict=True))
        for pair in near_duplicates(hashes, small, n_workers=n_workers, progress=progress):
            tier = near if _is_same_frame(kept[pair.a], kept[pair.b]) else possible
            tier.append((rows[pair.a], rows[pair.b], pair.hamming, pair.correlation))
    return _named(films, near), _named(films, possible)


def _is_same_frame(a: FilmFacts, b: FilmFacts) -> bool:
    if np.bitwise_count(a.frame ^ b.frame).sum() <= SAME_FRAME_BITS:
        return True
    pairs = ((a.small, b.small), (equalised(a.small), equalised(b.small)))
    return any(correlation_in_place(*pair) >= SAME_FRAME_CORRELATION for pair in pairs)


def _named(films: Sequence[Record], pairs: Iterable[tuple[int, int, int, float]]) -> tuple[NearDuplicate, ...]:
    named = []
    for a, b, hamming, correlation in sorted(pairs):
        own = films[a], films[b]
        same = _same_patient(own), _same_label(own)
        named.append(NearDuplicate(own[0].path, own[1].path, hamming, correlation, *same))
    return tuple(named)


def _same_patient(films: Sequence[Record]) -> bool | None:
    patients = {film.patient_id for film in films}
    return None if None in patients else len(patients) == 1


def _same_label(films: Sequence[Record]) -> bool:
    return len({frozenset(film.findings) for film in films}) == 1


def _films(records: Records, facts: Sequence[FilmFacts | None], problems: Sequence[Problem]) -> Films:
    unread = (*(p for p in records.problems if p.kind in ("missing", "unreadable")), *problems)
    marks: dict[str, list[str]] = {mark: [] for mark in MARKS}
    for film, found in zip(records, facts, strict=True):
        for mark in found.marks if found is not None else ():
            marks[mark].append(film.path)
    return Films(
        n_films=len(records),
        n_patients=len({film.patient_id for film in records if film.patient_id}),
        by_finding=records.count_findings(),
        by_source=records.count_by(lambda film: film.source),
        by_view=records.count_by(lambda film: film.view),
        by_split=records.count_by(lambda film: film.split),
        sizes=_sizes([found for found in facts if found is not None]),
        unreadable=tuple(UnreadableFilm(problem.path, problem.reason) for problem in unread),
        marks={mark: tuple(paths) for mark, paths in marks.items()},
        views=views(records),
        children=children_among_adults(records),
        n_films_without_patient=count_unknown(records),
    )


def _sizes(facts: Sequence[FilmFacts]) -> dict[str, dict[str, float]]:
    if not facts:
        return {}
    widths, heights = np.array([(found.width_px, found.height_px) for found in facts], dtype=float).T
    columns = {"width_px": widths, "height_px": heights, "aspect_ratio": widths / heights}
    return {
        name: {"minimum": float(v.min()), "median": float(np.median(v)), "maximum": float(v.max())}
        for name, v in columns.items()
    }


def _notes(records: Records, facts: Sequence[FilmFacts | None]) -> tuple[str, ...]:
    notes = [contradiction_rule(records)]
    notes += notes_of_films((film, found.decoding) for film, found in zip(records, facts, strict=True) if found)
    if not any(film.patient_id for film in records):
        notes.append("patients are unknown: leaks and contradictions between a patient's films cannot be seen")
    if not any(film.split for film in records):
        notes.append("no split is stated: there is nothing to leak between")
    few = [f"{name} {n}" for name, n in records.count_findings().items() if n < FEWEST_FILMS]
    if few:
        notes.append(f"findings of fewer than {FEWEST_FILMS} films, on which no number rests: {', '.join(few)}")
    ages = children_among_adults(records)
    if ages.assessed and ages.is_mostly_unknown:
        notes.append(
            f"age unknown for {ages.n_unknown:,} of {len(records):,} films: children cannot be told from adults"
        )
    n_others = sum(problem.kind not in ("missing", "unreadable") for problem in records.problems)
    if n_others:
        notes.append(f"rows that the reader left out for other reasons: {n_others}; see the problems of the records")
    return tuple(notes)
