"""Numbers of a DICOM header as machines write them: an odd one counts as absent, and is named; never quoted."""

import math
from typing import Any

from pydicom import Dataset
from pydicom.tag import Tag


class Elements:
    """The numbers of one header, and what of them was odd.

    Args:
        header: of a film.
    """

    def __init__(self, header: Dataset) -> None:
        """Begin with nothing odd."""
        self._header = header
        self._odd: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd, each once, in the order in which it was met."""
        return tuple(self._odd)

    def number(self, name: str) -> float | None:
        """Return the first number of an element; None where it is absent, empty, or no number, which is noted.

        A decimal comma is read as a point: in a decimal string it can mean nothing else.
        """
        value = self._first(name)
        if value is None or (isinstance(value, str) and not value.strip(" \0")):
            return None
        number = _number(value)
        if number is None and (number := _number(str(value).replace(",", ".", 1))) is not None:
            self.note(f"{name} has a decimal comma, which is read as a point")
        if number is None:
            self.is_absent(name, "is no number")
        return number

    def is_absent(self, name: str, why: str) -> None:
        """Note that an element counts as absent."""
        self.note(f"{name} {why} and counts as absent")

    def note(self, text: str) -> None:
        """Note something of the header."""
        self._odd[text] = None

    def _first(self, name: str) -> Any:
        """Return the first value of an element, as its text where it is not what its element should be."""
        try:
            value = self._header.get(name)
        except Exception:  # pydicom raises anything on an odd value
            raw = self._header.get_item(Tag(name))
            value = raw.value if raw is not None else None
        if isinstance(value, bytes):
            value = value.decode("ascii", "replace").split("\\")
        if not isinstance(value, str) and hasattr(value, "__len__"):
            return value[0] if len(value) else None
        return value


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
