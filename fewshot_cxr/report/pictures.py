"""Figures become PNG or JPEG: as bytes for a page, or as a file."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fewshot_cxr._checks import lookup
from fewshot_cxr._kinds import is_drawing, is_figure, refuse_other_kind
from fewshot_cxr.visualise import Figure
from fewshot_cxr.visualise.style import same_names
from fewshot_cxr.whole_files import write_bytes

_DPI = 200
_N_COLOURS = 256
_FORMS_BY_START = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}


@dataclass(frozen=True)
class Picture:
    """An image of a page: PNG or JPEG bytes, the text for who cannot see it, and a caption.

    `dark_image` is shown in its stead where the reader prefers dark pages.

    Raises:
        ValueError: no alternative text.
    """

    image: bytes
    alt: str
    caption: str = ""
    dark_image: bytes | None = None

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError("alt is empty; say in a sentence what the picture shows")

    @classmethod
    def drawn(
        cls,
        draw: Callable[..., Figure],
        *,
        alt: str,
        caption: str = "",
        themes: Sequence[str] = ("light", "dark"),
        form: str = "png",
    ) -> "Picture":
        """Draw a figure for light and for dark pages.

        Args:
            draw: called as draw(theme="light") and draw(theme="dark"); functools.partial of a function of `visualise`.
            alt: what the picture shows, in a sentence.
            caption: printed below it.
            themes: one theme, for every page alike, or the light one and the dark one. Films are heavy: draw them once.
            form: "png" for lines and letters, "jpeg" for films, which it makes several times smaller.

        Raises:
            ValueError: no theme or more than two, or an unknown form.
        """
        if not 1 <= len(themes) <= 2:
            raise ValueError(f"a picture has one theme or two (a light one, a dark one), got {tuple(themes)}")
        write = lookup(_WRITERS, form, what="form of a picture")
        images = [write(draw(theme=theme)) for theme in themes]
        return cls(images[0], alt, caption, images[1] if len(images) == 2 else None)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height as shown: half the pixels there are."""
        width, height = Image.open(io.BytesIO(self.image)).size
        return width // 2, height // 2


def figure_png(figure: Figure, *, n_colours: int | None = None) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes.

    Args:
        figure: of `visualise`, or any other.
        n_colours: so many at most (up to 256), for a smaller file; None keeps all.
    """
    if n_colours is None:
        return _painted(figure)
    smaller = io.BytesIO()
    _pixels(figure).quantize(n_colours, dither=Image.Dither.NONE).save(smaller, format="png", optimize=True)
    return smaller.getvalue()


def _pixels(figure: Figure) -> Image.Image:
    return Image.open(io.BytesIO(_painted(figure, level=0))).convert("RGB")


def _painted(figure: Figure, *, level: int = -1) -> bytes:
    """Paint a figure; `level` of zlib: 0 packs nothing, for what is opened again at once, -1 is its own choice."""
    buffer = io.BytesIO()
    # Not the version of matplotlib, which savefig would write: a command knows its own figures by this name.
    figure.savefig(
        buffer,
        format="png",
        dpi=_DPI,
        facecolor=figure.get_facecolor(),
        metadata={"Software": "fewshot_cxr"},
        pil_kwargs={"compress_level": level},
    )
    return buffer.getvalue()


def image_bytes(image: Image.Image, form: str = "jpeg", *, quality: int = 80) -> bytes:
    """Return an image as JPEG or PNG.

    Args:
        image: of Pillow.
        form: "jpeg" or "png".
        quality: of JPEG, 1 to 95.
    """
    buffer = io.BytesIO()
    more = {"quality": quality, "optimize": True} if form == "jpeg" else {}
    image.save(buffer, format=form, **more)
    return buffer.getvalue()


def figure_svg(figure: Figure) -> bytes:
    """Return a figure as SVG, its letters as outlines; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with same_names():
        metadata = {"Creator": "fewshot_cxr", "Date": None}
        figure.savefig(buffer, format="svg", facecolor=figure.get_facecolor(), metadata=metadata)
    return buffer.getvalue()


def figure_jpeg(figure: Figure, *, quality: int = 80) -> bytes:
    """Return a figure as JPEG; the same figure gives the same bytes.

    Args:
        figure: of `visualise`, or any other.
        quality: 1 to 95; below 70 letters grow rings.
    """
    return image_bytes(_pixels(figure), quality=quality)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG or SVG file, whole or not at all.

    Raises:
        ValueError: the name ends neither in .png nor in .svg.
        FileExistsError: a picture is there that is none of our figures, such as a film.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".svg"):
        raise ValueError(f"{path}: figures are saved as .png or .svg; for other forms use figure.savefig")
    is_vector = suffix == ".svg"
    refuse_other_kind(path, is_drawing if is_vector else is_figure)
    write_bytes(path, figure_svg(figure) if is_vector else figure_png(figure))


def data_uri(image: bytes) -> str:
    """Return PNG or JPEG bytes as the text of an image's `src`.

    Raises:
        ValueError: the bytes are neither.
    """
    for start, form in _FORMS_BY_START.items():
        if image.startswith(start):
            return f"data:image/{form};base64,{base64.b64encode(image).decode('ascii')}"
    raise ValueError(f"a picture of a page is PNG or JPEG, got bytes that start with {image[:4]!r}")


def _few_colours(figure: Figure) -> bytes:
    return figure_png(figure, n_colours=_N_COLOURS)


_WRITERS: dict[str, Callable[[Figure], bytes]] = {"png": _few_colours, "jpeg": figure_jpeg}
