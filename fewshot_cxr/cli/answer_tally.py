"""What is kept of many answers: counts, the first rows, and as many answers as somebody will look at."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fewshot_cxr.inference.bank.answer import ABSTAINED, COLUMNS, Answer

_MOST_SHOWN = 40
_REASON, _ANSWER = COLUMNS.index("reason"), COLUMNS.index("answer")


@dataclass
class Tally:
    """What is kept of many answers, in constant memory unless all are.

    Args:
        keeps_all: for JSON.
        most_pictured: for a page so many are kept of those that abstain, and so many of the others.
        n_answers: so far.
        reasons: how often each was given; "" stands for an answer.
        rows: the first, as texts of COLUMNS.
        first: the same, as answers.
        kept: all, or those for a page.
    """

    keeps_all: bool = False
    most_pictured: int = 0
    n_answers: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    first: list[Answer] = field(default_factory=list)
    kept: list[Answer] = field(default_factory=list)
    _n_pictured: Counter[bool] = field(default_factory=Counter)

    def add_rows(self, rows: Iterable[Sequence[str]]) -> None:
        """Count rows that an earlier run has written."""
        for row in rows:
            self._count(tuple(row))

    def add(self, answer: Answer) -> None:
        """Count an answer, and keep it where it is to be shown."""
        if len(self.rows) < _MOST_SHOWN:
            self.first.append(answer)
        self._count(answer.row())
        is_pictured = self._n_pictured[answer.is_abstained] < self.most_pictured
        self._n_pictured[answer.is_abstained] += is_pictured
        if self.keeps_all or is_pictured:
            self.kept.append(answer)

    @property
    def abstained(self) -> dict[str, int]:
        """Reason -> answers that abstain for it."""
        return {reason: n for reason, n in sorted(self.reasons.items()) if reason}

    def words(self, per: str) -> str:
        """Return the counts in one line.

        Args:
            per: what an answer is for, "film" or "patient".
        """
        told = ", ".join(f"{reason} {n:,}" for reason, n in self.abstained.items())
        unit = per if self.n_answers == 1 else f"{per}s"
        return f"{self.n_answers:,} {unit}: {self.reasons['']:,} answered" + (f"; abstained: {told}" if told else "")

    def _count(self, row: tuple[str, ...]) -> None:
        self.n_answers += 1
        self.reasons[row[_REASON] if row[_ANSWER] == ABSTAINED else ""] += 1
        if len(self.rows) < _MOST_SHOWN:
            self.rows.append(row)
