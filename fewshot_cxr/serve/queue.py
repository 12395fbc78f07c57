"""One thread that owns the encoder; films of several requests wait for it in line, and go through it together."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fewshot_cxr.inference.bank import Answer

Value = TypeVar("Value")


class QueueFull(RuntimeError):
    """More waits than is taken."""


@dataclass(frozen=True)
class Question:
    """What is asked of films; those of one question go through the network together.

    Args:
        prevalence: (finding, share) pairs; (): as in the calibration.
        n_nearest: exemplars that an answer shows.
    """

    prevalence: tuple[tuple[str, float], ...] = ()
    n_nearest: int = 3


@dataclass(eq=False)
class _Turn:
    """Somebody's place in line: films to be answered for, or a call that needs the encoder."""

    future: "Future[Any]" = field(default_factory=Future)
    films: Sequence[Path] = ()
    question: Question = Question()
    call: Callable[[], Any] | None = None


class AnswerQueue:
    """Films in line for one thread.

    Args:
        answer: answers for films, in their order; called in that thread alone.
        n_waiting: films that may wait.
        batch_size: films that are answered together.
    """

    def __init__(
        self, answer: Callable[[Sequence[Path], Question], Sequence[Answer]], *, n_waiting: int, batch_size: int
    ) -> None:
        self._answer, self._n_waiting, self._batch_size = answer, n_waiting, batch_size
        self._turns: deque[_Turn] = deque()
        self._changed = threading.Condition()
        self._is_open = True
        self._thread = threading.Thread(target=self._work, name="fscxr-answers", daemon=True)
        self._thread.start()

    @property
    def n_films(self) -> int:
        """How many films wait."""
        with self._changed:
            return sum(len(turn.films) for turn in self._turns)

    def ask(self, films: Sequence[Path], question: Question) -> "Future[Sequence[Answer]]":
        """Put films in line; who cancels the future before its turn leaves the line.

        Args:
            films: files that stay until they are answered for.
            question: about them.

        Raises:
            QueueFull: too many wait already, or the thread ends.
        """
        return self._put(_Turn(films=films, question=question)).future

    def call(self, work: Callable[[], Value]) -> "Future[Value]":
        """Put a call in line that needs the encoder; it runs alone.

        Raises:
            QueueFull: too many wait already, or the thread ends.
        """
        return self._put(_Turn(call=work)).future

    def close(self, seconds: float) -> None:
        """Let the batch end that is at work, within so many seconds; what waits then is cancelled."""
        with self._changed:
            self._is_open = False
            left, self._turns = list(self._turns), deque()
            self._changed.notify_all()
        for turn in left:
            turn.future.cancel()
        self._thread.join(seconds)

    def _put(self, turn: _Turn) -> _Turn:
        with self._changed:
            if not self._is_open:
                raise QueueFull("the server is ending")
            n_films = sum(len(one.films) or 1 for one in self._turns)
            if n_films + (len(turn.films) or 1) > self._n_waiting:
                raise QueueFull(f"{n_films:,} films wait already, of {self._n_waiting:,} that may: come again")
            self._turns.append(turn)
            self._changed.notify_all()
        return turn

    def _next(self) -> list[_Turn]:
        """Wait for turns, and take one call, or films of one question that fit into a batch; []: the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._turns or not self._is_open)
            if not self._turns:
                return []
            taken = [self._turns.popleft()]
            n_films = len(taken[0].films)
            while self._turns and taken[0].call is None:
                following = self._turns[0]
                n_films += len(following.films)
                if following.call or following.question != taken[0].question or n_films > self._batch_size:
                    break
                taken.append(self._turns.popleft())
            return taken

    def _work(self) -> None:
        while turns := self._next():
            turns = [turn for turn in turns if turn.future.set_running_or_notify_cancel()]
            if turns:
                self._settle(turns)

    def _settle(self, turns: Sequence[_Turn]) -> None:
        try:
            found = _done(turns[0].call) if turns[0].call else self._answered(turns)
        except Exception as error:
            if len(turns) == 1:
                turns[0].future.set_exception(error)
            for turn in turns if len(turns) > 1 else ():  # one film must not cost the others theirs
                self._settle([turn])
            return
        for turn, value in zip(turns, found, strict=True):
            turn.future.set_result(value)

    def _answered(self, turns: Sequence[_Turn]) -> list[Any]:
        answers = iter(self._answer([film for turn in turns for film in turn.films], turns[0].question))
        return [[next(answers) for _ in turn.films] for turn in turns]


def _done(call: Callable[[], Any]) -> list[Any]:
    return [call()]
