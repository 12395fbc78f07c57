"""A font for what is drawn without matplotlib: its own, which has the letters of Latin, Greek and Cyrillic scripts."""

from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font


def font_file(*, is_bold: bool = False) -> Path:
    """Return the TrueType file of DejaVu Sans, which comes with matplotlib."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf")


@cache
def drawn_letters() -> frozenset[int]:
    """Return the numbers of the letters that this font has, plain and bold."""
    plain, bold = (frozenset(FT2Font(str(font_file(is_bold=is_bold))).get_charmap()) for is_bold in (False, True))
    return plain & bold
