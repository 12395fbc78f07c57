"""What a result says of the weights that its encoder started from: whose they are, and which films they have seen."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from fewshot_cxr.encoders import Encoder, seen_in_training
from fewshot_cxr.evaluation import LearningCurve, Result
from fewshot_cxr.records import Records

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
