"""Receive films, answer each, deliver the answers: from its start until it has drained."""

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from pydicom import Dataset

from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.listen.answers import USUAL_ASKING, Answering, Asking, answer_films
from fewshot_cxr.listen.destinations import Destination, Undelivered
from fewshot_cxr.listen.intake import Intake, Waiting
from fewshot_cxr.listen.network import no_word_of_films
from fewshot_cxr.listen.receiver import USUAL_PORT, Port, Receiver
from fewshot_cxr.listen.report_sr import check_reports
from fewshot_cxr.listen.tally import DELIVERED, LOST, Tally

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds between two tries to deliver
_LOOK = 0.5  # seconds between two looks at whether the work has ended


class Listener:
    """A node that answers films; a context, in which it runs.

    Args:
        bank: that is asked.
        destination: of the answers.
        port: where and for whom it listens.
        asking: how the bank is asked.
        most_waiting: films that have no answer yet; a sender of more is told that there is no room.
        retry_seconds: for how long a destination that fails is tried again; then the answer is lost, and said to be.
        tell: called with each line of log, on any thread; none of them says whose a film is.
    """

    def __init__(
        self,
        bank: Answering,
        destination: Destination,
        port: Port = USUAL_PORT,
        *,
        asking: Asking = USUAL_ASKING,
        most_waiting: int = 64,
        retry_seconds: float = 600.0,
        tell: Callable[[str], None],
    ) -> None:
        self.bank, self.destination, self.asking = bank, destination, asking
        self.tally = Tally()
        self._port, self._most, self._retry_seconds, self._tell = port, most_waiting, retry_seconds, tell
        # An event says that the work has ended: a thread whose `join` Ctrl-C interrupts looks as if it had (bpo-45274).
        self._hurry, self._ended = threading.Event(), threading.Event()
        self._parts = ExitStack()

    def __enter__(self) -> "Listener":
        """Begin to listen.

        Raises:
            OSError: the port is taken, or the destination can never be written.
            ImportError: pynetdicom is not installed.
            ValueError: the bank cannot be asked in this way.
        """
        with ExitStack() as parts:
            # What it needs is found now, and a prevalence or device that it cannot have is refused.
            list(self.bank.answers([], device=self.asking.device, prevalence=self.asking.prevalence))
            if self.asking.with_report:
                check_reports()
            parts.enter_context(no_word_of_films(self._tell))
            if problem := self.destination.check():
                self._tell(f"warning: the destination: {problem}; it is tried again for each answer")
            folder = parts.enter_context(tempfile.TemporaryDirectory(prefix="fscxr-listen-"))  # of mode 0700
            self._intake = Intake(Path(folder), self._most, self.tally, self._tell)
            self._receiver = Receiver(self._port, self._intake.take, self._tell)
            parts.callback(self._stop)
            threading.Thread(target=self._work, name="answers", daemon=True).start()
            self._parts = parts.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._receiver.port

    @property
    def n_waiting(self) -> int:
        """Films that have no answer yet."""
        return self._intake.n_open

    def wait(self) -> None:
        """Wait until all films are answered and no more are taken: for ever, unless it is drained; Ctrl-C ends that."""
        while not self._ended.wait(_LOOK):  # in parts, so that a signal is seen on every system
            continue

    def drain(self) -> None:
        """Take no more films, and wait until those that were taken are answered."""
        self._intake.close()
        self.wait()

    def _stop(self) -> None:
        """End now; films that wait are lost, and counted."""
        self._hurry.set()
        self._intake.close()
        self._receiver.close()
        self.wait()

    def _work(self) -> None:
        try:
            self._answer_all()
        finally:
            self._ended.set()

    def _answer_all(self) -> None:
        while films := self._intake.next_films(self.asking.batch_size):
            self._answer(films)

    def _answer(self, films: Sequence[Waiting]) -> None:
        """Answer films together; where that fails, those that are left one by one, so that one costs itself alone."""
        if self._hurry.is_set():
            for film in films:
                self._lose(film, "it was not answered before the end")
            return
        left = list(films)
        try:
            began = time.monotonic()
            for answer, made in answer_films(self.bank, films, self.asking):
                self._hand_over(left[0], answer, made, began)
                del left[0]
        except Exception as error:  # its text may quote a header
            for film in left:
                if len(films) == 1:
                    self._lose(film, f"an unforeseen {type(error).__name__}")
                else:
                    self._answer([film])

    def _hand_over(self, film: Waiting, answer: Answer, made: Sequence[Dataset], began: float) -> None:
        self.tally.answer(answer.reason if answer.is_abstained else "")
        if undelivered := self._deliver(made):
            self._lose(film, undelivered.why)
            return
        self.tally.add(DELIVERED)
        self._intake.done(film)
        told = f"no answer ({answer.reason})" if answer.is_abstained else "answered"
        self._tell(f"film {film.name}: {told}, delivered after {time.monotonic() - began:.1f} s")

    def _deliver(self, made: Sequence[Dataset]) -> Undelivered | None:
        """Try until all objects have got there, or trying is of no use."""
        wait, end, is_told = _FIRST_WAIT, time.monotonic() + self._retry_seconds, False
        left = list(made)
        while True:
            failed = self.destination.deliver(left)
            left = [one for one, failure in zip(left, failed, strict=True) if failure]
            problem = next((one for one in failed if one), None)
            if problem is None or problem.is_final or time.monotonic() + wait > end or self._hurry.is_set():
                return problem
            if not is_told:
                self._tell(f"an answer waits: {problem.why}; trying again")
                is_told = True
            self._hurry.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _lose(self, film: Waiting, why: str) -> None:
        self.tally.add(LOST)
        self._intake.done(film)
        self._tell(f"film {film.name}: lost: {why}")
