"""What a result says of the weights that its encoder started from: whose they are, and which films they have seen."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from fewshot_cxr.encoders import Encoder, seen_in_training
from fewshot_cxr.evaluation import Result
from fewshot_cxr.records import Records


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


def with_weights(result: Result, encoder: Encoder, films: Records, new: Iterable[str]) -> Result:
    """Return a result with what is to be said of the encoder's weights; arguments as for `weights_warnings`."""
    notes, told = weights_notes(encoder), weights_warnings(encoder, films, new)
    return replace(result, notes=(*result.notes, *notes), warnings=(*result.warnings, *told))
