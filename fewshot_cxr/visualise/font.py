"""A font for what is drawn without matplotlib: its own, which has the letters of Latin, Greek and Cyrillic scripts."""

from pathlib import Path

import matplotlib


def font_file(*, is_bold: bool = False) -> Path:
    """Return the TrueType file of DejaVu Sans, which comes with matplotlib."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf")
