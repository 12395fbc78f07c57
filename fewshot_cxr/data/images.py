"""Any file of a film to uint8 gray: DICOM; pictures of 8 and 16 bit, colour, palette, alpha, EXIF rotation."""

import math
import os
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from fewshot_cxr.data.dicom import HEAD_BYTES, decode_dicom, is_dicom
from fewshot_cxr.data.dicom_gray import BIT_DEPTHS
from fewshot_cxr.data.film import DecodedFilm, DecodingFacts
from fewshot_cxr.data.plain_file import MOST_FILE_BYTES, TOO_MANY_PARTS, CountedBytes, open_plain
from fewshot_cxr.data.quiet import quiet
from fewshot_cxr.data.whole_picture import check_after, check_before

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima", ".dic"})
_PICTURE_SUFFIXES = """
    .png .apng .jpg .jpeg .jpe .jfif .jif .tif .tiff .bmp .dib .gif .webp .jp2 .j2k .jpf .jpx .j2c .jpc
    .pgm .ppm .pnm .pbm
"""
SUFFIXES = frozenset(_PICTURE_SUFFIXES.split()) | DICOM_SUFFIXES
_DEEP_MODES = ("I", "F")  # and every mode that begins with "I;16"
# What is found under those suffixes. Pillow's others stay shut: one of them calls a program (EPS starts Ghostscript).
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "JPEG2000", "PPM")
_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"GIF8", b"\0\0\0\x0cjP  ")
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # TIFF 6.0, section 8
_PAGE_KIND, _SMALLER_COPY = 254, 1  # the same, NewSubfileType
_OTHER_ORDER = {";16B": ";16L", ";16L": ";16B"}
_PNG_IHDR = slice(12, 29)  # W3C PNG, 5.3 and 11.2.1: name, 13 bytes, then their checksum
_RGBA = 6
_LUMA = np.array([19595, 38470, 7471])  # of 65536, ITU-R 601-2: Pillow's own


