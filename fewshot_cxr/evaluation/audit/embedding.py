"""Is it the disease or the hospital? What an embedding tells of films beside their finding."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fewshot_cxr.data import patient_groups
from fewshot_cxr.evaluation.audit.confounding import by_discriminant
from fewshot_cxr.evaluation.audit.cross_validation import MAX_FILMS, make_case, measure, sampled_rows
from fewshot_cxr.evaluation.audit.patients import tabulate
from fewshot_cxr.evaluation.audit.result import EmbeddingAudit, Measure
from fewshot_cxr.records import Record, Records

_NOT_STATED = "not stated"
_Name = Callable[[Record], str | None]


def assess_embedding(
    vectors: np.ndarray, records: Records, *, n_training_films: int = 0, seed: int = 0, max_films: int = MAX_FILMS
) -> EmbeddingAudit:
    """Measure how well an embedding predicts source, view, age and sex, beside the finding.

    Each number is the balanced accuracy (mean recall; chance is 1 / the number of classes) of a linear discriminant on
    the vectors, for films of patients that it did not see: 5 folds by patient group, fewer where a class has fewer. Its
    interval is over resampled groups of patients, as in `assess_confounding`. Ages are two classes, parted at their
    median. Within each finding that has two sources the source is predicted too: there no difference of findings helps.

    Args:
        vectors: the embeddings, shape (N, dim).
        records: the N films; best ones that the encoder was not trained on.
        n_training_films: how many others were left out since it was.
        seed: of sample, folds and resampling.
        max_films: of more films, so many are sampled.

    Raises:
        ValueError: not as many vectors as films, or no film.

    Examples:
        >>> films = tuple(Record(f"{n}.png", (("normal", "covid19")[n % 2],), source="lyon") for n in range(8))
        >>> told: EmbeddingAudit = assess_embedding(np.eye(8), Records(films, "."))
        >>> told.first_line
        'Disease or hospital cannot be told from these films: all films are of one source, lyon.'
    """
    if len(vectors) != len(records) or not len(records):
        raise ValueError(f"vectors must be one for each film, got {len(vectors)} for {len(records)} films")
    order = sorted(range(len(records)), key=lambda row: records[row].path)
    rows = [order[place] for place in sampled_rows([records[row].path for row in order], seed, max_films)]
    groups, features = patient_groups(records), np.asarray(vectors, dtype=np.float64)

    def told(name: str, what: str, of: _Name, *, among: Sequence[int] = rows) -> Measure:
        stated = [(row, text) for row in among if (text := of(records[row]))]
        if not stated:
            return Measure.impossible(f"no {what} is stated")
        case = make_case([row for row, _ in stated], [text for _, text in stated], groups, seed, what)
        return measure(case, features.__getitem__, by_discriminant, f"embedding {name}", seed)

    of_column: Mapping[str, _Name] = {
        "finding": _finding,
        "source": lambda film: film.source,
        "view": lambda film: film.view,
        "age": _age_group(records),
        "sex": lambda film: film.sex,
    }
    tells = {name: told(name, "age group" if name == "age" else name, of) for name, of in of_column.items()}
    own_rows = {name: [row for row in rows if _finding(records[row]) == name] for name in records.findings}
    within = {
        name: told(f"source within {name}", "source", of_column["source"], among=own)
        for name, own in own_rows.items()
        if len({records[row].source for row in own} - {None, ""}) > 1
    }
    notes = (f"{len(rows):,} of {len(records):,} films, sampled",) if len(rows) < len(records) else ()
    by_source = tabulate(records, "source")
    return EmbeddingAudit(_first_line(by_source, tells, within), tells, within, len(records), n_training_films, notes)


def _finding(film: Record) -> str | None:
    return film.finding if len(film.findings) == 1 else None


def _age_group(records: Records) -> _Name:
    ages = [film.age_years for film in records if film.age_years is not None]
    middle = float(np.median(ages)) if ages else 0.0

    def group(film: Record) -> str | None:
        if film.age_years is None:
            return None
        return f"below {middle:g} years" if film.age_years < middle else f"{middle:g} years or more"

    return group


def _first_line(
    by_source: Mapping[str, Mapping[str, int]], tells: Mapping[str, Measure], within: Mapping[str, Measure]
) -> str:
    """Say what nobody may overlook: whether the hospital can be told from the disease at all."""
    shown = {
        finding: {source for source, count in row.items() if count and source != _NOT_STATED}
        for finding, row in by_source.items()
    }
    sources = set().union(*shown.values())
    if len(sources) < 2:
        which = "no source is stated" if not sources else f"all films are of one source, {min(sources)}"
        return f"Disease or hospital cannot be told from these films: {which}."
    others = {finding: set().union(*(shown[name] for name in shown if name != finding)) for finding in shown}
    apart = [finding for finding, own in shown.items() if own and not own & others[finding]]
    if apart:
        where = "; ".join(f"{finding} is only from {' and '.join(sorted(shown[finding]))}" for finding in apart)
        return (
            f"Source and {' and '.join(apart)} cannot be told apart: {where}, and no other finding is from there. What "
            "the encoder knows of it may be the hospital alone."
        )
    number = tells["source"].number
    if number.mean is None:
        return f"Whether the embedding knows the hospital {number.reason}."
    known = [name for name, one in within.items() if one.is_clearly_above_chance]
    told = f"The embedding tells the source of a film in {100 * number.mean:.0f} % (chance "
    told += f"{100 * (tells['source'].chance or 0):.0f} %)"
    return f"{told}, also among films of {' and of '.join(known)} alone." if known else f"{told}."
