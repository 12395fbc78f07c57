"""Whether every film that a reader lists can be decoded, and what a list of films holds, in numbers."""

from collections import Counter
from dataclasses import replace
from typing import Any

from fewshot_cxr._progress import Bar
from fewshot_cxr.data.film import DecodingFacts, notes_of_films, takes_any_modality
from fewshot_cxr.data.images import decode_film
from fewshot_cxr.data.reading import read_all
from fewshot_cxr.records import Problem, Record, Records
from fewshot_cxr.unknown_patients import count_unknown


def verify_films(records: Records, *, n_workers: int | None = None, progress: Bar | None = None) -> Records:
    """Decode every film once, keep nothing of it, and leave out those that cannot be decoded.

    Args:
        records: the films.
        n_workers: threads that decode; None: one for each processor.
        progress: called with (films done, films in all).

    Returns:
        The films that decode and are chest X-rays, possibly none; the others are problems of the kind "unreadable".
        What else should be known of the films is in the notes.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     n_bytes = Path(folder, "1.png").write_bytes(b"no picture at all")
        ...     films = verify_films(Records((Record("1.png", ("normal",)),), folder))
        >>> len(films), films.problems[0].kind
        (0, 'unreadable')
    """

    def read(film: Record) -> DecodingFacts:
        return decode_film(records.file(film), any_modality=takes_any_modality(film)).facts

    found = list(zip(records, read_all(read, records.films, n_workers=n_workers, progress=progress), strict=True))
    whole = records.with_problems(
        Problem(None, film.path, why, "unreadable") for film, why in found if isinstance(why, str)
    )
    notes = notes_of_films((film, facts) for film, facts in found if not isinstance(facts, str))
    return replace(whole, notes=(*whole.notes, *notes))


def check_whole(records: Records) -> None:
    """Refuse a list with problems.

    Raises:
        OSError: counts the problems by kind, and names the first.

    Examples:
        >>> from fewshot_cxr.records import Problem
        >>> check_whole(Records((), ".", (Problem(None, "1.png", "is empty", "unreadable"),)))
        Traceback (most recent call last):
        OSError: 1 row cannot be used (1 unreadable), the first: 1.png: is empty; without --strict they are left out
    """
    if records.problems:
        first = records.problems[0]
        row = "" if first.row is None else f"row {first.row}, "
        counts = Counter(problem.kind.replace("_", " ") for problem in records.problems)
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        rows = "row" if len(records.problems) == 1 else "rows"
        raise OSError(
            f"{len(records.problems)} {rows} cannot be used ({told}), the first: {row}{first.path}: {first.reason}; "
            "without --strict they are left out"
        )


def summarise(records: Records) -> dict[str, Any]:
    """Return what was read, as plain values.

    Returns:
        n_rows (of the source), n_records, n_films_without_patient; missing, unreadable, duplicates (paths);
        other_problems (row, path, reason); by_finding (a film of two findings counts under both), by_source, by_view,
        by_split.

    Examples:
        >>> films = Records((Record("1.png", ("normal",), "p1"), Record("2.png", ("pneumonia", "effusion"))), ".")
        >>> summary = summarise(films)
        >>> summary["by_finding"], summary["n_films_without_patient"]
        ({'effusion': 1, 'normal': 1, 'pneumonia': 1}, 1)
    """
    paths: dict[str, list[str]] = {kind: [] for kind in ("missing", "unreadable", "duplicate")}
    alike = dict.fromkeys(("split_conflict", "finding_conflict", "patient_conflict"), "duplicate")
    others = []
    for problem in records.problems:
        kind = alike.get(problem.kind, problem.kind)
        if kind in paths:
            paths[kind].append(problem.path)
        else:
            others.append({"row": problem.row, "path": problem.path, "reason": problem.reason})
    return {
        "n_rows": len(records) + len(records.problems) if records.n_rows is None else records.n_rows,
        "n_records": len(records),
        "n_films_without_patient": count_unknown(records),
        "missing": paths["missing"],
        "unreadable": paths["unreadable"],
        "duplicates": paths["duplicate"],
        "other_problems": others,
        "by_finding": records.count_findings(),
        "by_source": records.count_by(lambda film: film.source),
        "by_view": records.count_by(lambda film: film.view),
        "by_split": records.count_by(lambda film: film.split),
    }