def is_image_name(name: str) -> bool:
    """Return whether a file's name is that of a picture (and not of a hidden file or a side file of macOS).

    Examples:
        >>> [is_image_name(name) for name in ("p0007_2.png", "film.dcm", "._film.png", "labels.csv")]
        [True, True, False, False]
    """
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def is_picture(head: bytes) -> bool:
    """Return whether a file that begins so is a picture, whatever its name."""
    return head.startswith(_HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def read_gray(path: str | Path, *, bit_depth: int | None = None) -> np.ndarray:
    """Read a film as 8-bit gray: a DICOM as `decode_dicom` says, a picture as follows.

    Colour becomes luma, a palette is looked up, transparent parts lie on black, EXIF rotation is applied. 16-bit
    values, also those of 16 bits in each colour, lose their low bits: as many as lie above 8 in the smallest of
    8/10/12/14/16 bits that holds the file's maximum. (Pillow's own `convert("L")` would clip them to white.)

    Args:
        path: of the file; its content decides the format, not its suffix. (But a picture named .dcm is refused: a
            folder that holds such is not what it seems to be.)
        bit_depth: of 16-bit pictures, and of deep DICOM films without window or LUT; None finds it by the maximum.

    Returns:
        uint8, shape (H, W).

    Raises:
        OSError: the file is absent, empty, cut short, no film, several, or too large to be one; one sentence.
        ValueError: a value needs more bits than `bit_depth`, or that is not in 8..16.

    Examples:
        >>> from PIL import Image
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Image.fromarray(np.array([[0, 2048, 4095]], dtype=np.uint16)).save(f"{folder}/film.png")  # 12 bits
        ...     read_gray(f"{folder}/film.png").tolist()
        [[0, 128, 255]]
    """
    return decode_film(path, bit_depth=bit_depth).gray


def decode_film(path: str | Path, *, bit_depth: int | None = None, any_modality: bool = True) -> DecodedFilm:
    """Read a film as `read_gray` does, with what should be said of it.

    Args:
        path: of the file.
        bit_depth: see `read_gray`.
        any_modality: take what is no X-ray of the chest by its DICOM header, too.

    Raises:
        OSError: as `read_gray`, or it is no X-ray of the chest.
        ValueError: as `read_gray`.

    Examples:
        >>> from PIL import Image
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Image.fromarray(np.array([[0, 2048, 4095]], dtype=np.uint16)).save(f"{folder}/film.png")
        ...     decode_film(f"{folder}/film.png").facts.guessed_bits
        12
    """
    if bit_depth is not None and not 8 <= bit_depth <= 16:
        raise ValueError(f"bit_depth must be in 8..16, got {bit_depth}")
    with open_plain(path) as opened:
        content = opened.read(min(os.fstat(opened.fileno()).st_size, MOST_FILE_BYTES))  # it may grow
    if not content:
        raise OSError("the file is empty")
    if is_dicom(content[:HEAD_BYTES]):
        film = decode_dicom(content, bit_depth=bit_depth)
        if film.facts.stranger and not any_modality:
            raise OSError(film.facts.refusal)
        return film
    if Path(path).suffix.lower() in DICOM_SUFFIXES:
        raise OSError("not a DICOM, though its name says so")
    pixels, is_negative = _load(content)
    if pixels.dtype == np.uint8:
        return DecodedFilm(pixels)
    bits = _bits(pixels, bit_depth)
    values = pixels.astype(np.uint16)
    # A shift, not a rescale: it gives back exactly the 8-bit film that a 16-bit file was made from.
    gray = ((2**bits - 1 - values if is_negative else values) >> (bits - 8)).astype(np.uint8)
    return DecodedFilm(gray, DecodingFacts(guessed_bits=None if bit_depth else bits))


def reading_mark(path: Path) -> str:
    """Return what tells films of the same bytes apart that are read in different ways.

    Those that earlier versions gave another gray (DICOM, TIFF, deep PNG of colours), and pictures named as DICOM.
    """
    with path.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
    if not is_dicom(head) and path.suffix.lower() in DICOM_SUFFIXES:
        return "-misnamed"
    is_deep_png = head.startswith(_HEADS[0]) and head[24:25] == b"\x10" and head[25:26] != b"\0"
    is_read_anew = is_dicom(head) or is_deep_png or head[:4] in (b"II*\0", b"MM\0*")
    return "-2" if is_read_anew else ""


def _load(content: bytes) -> tuple[np.ndarray, bool]:
    """Return 8-bit gray, or deep pixels as they are and whether 0 means white in them."""
    stream = CountedBytes(content)
    try:
        with quiet, Image.open(stream, formats=_FORMATS) as picture:
            # Pillow itself only warns of these, up to twice the limit.
            if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError
            n_frames = _count_frames(picture)
            # Pillow turns the 8-bit ones of these over by itself, the 16-bit ones not.
            is_negative = getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
            if n_frames == 1:
                check_before(picture, content)
                return _upright(picture, content), is_negative
    except UnidentifiedImageError as error:
        raise OSError("not a picture that can be read (PNG, JPEG, TIFF, BMP, GIF, WebP, PNM or DICOM)") from error
    except Image.DecompressionBombError as error:
        raise OSError("the picture is too large to be a film") from error
    except NotImplementedError as error:
        raise OSError(str(error)) from error
    except Exception as error:  # a damaged file makes Pillow raise anything: struct.error, KeyError, ValueError, ...
        if stream.is_spent or str(error) == TOO_MANY_PARTS:
            raise OSError(TOO_MANY_PARTS) from error
        raise OSError(f"damaged or cut short: {' '.join(str(error).split()) or type(error).__name__}") from error
    raise OSError(f"holds {n_frames} frames; a film is one: save each frame as its own file")


def _count_frames(picture: Image.Image) -> int:
    """Count the frames of an animation, the pages of a TIFF but for smaller copies of its film."""
    n_frames = int(getattr(picture, "n_frames", 1)) if picture.format != "MPO" else 1
    if n_frames > 1 and picture.format == "TIFF":
        pages = []
        for page in range(n_frames):
            picture.seek(page)
            pages.append(picture.tag_v2.get(_PAGE_KIND, 0) & _SMALLER_COPY)  # type: ignore[attr-defined]  # of TIFF
        n_frames = max(pages.count(0), 1)
    if n_frames == 1:
        picture.seek(0)
    return n_frames


def _upright(picture: ImageFile, content: bytes) -> np.ndarray:
    if not _is_deep_colour(picture):
        picture.load()
        check_after(picture, content)
        ImageOps.exif_transpose(picture, in_place=True)
        return _pixels(picture)
    gray = Image.fromarray(_deep_colour_gray(content))
    if picture.format != "TIFF":  # which Pillow turns as it loads it
        gray.info = {"exif": picture.getexif().tobytes()}
    return np.asarray(ImageOps.exif_transpose(gray))


def _pixels(picture: Image.Image) -> np.ndarray:
    if picture.mode in _DEEP_MODES or picture.mode.startswith("I;16"):
        return np.asarray(picture)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture).convert("RGB")
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    return np.array(picture if picture.mode == "L" else picture.convert("L"))


