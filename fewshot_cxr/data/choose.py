"""Which findings of a list of films are worked with, and what they are called."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fewshot_cxr._checks import check_at_least, check_list, nearest
from fewshot_cxr.data.readers.cells import ALIKE, alike_findings
from fewshot_cxr.records import Record, Records
from fewshot_cxr.seeding import hashed_bits, text_key

ALL_SPLITS = "all"


def rename_findings(records: Records, names: Mapping[str, str]) -> Records:
    """Call findings by other names; several may become one, such as bacteria and virus pneumonia.

    Args:
        records: the films.
        names: old -> new. A film that had two of the old ones has the new one once. Unstated findings follow.

    Raises:
        ValueError: an old name is no finding of these films.

    Examples:
        >>> causes = ("virus", "bacteria", "normal")
        >>> films = Records(tuple(Record(f"{cause}.png", (cause,)) for cause in causes), ".")
        >>> rename_findings(films, {"virus": "pneumonia", "bacteria": "pneumonia"}).count_findings()
        {'normal': 1, 'pneumonia': 2}
    """
    _check_known(records, names)
    films = []
    for film in records:
        present, unstated = ([names.get(name, name) for name in old] for old in (film.findings, film.unstated))
        unstated = [name for name in unstated if name not in present]
        films.append(replace(film, findings=_once(present), unstated=_once(unstated)))
    notes = (note for note in records.notes if ALIKE not in note)
    return replace(records, films=tuple(films), notes=(*notes, *alike_findings(films)))


def mark_unstated(records: Records, findings: Sequence[str]) -> Records:
    """Say that nobody looked for these findings on these films: they are neither present nor absent.

    For a set that is merged with another one whose labels it does not have. A finding that a film shows stays so.

    Args:
        records: the films, of one source.
        findings: any names; no film of these need have them.

    Raises:
        TypeError: `findings` is one text.

    Examples:
        >>> films = Records((Record("1.png", ("normal",)), Record("2.png", ("covid19",))), ".")
        >>> [film.unstated for film in mark_unstated(films, ["covid19", "effusion"])]
        [('covid19', 'effusion'), ('effusion',)]
    """
    check_list(findings, "findings")
    films = (
        replace(film, unstated=_once([*film.unstated, *(name for name in findings if name not in film.findings)]))
        for film in records
    )
    return replace(records, films=tuple(films))


def keep_findings(records: Records, findings: Sequence[str] | None = None, *, with_others: bool = False) -> Records:
    """Make a multi-label list single-label: keep the films with one finding alone, and that one of `findings`.

    Args:
        records: the films.
        findings: that are kept; None: all there are.
        with_others: keep films that show exactly one of `findings` and others besides, too; the others are dropped
            from their labels.

    Returns:
        The films, each with one finding; notes count those that are left out, and those whose label was cut.

    Raises:
        ValueError: a name is no finding of these films, or no film is left.

    Examples:
        >>> both = Record("3.png", ("pneumonia", "effusion"))
        >>> films = Records((Record("1.png", ("normal",)), Record("2.png", ("pneumonia",)), both), ".")
        >>> keep_findings(films, ["normal", "pneumonia"]).count_findings()
        {'normal': 1, 'pneumonia': 1}
        >>> keep_findings(films, ["normal", "pneumonia"], with_others=True).count_findings()
        {'normal': 1, 'pneumonia': 2}
    """
    wanted = records.findings if findings is None else tuple(findings)
    _check_known(records, wanted)
    kept: list[Record] = []
    n_several = n_none = n_beside = 0
    for film in records:
        own = tuple(name for name in film.findings if name in wanted)
        is_beside = len(own) == 1 < len(film.findings)
        n_several, n_none, n_beside = n_several + (len(own) > 1), n_none + (not own), n_beside + is_beside
        if len(own) == 1 and (with_others or not is_beside):
            kept.append(replace(film, findings=own))
    beside = "kept, though" if with_others else "left out (--with-others keeps them),"
    told = (
        (n_several, "left out, they show several of the findings"),
        (n_none, "left out, they show none of the findings"),
        (n_beside, f"{beside} they show one of the findings and others besides"),
    )
    notes = tuple(f"{count} films {what}" for count, what in told if count)
    if not kept:
        raise ValueError(f"no film is left of {', '.join(wanted)}: {'; '.join(notes)}; name others (--findings)")
    return replace(records, films=tuple(kept), notes=records.notes + notes)


def cut_findings(records: Records, findings: Sequence[str]) -> Records:
    """Keep every film, and of what it shows these findings alone; a film that shows none of them shows nothing.

    For classifiers of several findings, which learn from films without them too.

    Args:
        records: films with any number of findings.
        findings: that are kept.

    Raises:
        ValueError: a name is no finding of these films.

    Examples:
        >>> films = Records((Record("1.png", ("pneumonia", "effusion")), Record("2.png", ("effusion",))), ".")
        >>> [film.findings for film in cut_findings(films, ["pneumonia"])]
        [('pneumonia',), ()]
    """
    wanted = tuple(findings)
    _check_known(records, wanted)
    films = (replace(film, findings=tuple(name for name in film.findings if name in wanted)) for film in records)
    return replace(records, films=tuple(films))


def support_films(records: Records, split: str | None = None) -> Records:
    """Choose the labelled films that others are compared with: those of one split, and those that state none.

    Args:
        records: the labelled films.
        split: a name; "all": every film; None: train, where there is one, else every film.

    Returns:
        The films. Notes say which they are, count what is left out, and name each finding that has no film left.

    Raises:
        ValueError: no film belongs to the split.

    Examples:
        >>> test = Record("2.png", ("normal",), split="test")
        >>> films = Records((Record("1.png", ("normal",), split="train"), test), ".")
        >>> [film.path for film in support_films(films)], [film.path for film in support_films(films, "all")]
        (['1.png'], ['1.png', '2.png'])
    """
    if split is None and any(film.split == "train" for film in records):
        split = "train"
    if split in (None, ALL_SPLITS):
        return records
    records.of_split(split)  # a name that no film has is an error, whatever the others state
    kept = records.where(lambda film: film.split in (split, None))
    others = records.where(lambda film: film.split not in (split, None))
    n_unstated = len(kept) - sum(film.split == split for film in kept)
    also = f", and {n_unstated} that state no split" if n_unstated else ""
    notes = [f"exemplars: films of the split {split}{also} (--support-split)"]
    if others:
        counts = ", ".join(f"{name} {count}" for name, count in others.count_findings().items())
        splits = ", ".join(others.count_by(lambda film: film.split))
        notes.append(f"no exemplars: {len(others)} films of {splits} ({counts}); --support-split all takes them too")
    if lost := [name for name in records.findings if name not in kept.findings]:
        notes.append(f"no exemplar at all of {', '.join(lost)}: no film can be told to show it (--support-split)")
    return replace(kept, notes=(*records.notes, *notes))


def take_per_finding(records: Records, n_films: int, *, seed: int) -> Records:
    """Draw at most so many films of each finding: one of every patient before a second of any.

    The first films of a table would be those of few patients. The draw follows from the seed and the paths alone. A
    note counts what is left out.

    Raises:
        ValueError: a film has several findings, or n_films is below 1.

    Examples:
        >>> patients = ("p1", "p1", "p1", "p2")
        >>> films = Records(tuple(Record(f"{n}.png", ("normal",), patient) for n, patient in enumerate(patients)), ".")
        >>> [film.patient_id for film in take_per_finding(films, 2, seed=0)]
        ['p1', 'p2']
    """
    check_at_least(n_films, 1, "n_films")
    keys = [int(hashed_bits(seed, text_key(film.path))) for film in records]
    n_of_patient: Counter[tuple[str, str]] = Counter()
    turns = {}
    for row in sorted(range(len(records)), key=keys.__getitem__):
        film = records[row]
        turns[row] = n_of_patient[film.finding, film.group]
        n_of_patient[film.finding, film.group] += 1
    n_taken: Counter[str] = Counter()
    kept = []
    for row in sorted(turns, key=lambda row: (turns[row], keys[row])):
        n_taken[records[row].finding] += 1
        if n_taken[records[row].finding] <= n_films:
            kept.append(row)
    note = f"at most {n_films} films of a finding, drawn with seed {seed}: {len(records) - len(kept)} left out"
    return replace(records.take(sorted(kept)), notes=(*records.notes, note))


def drop_lone_films(records: Records) -> Records:
    """Leave out findings with one film: nothing of the same finding could be compared with it. A note names them.

    Raises:
        ValueError: a film has several findings.

    Examples:
        >>> names = ("normal", "normal", "covid19")
        >>> kept = drop_lone_films(Records(tuple(Record(f"{n}.png", (name,)) for n, name in enumerate(names)), "."))
        >>> kept.findings, kept.notes
        (('normal',), ('left out, one film only: covid19',))
    """
    counts = records.count_by(lambda film: film.finding)
    lone = sorted(name for name, count in counts.items() if count == 1)
    if not lone:
        return records
    kept = records.where(lambda film: film.finding not in lone)
    return replace(kept, notes=(*kept.notes, f"left out, one film only: {', '.join(lone)}"))


def _once(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _check_known(records: Records, names: Mapping[str, str] | Sequence[str]) -> None:
    for name in names:
        if name not in records.findings:
            have = ", ".join(records.findings)
            raise ValueError(f"no film has the finding {name!r}{nearest(name, records.findings)}; there are {have}")
