"""Checks that stand at public doors: what came, what was expected, the way out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # the command line checks names before it loads torch
    from torch import Tensor

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """Pick `name` from a table (ENCODERS, LOSSES, RULES, ...); a wrong name is answered with the nearest right one.

    Raises:
        ValueError: the table has no such name.
    """
    if name in table:
        return table[name]
    raise ValueError(f"unknown {what} {name!r}{nearest(name, table)}; choose from {', '.join(sorted(table))}")


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ' (did you mean ...?)' for a misspelt name, or '' where nothing is near."""
    close = get_close_matches(name, list(choices), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def check_at_least(value: float, minimum: float, name: str) -> None:
    """Refuse a count or a size below its minimum."""
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")


def check_dense_labels(labels: Tensor, name: str) -> int:
    """Return n_way after checking that `labels` holds every value 0..n_way-1.

    Args:
        labels: int64, shape (n_support,).
        name: what the caller calls them, for the message.

    Raises:
        ValueError: a class between 0 and the largest label is absent, or there is no label at all.
    """
    found = sorted(set(labels.tolist()))
    if not found or found != list(range(len(found))):
        raise ValueError(f"{name} must hold every class 0..n_way-1, got {found}; Embeddings relabels for you")
    return len(found)
