"""The value that a comparison of two results returns."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fewshot_cxr._html import facts_text, html_table
from fewshot_cxr.evaluation.plain_values import read_plain, to_plain
from fewshot_cxr.evaluation.shown import comparison_facts, difference_text
from fewshot_cxr.metrics import Interval


@dataclass(frozen=True)
class Difference:
    """One number of two results: first minus second, with its interval, and how likely chance alone gives as much.

    `test` says how both were found; `p_value` is two-sided. `reason` tells why an interval or a p-value is absent.

    Examples:
        >>> row = Difference("accuracy", 0.75, 0.5, 0.25, (0.125, 0.375), 0.01, "paired jackknife")
        >>> row.ci95[0] > 0  # the first is better by more than chance
        True
    """

    number: str
    first: float
    second: float
    difference: float
    ci95: Interval | None
    p_value: float | None
    test: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two results on the very same films, or the very same episodes, number by number.

    `results` is the kind of both ("episodes", "closed_set" or "multi_label"), `names` what they are called,
    `common_hash` the hash of the episodes or films that they share. p-values are not adjusted for being several.

    Examples:
        >>> row = Difference("accuracy", 0.75, 0.5, 0.25, (0.125, 0.375), 0.01, "paired jackknife")
        >>> about = {"results": "closed_set", "common_hash": "1f3a", "n_films": 200, "n_patients": 150}
        >>> comparison = Comparison(names=("resnet9", "pixels"), rows=(row,), **about)
        >>> Comparison.from_json(comparison.to_json()) == comparison
        True
    """

    results: str
    names: tuple[str, str]
    rows: tuple[Difference, ...]
    common_hash: str
    n_films: int
    n_patients: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    n_films_without_patient: int = 0

    def __repr__(self) -> str:
        return facts_text("Comparison", comparison_facts(self))

    def _repr_html_(self) -> str:
        rows = [(row.number, f"{row.first:.3f}", f"{row.second:.3f}", difference_text(row)) for row in self.rows]
        numbers = html_table(rows, head=("number", *self.names, "first less second"))
        return html_table(comparison_facts(self), caption="Comparison") + numbers

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` rebuilds an equal comparison."""
        plain: dict[str, Any] = to_plain({"kind": "comparison"} | vars(self))
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Comparison":
        """Rebuild from `to_json`.

        Raises:
            ValueError: the value is no comparison of this version; a field is missing.
        """
        since = ("n_films_without_patient",)  # comparisons of before do not have it
        missing = [item.name for item in fields(cls) if item.name not in (*value, *since)]
        if value.get("kind") != "comparison" or missing:
            raise ValueError(
                f"this is no comparison of this version ({', '.join(missing) or 'kind'} missing); run compare again"
            )
        try:
            made: Comparison = read_plain(cls, value)
        except ValueError as error:
            raise ValueError(f"this comparison is not whole: {error}; run compare again") from error
        return made
