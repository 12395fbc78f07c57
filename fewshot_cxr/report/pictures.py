"""Figures become PNG: as bytes for a page, or as a file."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fewshot_cxr.storage import whole_file
from fewshot_cxr.visualise import Figure

_DPI = 200
_N_COLOURS = 256


@dataclass(frozen=True)
class Picture:
    """An image of a page: PNG bytes, the text for who cannot see it, and a caption.

    `dark_png` is shown in its stead where the reader prefers dark pages.

    Raises:
        ValueError: no alternative text.
    """

    png: bytes
    alt: str
    caption: str = ""
    dark_png: bytes | None = None

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError("alt is empty; say in a sentence what the picture shows")

    @classmethod
    def drawn(cls, draw: Callable[..., Figure], *, alt: str, caption: str = "") -> "Picture":
        """Draw a figure for light and for dark pages.

        Args:
            draw: called as draw(theme="light") and draw(theme="dark"); functools.partial of a function of `visualise`.
            alt: what the picture shows, in a sentence.
            caption: printed below it.
        """
        light, dark = (figure_png(draw(theme=theme), n_colours=_N_COLOURS) for theme in ("light", "dark"))
        return cls(light, alt, caption, dark)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height as shown: half the pixels there are."""
        width, height = Image.open(io.BytesIO(self.png)).size
        return width // 2, height // 2


def figure_png(figure: Figure, *, n_colours: int | None = None) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes.

    Args:
        figure: of `visualise`, or any other.
        n_colours: so many at most (up to 256), for a smaller file; None keeps all.
    """
    buffer = io.BytesIO()
    # Without the version of matplotlib that savefig would write into it.
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor=figure.get_facecolor(), metadata={"Software": None})
    if n_colours is None:
        return buffer.getvalue()
    fewer = Image.open(buffer).convert("RGB").quantize(n_colours, dither=Image.Dither.NONE)
    smaller = io.BytesIO()
    fewer.save(smaller, format="png", optimize=True)
    return smaller.getvalue()


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file, whole or not at all.

    Raises:
        ValueError: the name does not end in .png.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{path}: figures are saved as .png; for other forms use figure.savefig")
    with whole_file(path) as part:
        part.write_bytes(figure_png(figure))


def data_uri(png: bytes) -> str:
    """Return PNG bytes as the text of an image's `src`."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
