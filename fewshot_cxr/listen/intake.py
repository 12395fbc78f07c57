"""What a film meets when it arrives: it is looked at, a place among those that wait is taken, and it is kept."""

import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fewshot_cxr.listen.study import Study, read_study
from fewshot_cxr.listen.tally import RECEIVED, Tally

# Source: DICOM PS3.4, B.2.3 (statuses of C-STORE).
SUCCESS, NO_ROOM, NOT_ITS_CLASS, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
_NAME_BYTES = 4


@dataclass(frozen=True, repr=False)
class Waiting:
    """A film that was accepted.

    Args:
        name: drawn for it; log lines call it so.
        file: where it lies.
        study: whose it is.
    """

    name: str
    file: Path
    study: Study


class Intake:
    """Films between their arrival and their answer, so many at most.

    Args:
        folder: for their files, private.
        most: films that have no answer yet.
        tally: what became of them.
        tell: called with a line of log.
    """

    def __init__(self, folder: Path, most: int, tally: Tally, tell: Callable[[str], None]) -> None:
        self._folder, self._tally, self._tell = folder, tally, tell
        self._places = threading.Semaphore(most)
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._lock, self._n_open, self._is_closed = threading.Lock(), 0, False

    def take(self, content: bytes, sop_class: str) -> int:
        """Take a film, and return the status that its sender is told.

        Args:
            content: of its file.
            sop_class: UID that it was announced with.
        """
        try:
            study = read_study(content)
            if study.sop_class != sop_class:
                raise ValueError("its class is not the one that was announced")
        except (OSError, ValueError) as error:
            is_readable = isinstance(error, ValueError)
            return self._refuse(str(error), NOT_ITS_CLASS if is_readable else NOT_UNDERSTOOD)
        if not self._places.acquire(blocking=False):
            return self._refuse("too many films wait", NO_ROOM)
        name = secrets.token_hex(_NAME_BYTES)
        film = Waiting(name, self._folder / f"{name}.dcm", study)
        try:
            film.file.write_bytes(content)
        except OSError as error:
            film.file.unlink(missing_ok=True)
            self._places.release()
            return self._refuse(f"it cannot be kept: {error.strerror}", NO_ROOM)
        with self._lock:
            if not self._is_closed:
                self._n_open += 1
                self._queue.put(film)
                self._tally.add(RECEIVED)
                self._tell(f"film {name}: received")
                return SUCCESS
        film.file.unlink(missing_ok=True)
        self._places.release()
        return self._refuse("no more films are taken", NO_ROOM)

    def next_films(self, most: int) -> list[Waiting]:
        """Wait for films, and return those that are there; none: there will be no more.

        Args:
            most: films at a time.
        """
        films: list[Waiting] = []
        try:
            while len(films) < most and (film := self._queue.get(block=not films)) is not None:
                films.append(film)
            if len(films) < most:  # the end was met: it is to be met again
                self._queue.put(None)
        except queue.Empty:
            return films
        return films

    def done(self, film: Waiting) -> None:
        """Let go of a film, whatever became of it."""
        film.file.unlink(missing_ok=True)
        with self._lock:
            self._n_open -= 1
        self._places.release()

    def close(self) -> None:
        """Take no more films; those that wait stay."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._queue.put(None)

    @property
    def n_open(self) -> int:
        """Films that have no answer yet."""
        return self._n_open

    def _refuse(self, reason: str, status: int) -> int:
        self._tally.refuse(reason)
        self._tell(f"a film was refused: {reason} (status 0x{status:04X})")
        return status
