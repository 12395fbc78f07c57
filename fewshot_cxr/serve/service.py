"""What routes share: the bank, the line of films before it, and what is counted."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import Depends, HTTPException, Request

from fewshot_cxr._visible import visible
from fewshot_cxr.inference.bank import Answer, parse_prevalence
from fewshot_cxr.serve.changes import UNDONE, Change
from fewshot_cxr.serve.films import SentFilm, as_exemplars
from fewshot_cxr.serve.keeper import BankKeeper
from fewshot_cxr.serve.metrics import Metrics
from fewshot_cxr.serve.queue import AnswerQueue, Question
from fewshot_cxr.serve.settings import Settings

Value = TypeVar("Value")
MOST_NEAREST = 20
MOST_DIGITS = 18  # of a number that somebody sends
_LONGEST_FINDING = 60  # letters
_FLAG_HINT = "; --any-modality takes it"  # of the command line


@dataclass(frozen=True, eq=False)
class Service:
    """What routes share.

    Args:
        settings: of the server.
        keeper: of the bank.
        queue: of the thread that owns the encoder.
        metrics: what is counted.
    """

    settings: Settings
    keeper: BankKeeper
    queue: AnswerQueue
    metrics: Metrics

    @classmethod
    def started(cls, settings: Settings, keeper: BankKeeper, metrics: Metrics) -> "Service":
        """Start the thread that answers."""
        n_waiting = settings.limits.n_waiting
        queue = AnswerQueue(keeper.answers, n_waiting=n_waiting, batch_size=settings.batch_size)
        return cls(settings, keeper, queue, metrics)

    async def answers(self, films: Sequence[SentFilm], question: Question) -> list[Answer]:
        """Answer for films, which are called as the client calls them."""
        found = await self._wait(self.queue.ask([film.path for film in films], question))
        told = [_as_sent(answer, film.name) for answer, film in zip(found, films, strict=True)]
        for one in told:
            self.metrics.films.add(("" if one.is_abstained else one.answer, one.reason if one.is_abstained else ""))
        return told

    async def add(self, finding: str, films: Sequence[SentFilm]) -> Change | None:
        """Add films to a finding; see `BankKeeper.add`."""

        def work() -> Change | None:
            with tempfile.TemporaryDirectory(prefix="fscxr-") as folder:
                return self.keeper.add(finding, as_exemplars(films, self.keeper.encoder.image_spec, Path(folder)))

        return await self._change(work)

    async def remove(self, finding: str, film: str | None = None) -> Change | None:
        """Remove a finding or a film of it; see `BankKeeper.remove`."""
        return await self._change(lambda: self.keeper.remove(finding, film))

    async def undo(self, number: int) -> Change:
        """Take back the last change; see `BankKeeper.undo`."""
        change = await self._wait(self.queue.call(lambda: self.keeper.undo(number)))
        self.metrics.changes.add((UNDONE,))
        return change

    async def call(self, work: Callable[[], Value]) -> Value:
        """Do something in the thread that owns the encoder."""
        return await self._wait(self.queue.call(work))

    async def _change(self, work: Callable[[], Change | None]) -> Change | None:
        change = await self._wait(self.queue.call(work))
        if change is not None:
            self.metrics.changes.add((change.what,))
        return change

    async def _wait(self, future: "Future[Value]") -> Value:
        return await asyncio.wait_for(asyncio.wrap_future(future), self.settings.limits.answer_seconds)

    def question(self, prevalence: str, n_nearest: str) -> Question:
        """Return a question of texts.

        Args:
            prevalence: such as "covid19=0.02"; "": as in the calibration.
            n_nearest: exemplars that an answer shows.

        Raises:
            HTTPException: they say nothing that can be.
        """
        try:
            stated = parse_prevalence(prevalence) if prevalence.strip() else {}
            if stated:
                self.keeper.served.bank.grounds.at_prevalence(stated)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        if not n_nearest.isdecimal() or len(n_nearest) > MOST_DIGITS or not 1 <= int(n_nearest) <= MOST_NEAREST:
            raise HTTPException(422, f"n_nearest must be in 1..{MOST_NEAREST}, got {n_nearest[:20]!r}")
        return Question(tuple(sorted(stated.items())), int(n_nearest))


def finding_name(text: str) -> str:
    """Return the name of a finding as it will stand in the bank.

    Raises:
        HTTPException: there is none, or it is no name.
    """
    name = text.strip()
    if not name or len(name) > _LONGEST_FINDING or name != visible(name) or "/" in name:
        raise HTTPException(
            422, f"a finding has a name of 1 to {_LONGEST_FINDING} visible letters without a slash, such as covid19"
        )
    return name


def _as_sent(answer: Answer, name: str) -> Answer:
    return replace(answer, path=name, details=answer.details.removesuffix(_FLAG_HINT))


def service_of(request: Request) -> Service:
    """Return what the routes of an application share."""
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(service_of)]
