"""Result values to plain JSON values and back, each of the type that its field declares."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from fewshot_cxr.metrics import Estimate

Place = tuple[str | int, ...]
"""Where a value stands in a file: names and positions, from the outermost."""
_Reader = Callable[[Any, Place], Any]
_MOST = 1e300  # of a number, so that a difference or a square root of two is one still
_MOST_COUNT = 1 << 53  # beyond, a float is no whole number
_SHOWN = 40
_LONGEST_NAME = 200


def to_plain(value: Any) -> Any:
    """Turn dataclasses into dicts and tuples into lists, all the way down; what has a `to_json` says itself."""
    if hasattr(value, "to_json"):
        return to_plain(value.to_json())
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_plain(part) for part in value]
    return {name: to_plain(part) for name, part in value.items()} if isinstance(value, dict) else value


def read_plain(kind: Any, value: Any, at: Place = ()) -> Any:
    """Rebuild a value from what `to_plain` made of it.

    Args:
        kind: bool, int, float, str, None or Any, a union of such, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]`, or a
            dataclass, by its fields. One whose JSON has another layout has `arranged`, which returns parts by field.
        value: plain JSON values. What a dataclass has no field for is passed over.
        at: where it stands, for errors.

    Raises:
        ValueError: a part is missing, or of another type than its field, or a number is not finite; it is named.
    """
    return _reader(kind)(value, at)


def take(kind: Any, value: Any, name: str, at: Place = ()) -> Any:
    """Return one part of an object as `read_plain` reads it.

    Raises:
        ValueError: as there, or it is missing.
    """
    if not isinstance(value, Mapping):
        raise _wrong(value, at, "an object")
    if name not in value:
        raise ValueError(f"{text_of((*at, name))} is missing")
    return read_plain(kind, value[name], (*at, name))


@cache
def _reader(kind: Any) -> _Reader:
    if is_dataclass(kind):
        return _dataclass_reader(kind)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is tuple:
        return _list_reader(parts)
    if origin is dict:
        return _dict_reader(parts[1])
    return _union_reader(parts) if parts else _scalar_reader(kind)


def _scalar_reader(kind: Any) -> _Reader:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "null"}

    def read(value: Any, at: Place) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_right = {
            float: is_number and -_MOST <= value <= _MOST,
            int: is_number and isinstance(value, int) and -_MOST_COUNT <= value <= _MOST_COUNT,
        }.get(kind, kind is Any or isinstance(value, kind))
        if not is_right:
            raise _wrong(value, at, words[kind])
        return value

    return read


def _union_reader(kinds: tuple[Any, ...]) -> _Reader:
    readers = [_reader(kind) for kind in kinds if kind is not NoneType]

    def read(value: Any, at: Place) -> Any:
        if value is None and NoneType in kinds:
            return None
        for reader in readers[:-1]:
            try:
                return reader(value, at)
            except ValueError:
                continue
        return readers[-1](value, at)

    return read


def _list_reader(parts: tuple[Any, ...]) -> _Reader:
    n_parts = None if parts[-1] is Ellipsis else len(parts)
    readers = [_reader(part) for part in parts if part is not Ellipsis]

    def read(value: Any, at: Place) -> Any:
        if not isinstance(value, list) or len(value) != (len(value) if n_parts is None else n_parts):
            raise _wrong(value, at, "a list" if n_parts is None else f"a list of {n_parts}")
        if parts[0] is float and set(map(type, value)) <= {int, float} and all(-_MOST <= x <= _MOST for x in value):
            return tuple(value)  # of 100,000 films, a function call for each number takes seconds
        own = readers * len(value) if n_parts is None else readers
        return tuple(reader(part, (*at, i)) for i, (reader, part) in enumerate(zip(own, value, strict=True)))

    return read


def _dict_reader(kind: Any) -> _Reader:
    reader = _reader(kind)

    def read(value: Any, at: Place) -> Any:
        if not isinstance(value, dict):
            raise _wrong(value, at, "an object")
        return {name: reader(part, (*at, name)) for name, part in value.items()}

    return read


def _dataclass_reader(kind: Any) -> _Reader:
    readers = {name: _reader(hint) for name, hint in get_type_hints(kind).items()}
    free = {one.name for one in fields(kind) if not (one.default is MISSING and one.default_factory is MISSING)}
    free -= {"ci95_episodes"}  # every estimate that was ever written has it

    def read(value: Any, at: Place) -> Any:
        if not isinstance(value, Mapping):
            raise _wrong(value, at, "an object")
        value = kind.arranged(value) if hasattr(kind, "arranged") else value
        told = {}
        for one in fields(kind):
            if one.name in value:
                told[one.name] = readers[one.name](value[one.name], (*at, one.name))
                if one.name.startswith("n_") and isinstance(told[one.name], int) and told[one.name] < 0:
                    raise _wrong(value[one.name], (*at, one.name), "a count")
            elif one.name not in free:
                raise ValueError(f"{text_of((*at, one.name))} is missing")
        made = kind(**told)
        if isinstance(made, Estimate):
            _check_estimate(made, at)
        return made

    return read


def _check_estimate(made: Estimate, at: Place) -> None:
    for interval in (made.ci95_episodes, made.ci95_patients):
        if interval is not None and interval[0] > interval[1]:
            raise _wrong(list(interval), at, "an interval from its lower end to its upper")


def _wrong(value: Any, at: Place, expected: str) -> ValueError:
    if isinstance(value, (dict, list)):
        shown = f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    elif isinstance(value, int) and abs(value) > _MOST_COUNT:
        shown = "a number beyond all counts"  # to write one of 10,000 digits out is an error of its own
    else:
        shown = repr(value if not isinstance(value, str) else value[:_SHOWN])
    return ValueError(f"{text_of(at) or 'the whole'} is {shown}, {expected} was expected")


def text_of(at: Place) -> str:
    """Return a place as one writes it: films[3].path."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{str(part)[:_LONGEST_NAME]}" for part in at]
    return "".join(parts).removeprefix(".")