def _bits(values: np.ndarray, bit_depth: int | None) -> int:
    """Return how many bits hold all values, after checking that they are such as a film has."""
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and np.array_equal(values, np.floor(values))):
        raise OSError("floating-point pixels have no stated range")
    largest, smallest = int(values.max()), int(values.min())
    if smallest < 0 or largest >= 2**16:
        raise OSError(f"pixel values from {smallest} to {largest} do not fit 16 bits")
    if bit_depth is None:
        return next(bits for bits in BIT_DEPTHS if largest < 2**bits)
    if largest >= 2**bit_depth:
        raise ValueError(f"its maximum {largest} needs more than {bit_depth} bits; name a larger --bit-depth")
    return bit_depth


def _is_deep_colour(picture: ImageFile) -> bool:
    """Return whether a picture, opened and not yet loaded, holds 16 bits in each of several channels."""
    return ";16" in _raw_mode(picture) and picture.mode in ("RGB", "RGBA", "LA")


def _deep_colour_gray(content: bytes) -> np.ndarray:
    """Return the 16-bit gray of such a file, not turned as EXIF may say: luma, transparent parts on black."""
    with Image.open(BytesIO(content), formats=_FORMATS) as picture:
        if _raw_mode(picture).startswith("LA"):  # four bytes a pixel, as those of 8-bit RGBA
            return _gray_alpha(content)
        if _raw_mode(picture)[-4:] not in _OTHER_ORDER or picture.tile[0][0] == "libtiff":
            raise NotImplementedError("holds 16 bits in each colour, of which 8 can be read; save it as gray or as PNG")
        high = np.asarray(picture).astype(np.int64)
    with Image.open(BytesIO(content), formats=_FORMATS) as picture:
        picture.tile = [tile._replace(args=_turned(tile.args)) for tile in picture.tile]
        values = high * 256 + np.asarray(picture)
    luma = (values[..., :3] @ _LUMA + 2**15) >> 16
    return _on_black(luma, values[..., 3] if values.shape[-1] == 4 else None)


def _raw_mode(picture: ImageFile) -> str:
    raw = picture.tile[0][3] if picture.tile else ""
    return str(raw[0] if isinstance(raw, tuple) else raw)


def _turned(raw: Any) -> Any:
    """Return what Pillow's decoder is told, with the other order of bytes."""
    return (_turned(raw[0]), *raw[1:]) if isinstance(raw, tuple) else raw[:-4] + _OTHER_ORDER[raw[-4:]]


def _gray_alpha(content: bytes) -> np.ndarray:
    header = bytearray(content[_PNG_IHDR])
    header[12], header[13] = 8, _RGBA
    as_rgba = content[:12] + header + zlib.crc32(header).to_bytes(4) + content[33:]
    with Image.open(BytesIO(as_rgba), formats=_FORMATS) as picture:
        values = np.asarray(picture).astype(np.int64)
    return _on_black(values[..., 0] * 256 + values[..., 1], values[..., 2] * 256 + values[..., 3])


def _on_black(gray: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    return (gray if alpha is None else gray * alpha // (2**16 - 1)).astype(np.uint16)
