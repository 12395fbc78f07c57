"""The value that a comparison of two results returns."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fewshot_cxr.metrics import Interval

NO_CHANCE = "the two differ, but nothing varies to measure chance by"


@dataclass(frozen=True)
class Difference:
    """One number of two results: first minus second, with its interval, and how likely chance alone gives as much.

    `test` says how both were found; `p_value` is two-sided. `reason` tells why an interval or a p-value is absent.
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
    """

    results: str
    names: tuple[str, str]
    rows: tuple[Difference, ...]
    common_hash: str
    n_films: int
    n_patients: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` rebuilds an equal comparison."""
        plain: dict[str, Any] = {"kind": "comparison"} | {item.name: getattr(self, item.name) for item in fields(self)}
        plain["rows"] = [vars(row) | {"ci95": None if row.ci95 is None else list(row.ci95)} for row in self.rows]
        return plain | {name: list(plain[name]) for name in _TEXTS}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Comparison":
        """Rebuild from `to_json`.

        Raises:
            ValueError: the value is no comparison of this version; a field is missing.
        """
        missing = [item.name for item in fields(cls) if item.name not in value]
        if value.get("kind") != "comparison" or missing:
            raise ValueError(
                f"this is no comparison of this version ({', '.join(missing) or 'kind'} missing); run compare again"
            )
        plain: dict[str, Any] = {item.name: value[item.name] for item in fields(cls)}
        plain["rows"] = tuple(_difference(row) for row in plain["rows"])
        plain["names"] = (plain["names"][0], plain["names"][1])
        return cls(**plain | {name: tuple(plain[name]) for name in ("notes", "warnings")})


_TEXTS = ("names", "notes", "warnings")


def _difference(row: Mapping[str, Any]) -> Difference:
    return Difference(**{**row, "ci95": None if row["ci95"] is None else (row["ci95"][0], row["ci95"][1])})
