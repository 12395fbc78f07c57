"""What a page shows of an answer: words, bars, pictures, and the film itself for whoever corrects it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from fewshot_cxr._csv import csv_text
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.bank import Answer
from fewshot_cxr.inference.bank.abstaining import AMBIGUOUS, INVERTED, NEGATIVE_SPACE, NOT_A_FILM, UNKNOWN, UNREADABLE
from fewshot_cxr.inference.bank.answer import COLUMNS
from fewshot_cxr.inference.prediction import Exemplar
from fewshot_cxr.report.pictures import image_bytes
from fewshot_cxr.serve.films import SentFilm, decoded, picture_of
from fewshot_cxr.serve.keeper import Served

_FILM_PX = 320  # twice what is shown
IN_WORDS = {
    UNREADABLE: "the file cannot be read as a film",
    NEGATIVE_SPACE: "most of the frame is empty",
    INVERTED: "it looks like a negative",
    NOT_A_FILM: "it does not look like a frontal film of the chest",
    UNKNOWN: "it is unlike the films of every finding",
    AMBIGUOUS: "it is near several findings",
}


@dataclass(frozen=True)
class Bar:
    """A number as a bar: its length is `percent` of the longest."""

    name: str
    percent: float
    text: str
    share: float = 0.0


@dataclass(frozen=True)
class ShownExemplar:
    """A labelled film that was compared with."""

    film: str
    finding: str
    distance: str
    image: bytes | None


@dataclass(frozen=True)
class Card:
    """What a page shows of one film."""

    name: str
    verdict: str
    is_abstained: bool
    why: str
    nearest: str
    fits: str
    promise: str
    picture: bytes | None
    carried: str
    probabilities: tuple[Bar, ...]
    distances: tuple[Bar, ...]
    exemplars: tuple[ShownExemplar, ...]
    facts: tuple[tuple[str, str], ...]


def cards_of(served: Served, answers: Sequence[Answer], films: Sequence[SentFilm], spec: ImageSpec) -> list[Card]:
    """Return what a page shows, while the files of the films are there.

    Args:
        served: the bank that answered.
        answers: for the films.
        films: in the same order.
        spec: of the encoder.
    """
    return [_card(served, answer, _pictures(film, spec)) for answer, film in zip(answers, films, strict=True)]


def table_of(answers: Sequence[Answer]) -> str:
    """Return answers as the CSV that `fscxr predict` writes."""
    return csv_text([COLUMNS, *(answer.row() for answer in answers)])


def data_link(content: str, kind: str) -> str:
    """Return text as an address that holds it, to be downloaded.

    Args:
        content: the text.
        kind: such as "text/csv".
    """
    encoded = base64.b64encode(content.encode(errors="backslashreplace")).decode()
    return f"data:{kind};charset=utf-8;base64,{encoded}"


def _card(served: Served, answer: Answer, pictures: tuple[bytes | None, str]) -> Card:
    facts = [("operating point reached", ", ".join(answer.positive))] if answer.positive else []
    facts += [(f"{name} at the prevalence", f"PPV {ppv}, NPV {npv}") for name, (ppv, npv) in answer.values.items()]
    facts += [("note", note) for note in answer.notes]
    return Card(
        name=answer.path,
        verdict="no answer" if answer.is_abstained else answer.answer,
        is_abstained=answer.is_abstained,
        why=_why(answer),
        nearest=answer.finding,
        fits="" if answer.fitting is None else ", ".join(answer.fitting) or "no finding",
        promise=served.promise(answer.finding) if answer.fitting is not None else "",
        picture=pictures[0],
        carried=pictures[1],
        probabilities=_probabilities(answer),
        distances=_distances(answer),
        exemplars=tuple(
            ShownExemplar(one.path, one.finding, f"{one.distance:.4g}", _thumbnail(served, one))
            for one in answer.exemplars
        ),
        facts=tuple(facts),
    )


def _why(answer: Answer) -> str:
    if not answer.reason:
        return ""
    told = IN_WORDS.get(answer.reason, answer.reason.replace("_", " "))
    return f"{told}: {answer.details}" if answer.details and answer.details != told else told


def _probabilities(answer: Answer) -> tuple[Bar, ...]:
    ranked = sorted(answer.probabilities.items(), key=lambda one: -one[1])
    return tuple(Bar(name, 100 * share, f"{share:.2f}", share) for name, share in ranked)


def _distances(answer: Answer) -> tuple[Bar, ...]:
    ranked = sorted(answer.distances.items(), key=lambda one: one[1])
    longest = max((abs(value) for _, value in ranked), default=0.0) or 1.0
    return tuple(Bar(name, 100 * abs(value) / longest, f"{value:.4g}") for name, value in ranked)


def _pictures(film: SentFilm, spec: ImageSpec) -> tuple[bytes | None, str]:
    """Return a small JPEG of a film and what a form of the page carries of it; (None, ""): it cannot be read."""
    try:
        gray = decoded(film.path, spec)
    except (OSError, ValueError):
        return None, ""
    shown = Image.fromarray(gray)
    shown.thumbnail((_FILM_PX, _FILM_PX))
    return image_bytes(shown), base64.b64encode(picture_of(gray, spec)).decode()


def _thumbnail(served: Served, exemplar: Exemplar) -> bytes | None:
    gray = served.bank.table.thumbnail(exemplar.path, exemplar.finding)
    return None if gray is None else image_bytes(Image.fromarray(gray))
