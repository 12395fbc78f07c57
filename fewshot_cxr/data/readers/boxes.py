"""Boxes that readers of films drew around findings, and tables of them."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fewshot_cxr.data.readers.published_table import Cells, published_rows


class BoundingBox(NamedTuple):
    """Where a reader marked a finding, in pixels of the released film; (x, y) is the top left.

    Examples:
        >>> box = BoundingBox("Pneumonia", x=200.0, y=300.0, width=150.0, height=100.0)
        >>> box.x + box.width, box.y + box.height  # the bottom right
        (350.0, 400.0)
    """

    finding: str
    x: float
    y: float
    width: float
    height: float


Boxes = dict[str, tuple[BoundingBox, ...]]
"""By the name of the film, in the order of the rows."""


def checked_box(table: Path, number: int, finding: str, numbers: Sequence[str], *, is_corners: bool) -> BoundingBox:
    """Return the box that a row draws.

    Args:
        table: for errors.
        number: of the row.
        finding: its name.
        numbers: x, y, width, height; or x, y of two corners.
        is_corners: they are corners.

    Raises:
        ValueError: no finding, or four numbers that are no box.
    """
    try:
        x, y, width, height = map(float, numbers)
    except ValueError:
        raise ValueError(f"{table}, row {number}: four numbers were expected, got {list(numbers)}") from None
    if is_corners:
        width, height = width - x, height - y
    if not finding or not (min(x, y) >= 0 and 0 < width < math.inf and 0 < height < math.inf):
        raise ValueError(f"{table}, row {number} is no box: {finding!r}, {list(numbers)}")
    return BoundingBox(finding, x, y, width, height)


def read_boxes(table: Path, columns: Sequence[str], box_of: Callable[[int, Cells], BoundingBox | None]) -> Boxes:
    """Return the boxes of a table, by the film that its first column names; a row without a box draws none."""
    boxes: defaultdict[str, list[BoundingBox]] = defaultdict(list)
    for number, cells, fault in published_rows(table, columns):
        box = None if fault else box_of(number, cells)
        if box is not None:
            boxes[cells[0]].append(box)
    return {name: tuple(found) for name, found in boxes.items()}
