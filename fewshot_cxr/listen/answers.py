"""From films that wait to what is delivered for them: a page each and, where it is asked for, a report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from pydicom import Dataset

from fewshot_cxr import __version__
from fewshot_cxr.data import decode_film
from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.listen.intake import Waiting
from fewshot_cxr.listen.objects import page_object
from fewshot_cxr.listen.page import Thumbnail, answer_lines, draw_page
from fewshot_cxr.listen.report_sr import report_object


class Answering(Protocol):
    """What answers for films: a `SupportBank`, or what has its `answers`."""

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of what decides."""

    def answers(
        self,
        files: Sequence[str | Path],
        *,
        n_nearest: int = 3,
        batch_size: int = 64,
        device: str = "auto",
        prevalence: Mapping[str, float] | None = None,
    ) -> Iterator[Answer]:
        """Yield an answer for each file, in order."""


@dataclass(frozen=True)
class Asking:
    """How films are asked about.

    Args:
        batch_size: films at a time, at most.
        device: "auto", "cpu", "cuda" or "cuda:N".
        prevalence: finding -> share of the patients where the films come from; None: as the bank has it.
        shown: exemplar's path, as answers name it -> its picture, uint8 (S, S); {}: no other patient's film is shown.
        with_report: whether a structured report goes with each page.
    """

    batch_size: int = 8
    device: str = "auto"
    prevalence: Mapping[str, float] | None = None
    shown: Mapping[str, np.ndarray] = field(default_factory=dict)
    with_report: bool = False


USUAL_ASKING = Asking()


def answer_films(bank: Answering, films: Sequence[Waiting], asking: Asking) -> Iterator[tuple[Answer, list[Dataset]]]:
    """Yield for each film its answer, and the objects that tell it.

    Args:
        bank: that is asked.
        films: that wait.
        asking: how.
    """
    files = [film.file for film in films]
    answers = bank.answers(files, batch_size=len(files), device=asking.device, prevalence=asking.prevalence)
    for film, answer in zip(films, answers, strict=True):
        made = [page_of(film, answer, bank, asking)]
        yield answer, [*made, report_object(answer, film.study)] if asking.with_report else made


def page_of(film: Waiting, answer: Answer, bank: Answering, asking: Asking) -> Dataset:
    """Return the page that tells an answer.

    Args:
        film: that was asked about.
        answer: to it.
        bank: that gave it.
        asking: how it was asked.
    """
    picture, notes = _shown_film(film.file)
    thumbnails = [
        Thumbnail(asking.shown[one.path], one.finding, one.distance)
        for one in answer.exemplars
        if one.path in asking.shown
    ]
    foot = [f"bank {bank.content_hash[:16]}, fewshot_cxr {__version__}", "distances are no probabilities"]
    return page_object(draw_page(picture, answer_lines(answer, notes), foot, thumbnails), film.study)


def _shown_film(file: Path) -> tuple[np.ndarray | None, Sequence[str]]:
    try:
        film = decode_film(file)
    except (OSError, ValueError):  # the answer says why
        return None, ()
    return film.gray, film.facts.notes
