"""Result values to plain JSON values and back: numbers, texts, lists and dicts."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from fewshot_cxr.metrics import Estimate


def to_plain(value: Any) -> Any:
    """Turn dataclasses into dicts and tuples into lists, all the way down; what has a `to_json` says itself."""
    if hasattr(value, "to_json"):
        return to_plain(value.to_json())
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_plain(part) for part in value]
    return {name: to_plain(part) for name, part in value.items()} if isinstance(value, dict) else value


def with_tuples(value: Any) -> Any:
    """Turn lists into tuples, all the way down: no result value holds a list."""
    if isinstance(value, list):
        return tuple(with_tuples(part) for part in value)
    return {name: with_tuples(part) for name, part in value.items()} if isinstance(value, dict) else value


def read_estimates(value: Mapping[str, Any]) -> dict[str, Estimate]:
    """Rebuild numbers by their names."""
    return {name: Estimate.from_json(one) for name, one in value.items()}
