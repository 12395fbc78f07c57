"""What an encoder has seen before: films of its training, and those of the weights that it started from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fewshot_cxr._kinds import TRAINING_FILMS
from fewshot_cxr.data import CachedFilms
from fewshot_cxr.data.film_digests import film_digests, read_training_films
from fewshot_cxr.encoders import Encoder, seen_in_training
from fewshot_cxr.evaluation import LearningCurve, Result
from fewshot_cxr.evaluation.warning_texts import TRAINED_ON
from fewshot_cxr.records import Records


def find_training_films(card: dict[str, Any], checkpoint: Path, films: CachedFilms) -> list[bool]:
    """Return which films the encoder was trained on, as far as its run can tell.

    A run keeps a digest of each film's pixels. One of before that was kept knows its films by their hash alone: then
    those of the split `train` count.

    Args:
        card: of the encoder.
        checkpoint: run folder or encoder file.
        films: that are evaluated.
    """
    file = (checkpoint if checkpoint.is_dir() else checkpoint.parent) / TRAINING_FILMS
    records = films.records
    if file.is_file():
        known = read_training_films(file)
        return [digest in known for digest in film_digests(films)]
    if records.data_hash in (card.get("data_hash", {}).get("train"), *card.get("given_hash", ())[:1]):
        return [True] * len(records)
    return ["data_hash" in card and film.split == "train" for film in records]


def count_training_films(card: dict[str, Any], checkpoint: Path, films: CachedFilms, *, is_allowed: bool) -> int:
    """Return how many films the encoder was trained on; see `find_training_films`.

    Args:
        card: of the encoder.
        checkpoint: run folder or encoder file.
        films: that are evaluated.
        is_allowed: they may be.

    Raises:
        ValueError: there are some, and they may not be.
    """
    trained = find_training_films(card, checkpoint, films)
    if any(trained) and not is_allowed:
        raise ValueError(trained_on_text(films.records, trained))
    return sum(trained)


def trained_on_text(records: Records, trained: Sequence[bool]) -> str:
    """Return how many films were trained on, the first of them, and the ways out."""
    return (
        f"{sum(trained):,} of {len(records):,} films were trained on, such as {records[trained.index(True)].path}; "
        "name others (--split), or --allow-training-films to measure what the encoder remembers"
    )


def with_training_films(result: Result, n_training_films: int) -> Result:
    """Return a result that says how many of its films were trained on, first of its warnings."""
    if not n_training_films:
        return result
    told = (
        f"{TRAINED_ON}: the encoder was trained on {n_training_films:,} of these {result.n_films:,} films; "
        "this measures what it remembers, and nothing else"
    )
    return replace(result, n_training_films=n_training_films, warnings=(told, *result.warnings))


Told = TypeVar("Told", Result, LearningCurve)


def weights_notes(encoder: Encoder) -> Iterator[str]:
    """Yield whose weights an encoder started from, and under which licence; nothing where no one published them."""
    origin = encoder.origin
    if "licence" in origin:
        told = [f"{key} {origin[key]}" for key in ("licence", "access") if origin.get(key, "unknown") != "unknown"]
        yield "; ".join([f"the encoder started from the weights {origin.get('name', '')}", *told])


def weights_warnings(encoder: Encoder, films: Records, new: Iterable[str]) -> Iterator[str]:
    """Yield which findings that are called new are of films that the weights have seen.

    Args:
        encoder: that is judged, or asked.
        films: labelled, with their sources.
        new: findings that the encoder was not trained on.
    """
    sources: dict[str, set[str]] = {finding: set() for finding in new}
    for film in films:
        for finding in film.findings:
            if finding in sources and film.source:
                sources[finding].add(film.source)
    if told := seen_in_training(encoder.origin, sources):
        yield told


def with_weights(result: Told, encoder: Encoder, films: Records, new: Iterable[str]) -> Told:
    """Return a result or a learning curve with what is to be said of the weights; arguments as `weights_warnings`."""
    notes = (*result.notes, *weights_notes(encoder))
    warnings = (*result.warnings, *weights_warnings(encoder, films, new))
    return replace(result, notes=notes, warnings=warnings)
