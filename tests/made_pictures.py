"""Figures that are built and laid out, which is half of their work, but painted blank."""

import io
from contextlib import contextmanager

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo


@contextmanager
def blank_pictures():
    """Paint all figures blank, as large as they would be, while the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("figure_png", "_painted"):
            patch.setattr(f"fewshot_cxr.report.pictures.{name}", _blank_png)
        yield


def _blank_png(figure, **_):
    buffer, known_by = io.BytesIO(), PngInfo()
    known_by.add_text("Software", "fewshot_cxr")  # by which a command knows its own figures
    size_px = [int(inches * 200 + 1e-6) for inches in figure.get_size_inches()]  # 5.7 inches are 1140, not 1139.99...
    Image.new("L", size_px).save(buffer, format="png", compress_level=1, pnginfo=known_by)
    return buffer.getvalue()
