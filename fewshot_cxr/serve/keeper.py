"""The bank that is served: it answers, and is changed by one writer at a time, in its file first."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.inference import choose_device
from fewshot_cxr.inference.bank import Answer, SupportBank, bank_json
from fewshot_cxr.serve.changes import ADDED, REMOVED, UNDONE, Change, ChangeLog
from fewshot_cxr.serve.queue import Question
from fewshot_cxr.serve.settings import Settings
from fewshot_cxr.whole_files import whole_file

_LONGEST_WAIT = 30.0  # seconds for another writer
_POLL = 0.05
Signature = tuple[int, int, int]


class BankBusy(RuntimeError):
    """Another process writes the bank, and does not end."""


@dataclass(frozen=True, eq=False)
class Served:
    """A bank as its file held it.

    Args:
        bank: as it was read.
        signature: of the file: inode, time and size.
    """

    bank: SupportBank
    signature: Signature

    @cached_property
    def content_hash(self) -> str:
        """Of the bank."""
        return self.bank.content_hash

    @cached_property
    def told(self) -> dict[str, Any]:
        """What the bank is, plain JSON values."""
        return bank_json(self.bank)

    @cached_property
    def facts(self) -> dict[str, str]:
        """What the bank is, in words."""
        return dict(self.bank.facts())

    @property
    def level(self) -> float:
        """The share of sets that are to hold the true finding."""
        return self.bank.fitted.level

    def promise(self, finding: str) -> str:
        """Return what sets promise of a finding, in words; "": nothing, or not of it alone."""
        lines = (line.partition(": ") for line in self.facts["calibration"].splitlines())
        return next((told for names, _, told in lines if finding in names.split(", ")), "")

    @cached_property
    def prior(self) -> dict[str, float]:
        """Finding -> its share among the calibration patients; {}: the bank is not calibrated."""
        try:
            return dict(self.bank.grounds.at_prevalence({}).prior)
        except ValueError:
            return {}


class BankKeeper:
    """The bank of a file; what changes it is on the disk before it is served, and other processes take it over.

    Args:
        settings: of the server.

    Raises:
        OSError: there is no such bank, or its encoder is nowhere.
        ValueError: it is no bank, or of another encoder; or there is no such device.
    """

    def __init__(self, settings: Settings) -> None:
        choose_device(settings.device)
        self._settings, self.path = settings, settings.bank
        self.log = ChangeLog(self.path)
        self._lock = threading.Lock()
        signature = _signature(self.path)
        bank = SupportBank.load(self.path, settings.encoder, weights=settings.weights)
        self._encoder: Encoder = bank.own_encoder()
        self._served = Served(bank, signature)

    @property
    def served(self) -> Served:
        """The bank that answers now."""
        return self._served

    @property
    def encoder(self) -> Encoder:
        """Of the bank."""
        return self._encoder

    def refresh(self) -> Served:
        """Read the bank again where another process has put a new one in its place; a damaged one is left alone."""
        try:
            return self._current()
        except (OSError, ValueError):
            return self._served  # what was read once still answers

    def answers(self, films: Sequence[Path], question: Question) -> list[Answer]:
        """Answer for films, in their order.

        Args:
            films: files.
            question: about them.
        """
        bank = self.refresh().bank
        how = {"batch_size": self._settings.batch_size, "device": self._settings.device}
        prevalence = dict(question.prevalence) or None
        found = bank.answers(films, prevalence=prevalence, n_nearest=question.n_nearest, **how)  # type: ignore[arg-type]  # of their own types
        return list(found)

    def add(self, finding: str, films: Sequence[Path]) -> Change | None:
        """Add films to a finding, which may be new; a film that was added before by another one changes it.

        Args:
            finding: what they show.
            films: files, each with the name that the bank is to know it by.

        Returns:
            The change; None: the bank knows these films by this finding already.

        Raises:
            ValueError: a film that the bank was built with has another finding in it.
            BankBusy: another process writes the bank, and does not end.
        """

        def change(bank: SupportBank) -> SupportBank:
            new = {film.name for film in films}
            for name, other in zip(bank.table.names, bank.table.findings, strict=True):
                if name in new and other != finding:
                    bank = bank.remove(film=name)
            with tempfile.TemporaryDirectory(prefix="fscxr-") as cache:  # a film that is removed shall be gone
                return bank.add(finding, list(films), cache_folder=cache)

        return self._changed(ADDED, finding, change)

    def remove(self, finding: str, film: str | None = None) -> Change | None:
        """Remove a finding, or a film of it, for good.

        Args:
            finding: by name.
            film: as the bank calls it; None: all of the finding.

        Raises:
            LookupError: there is none.
            ValueError: fewer than two findings would be left.
            BankBusy: another process writes the bank, and does not end.
        """

        def change(bank: SupportBank) -> SupportBank:
            pairs = set(zip(bank.table.names, bank.table.findings, strict=True))
            if film is None and finding not in bank.findings:
                raise LookupError(f"the bank has no finding {finding!r}")
            if film is not None and (film, finding) not in pairs:
                raise LookupError(f"the bank has no film {film!r} of {finding!r}")
            return bank.remove(finding=finding) if film is None else bank.remove(film=film)

        return self._changed(REMOVED, finding, change)

    def undo(self, number: int) -> Change:
        """Take back the last change.

        Args:
            number: of that change, so that nobody takes back what another has done since.

        Raises:
            LookupError: it cannot be taken back, or another one comes first.
            BankBusy: another process writes the bank, and does not end.
        """
        with self._sole_writer():
            before, last = self._current(), self.log.undoable()
            if last is None or last.id != number:
                first = "nothing can be" if last is None else f"change {last.id} is the one that can be"
                raise LookupError(f"change {number} cannot be taken back: {first}")
            if last.after != before.content_hash:
                raise LookupError(f"change {number} cannot be taken back: the bank was changed elsewhere since")
            with self.log.earlier(number).open("rb") as earlier, whole_file(self.path) as part, part.open("wb") as out:
                shutil.copyfileobj(earlier, out)
            self.log.let_go(number)
            return self.log.note(
                UNDONE, last.finding, last.films, before.content_hash, after=self._reload().content_hash
            )

    def _changed(self, what: str, finding: str, change: Callable[[SupportBank], SupportBank]) -> Change | None:
        with self._sole_writer():
            before = self._current()
            bank = change(before.bank)
            films = _differing(before.bank, bank)
            if not films:
                return None
            number = self.log.next_id()
            self.log.keep(number)
            try:
                bank.save(self.path)
            except BaseException:
                self.log.let_go(number)
                raise
            if what == REMOVED:  # the banks of before hold what is to be gone
                self.log.forget_all()
            return self.log.note(what, finding, films, before.content_hash, after=self._reload().content_hash)

    def _current(self) -> Served:
        """Return the bank that its file holds now: what cannot be read here is not to be written over."""
        if _signature(self.path) == self._served.signature:
            return self._served
        try:
            return self._reload()
        except ValueError as error:
            raise ValueError(f"the file of the bank was replaced by one that is not served: {error}") from error

    def _reload(self) -> Served:
        signature = _signature(self.path)
        bank = SupportBank.load(self.path, self._encoder)
        self._served = Served(bank, signature)
        return self._served

    @contextmanager
    def _sole_writer(self) -> Iterator[None]:
        """Be the only one that changes the bank, of all threads and processes; wait for who is at it."""
        end = time.monotonic() + _LONGEST_WAIT
        if not self._lock.acquire(timeout=_LONGEST_WAIT):
            raise BankBusy("the bank is being changed: come again")
        try:
            with ExitStack() as held:
                while True:
                    try:
                        held.enter_context(only_writer(self.path, is_folder=False))
                        break
                    except BlockingIOError as error:
                        if time.monotonic() > end:
                            raise BankBusy("another process changes the bank: come again") from error
                        time.sleep(_POLL)
                yield
        finally:
            self._lock.release()


def _signature(path: Path) -> Signature:
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns, found.st_size


def _differing(before: SupportBank, after: SupportBank) -> list[str]:
    """Return the names of films that one of two banks has alone, or by another finding; those of the second first."""
    old = set(zip(before.table.names, before.table.findings, strict=True))
    new = set(zip(after.table.names, after.table.findings, strict=True))
    return list(dict.fromkeys(name for name, _ in [*sorted(new - old), *sorted(old - new)]))
