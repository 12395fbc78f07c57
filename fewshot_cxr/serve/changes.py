"""What was changed in a bank that is served, and the bank as it was before each change, to take it back."""

import datetime
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fewshot_cxr._json import parse_json

ADDED, REMOVED, UNDONE = "added", "removed", "undone"
_FOLDER, _LOG = ".changes", "log.jsonl"
_N_KEPT = 20  # changes that can be taken back


@dataclass(frozen=True)
class Change:
    """One change of a bank.

    Args:
        id: its number.
        time: UTC, to the second.
        what: ADDED, REMOVED or UNDONE.
        finding: whose films.
        films: as the bank calls them.
        before: content hash of the bank before it.
        after: and after it.
    """

    id: int
    time: str
    what: str
    finding: str
    films: tuple[str, ...]
    before: str
    after: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "films": list(self.films)}


class ChangeLog:
    """The changes of a bank, in a folder beside its file; whoever writes holds the lock of the bank.

    A film that is removed is gone: no change from before that can be taken back, since the bank of then holds it.

    Args:
        bank: file of the bank.
    """

    def __init__(self, bank: Path) -> None:
        self._bank, self._folder = bank, bank.with_name(bank.name + _FOLDER)
        self._log = self._folder / _LOG

    def read(self) -> list[Change]:
        """Return all changes, the first one first; a line that a killed process left half is left out."""
        if not self._log.exists():
            return []
        found = []
        for line in self._log.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, TypeError, KeyError):
                told = parse_json(line)
                found.append(Change(**{**told, "films": tuple(told["films"])}))
        return found

    def undoable(self) -> Change | None:
        """Return the change that can be taken back next; None: there is none."""
        numbers = sorted(int(file.stem) for file in self._folder.glob("*.bank") if file.stem.isdecimal())
        known = {change.id: change for change in self.read()}
        return known.get(numbers[-1]) if numbers else None

    def next_id(self) -> int:
        """Return the number of the next change."""
        return max((change.id for change in self.read()), default=0) + 1

    def keep(self, number: int) -> None:
        """Keep the bank as it is now, to take back the change of that number: a second name of the file, no copy."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        kept = self._kept(number)
        kept.unlink(missing_ok=True)
        try:
            os.link(self._bank.resolve(), kept)
        except OSError:  # a disk without hard links
            shutil.copy2(self._bank, kept)
        numbers = sorted(int(file.stem) for file in self._folder.glob("*.bank") if file.stem.isdecimal())
        for old in numbers[:-_N_KEPT]:
            self.let_go(old)

    def let_go(self, number: int) -> None:
        """Forget the bank before a change."""
        self._kept(number).unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Forget every earlier bank."""
        for file in self._folder.glob("*.bank"):
            file.unlink(missing_ok=True)

    def earlier(self, number: int) -> Path:
        """Return the file of the bank before a change."""
        return self._kept(number)

    def note(self, what: str, finding: str, films: Sequence[str], before: str, *, after: str) -> Change:
        """Write down a change, and return it.

        Args:
            what: ADDED, REMOVED or UNDONE.
            finding: whose films.
            films: as the bank calls them.
            before: content hash of the bank before it.
            after: and after it.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        change = Change(self.next_id(), now, what, finding, tuple(films), before, after)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(handle, "a", encoding="utf-8") as file:
            cut = "\n" if self._is_cut() else ""  # by a kill: the half line stays one of its own
            file.write(f"{cut}{json.dumps(change.to_json(), ensure_ascii=True)}\n")
            file.flush()
            os.fsync(handle)
        return change

    def _is_cut(self) -> bool:
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            return file.read(1) not in (b"", b"\n")

    def _kept(self, number: int) -> Path:
        return self._folder / f"{number}.bank"
