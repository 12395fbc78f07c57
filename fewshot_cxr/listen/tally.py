"""What became of the films, counted; nothing of it says whose they were."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

RECEIVED, ANSWERED, ABSTAINED, DELIVERED, LOST = "received", "answered", "abstained", "delivered", "lost"


@dataclass
class Tally:
    """Counts that several threads add to.

    Args:
        counts: films received, answered, abstained, delivered and lost.
        refused: reason -> films that were refused.
        reasons: reason -> films without an answer.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, what: str, n: int = 1) -> None:
        """Count films.

        Args:
            what: became of them.
            n: how many.
        """
        with self._lock:
            self.counts[what] += n

    def refuse(self, reason: str) -> None:
        """Count a film that was refused, for a reason in words of ours."""
        with self._lock:
            self.refused[reason] += 1

    def answer(self, reason: str) -> None:
        """Count an answer; a reason: it abstains."""
        with self._lock:
            self.counts[ABSTAINED if reason else ANSWERED] += 1
            if reason:
                self.reasons[reason] += 1

    def words(self) -> str:
        """Return the counts in one line."""
        with self._lock:
            told = [f"{self.counts[name]:,} {name}" for name in (RECEIVED, ANSWERED, ABSTAINED, DELIVERED)]
            told += [f"{self.refused.total():,} refused"] * bool(self.refused)
            told += [f"{self.counts[LOST]:,} lost"] * bool(self.counts[LOST])
        return ", ".join(told)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        with self._lock:
            names = (RECEIVED, ANSWERED, ABSTAINED, DELIVERED, LOST)
            counts = {f"n_{name}": self.counts[name] for name in names}
            return {**counts, "refused": dict(self.refused), "reasons": dict(self.reasons)}
