"""Checks that stand at public doors: what came, what was expected, the way out."""

from __future__ import annotations

import inspect
import reprlib
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence, Sized
from difflib import get_close_matches
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # the command line checks names before it loads torch
    from torch import Tensor

T = TypeVar("T")
_LARGEST = 3.4e38  # of 32 bits, in which networks reckon
_LARGEST_WHOLE = 2**63 - 1
MOST_READ = 2_000  # findings of a data set: Omniglot, on which few-shot learning is compared, has 1,623 characters
# Findings of an evaluation: PadChest names 193; each of 200 parts of the patients has a matrix of them.
MOST_JUDGED = 256
_LONGEST_NAME = 200  # of which a message says all; what a file holds may be as long as the file


def first_of(names: Sequence[str], most: int) -> str:
    """Return the first of some names in a row, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """Pick `name` from a table (ENCODERS, LOSSES, RULES, ...); a wrong name is answered with the nearest right one.

    Raises:
        TypeError: the name is no text.
        ValueError: the table has no such name.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a name, got {name!r}; choose from {', '.join(sorted(table))}")
    if name in table:
        return table[name]
    shown = name[:_LONGEST_NAME]
    raise ValueError(f"unknown {what} {shown!r}{nearest(name, table)}; choose from {', '.join(sorted(table))}")


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ' (did you mean ...?)' for a misspelt name, or '' where nothing is near."""
    close = get_close_matches(name[:_LONGEST_NAME], list(choices), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def class_name(thing: object) -> str:
    """Return what a card says of an object: the full name of its class, or of the function that it is."""
    named: Any = thing if inspect.isroutine(thing) else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def check_at_least(value: float, minimum: float, name: str) -> None:
    """Refuse a count or a size below its minimum, or what is no number."""
    if not _finite(value, name) >= minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")


def check_above(value: float, bound: float, name: str) -> None:
    """Refuse a rate, a weight or the like that is not above a bound, or what is no number."""
    if not _finite(value, name) > bound:
        raise ValueError(f"{name} must be above {bound}, got {value}")


def _finite(value: float, name: str) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if value > _LARGEST:
        raise ValueError(f"{name} must be a finite number, got {value}; leave it out for the usual one")
    return value


def check_whole(value: Any, name: str, minimum: int | None = None) -> None:
    """Refuse what is no whole number (of Python or numpy, no truth value), or one below its minimum."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if minimum is not None:
        check_at_least(int(value), minimum, name)
        if int(value) > _LARGEST_WHOLE:
            raise ValueError(f"{name} must be at most {_LARGEST_WHOLE}, got {value}")


def check_bool(value: Any, name: str) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def check_few_findings(findings: Sized, most: int, name: str) -> None:
    """Refuse more findings than are worked with, before the work: its cost grows with their square.

    Args:
        findings: that are there.
        most: of them; MOST_READ or MOST_JUDGED.
        name: of what holds them, for the message.
    """
    if len(findings) > most:
        raise ValueError(
            f"{name} has {len(findings):,} different findings, at most {most:,} are taken: name the column "
            "that holds the finding, or choose fewer findings"
        )


def check_list(values: Any, name: str) -> None:
    """Refuse a single finding where a list of findings belongs: a text would be taken letter by letter."""
    if isinstance(values, str):
        raise TypeError(f"{name} must be a list of findings, got the text {values!r}")
    if not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of findings, got {values!r}")


_FORMS = {dict: "named values", list: "a list", str: "a text", int: "a whole number", float: "a finite number"}


def check_form(value: Any, form: Any, name: str) -> None:
    """Refuse plain values of a file that are not what those who use them take for granted.

    Args:
        value: of JSON, or of a checkpoint.
        form: a type; [form of each item]; {key: form of its value}, where a key that ends in "?" may be absent; or one
            of these in a tuple with None, where None will do.
        name: of the value, after that of its file.

    Raises:
        ValueError: it has another form; the text names the key.
    """
    if isinstance(form, tuple):
        if value is None:
            return
        form = form[0]
    kind = type(form) if isinstance(form, (dict, list)) else form
    if not _is_a(value, kind):
        raise ValueError(f"{name} must be {_FORMS.get(kind, 'true or false')}, got {reprlib.repr(value)}")
    for key, inner in form.items() if isinstance(form, dict) else ():
        plain = key.removesuffix("?")
        if plain in value:
            check_form(value[plain], inner, f"{name}.{plain}")
        elif plain == key:
            raise ValueError(f"{name} lacks {key!r}")
    for item in value if isinstance(form, list) else ():
        check_form(item, form[0], f"{name}, an item,")


def _is_a(value: Any, kind: type) -> bool:
    if kind not in (int, float):
        return isinstance(value, kind)
    return isinstance(value, (int, kind)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def renamed(old: Any, new: Any, old_name: str, new_name: str) -> Any:
    """Return the argument that was given, and warn where it was given by its name of before."""
    if old is None:
        return new
    warnings.warn(f"{old_name} is now {new_name}", DeprecationWarning, stacklevel=3)
    return old


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
