"""Any file of a film to uint8 gray: DICOM; pictures of 8 and 16 bit, colour, palette, alpha, EXIF rotation."""

import math
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fewshot_cxr.data.dicom import HEAD_BYTES, is_dicom, read_dicom
from fewshot_cxr.data.dicom_gray import BIT_DEPTHS
from fewshot_cxr.data.quiet import quiet

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"}) | DICOM_SUFFIXES
_DEEP_MODES = ("I", "F")  # and every mode that begins with "I;16"
# What is found under those suffixes. Pillow's others stay shut: one of them calls a program (EPS starts Ghostscript).
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # TIFF 6.0, section 8


def is_image_name(name: str) -> bool:
    """Return whether a file's name is that of a picture (and not of a hidden file or a side file of macOS)."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def read_gray(path: str | Path, *, bit_depth: int | None = None) -> np.ndarray:
    """Read a film as 8-bit gray: a DICOM as `read_dicom` says, a picture as follows.

    Colour becomes luma, a palette is looked up, transparent parts lie on black, EXIF rotation is applied. 16-bit
    values lose their low bits: as many as lie above 8 in the smallest of 8/10/12/14/16 bits that holds the file's
    maximum. (Pillow's own `convert("L")` would clip them to white.)

    Args:
        path: of the file; its content decides the format, not its suffix. (But a picture named .dcm is refused: a
            folder that holds such is not what it seems to be.)
        bit_depth: of 16-bit pictures; None finds it by the maximum. A DICOM states its own.

    Returns:
        uint8, shape (H, W).

    Raises:
        OSError: the file is absent, empty, cut short, no film, or too large to be one; the text is one sentence.
        ValueError: a value needs more bits than `bit_depth`, or that is not in 8..16.
    """
    if bit_depth is not None and not 8 <= bit_depth <= 16:
        raise ValueError(f"bit_depth must be in 8..16, got {bit_depth}")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise type(error)(f"the file cannot be opened: {error.strerror}") from error
    if not content:
        raise OSError("the file is empty")
    if is_dicom(content[:HEAD_BYTES]):
        return read_dicom(content)
    if Path(path).suffix.lower() in DICOM_SUFFIXES:
        raise OSError("not a DICOM, though its name says so")
    pixels, is_negative = _load(content)
    if pixels.dtype == np.uint8:
        return pixels
    bits = _bits(pixels, bit_depth)
    values = pixels.astype(np.uint16)
    # A shift, not a rescale: it gives back exactly the 8-bit film that a 16-bit file was made from.
    return ((2**bits - 1 - values if is_negative else values) >> (bits - 8)).astype(np.uint8)


def _load(content: bytes) -> tuple[np.ndarray, bool]:
    """Return 8-bit gray, or deep pixels as they are and whether 0 means white in them."""
    try:
        with quiet, Image.open(BytesIO(content), formats=_FORMATS) as picture:
            # Pillow itself only warns of these, up to twice the limit.
            if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError
            picture.load()
            # Pillow turns the 8-bit ones of these over by itself, the 16-bit ones not.
            is_negative = getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
            return _pixels(ImageOps.exif_transpose(picture)), is_negative
    except UnidentifiedImageError as error:
        raise OSError("not a picture that can be read (PNG, JPEG, TIFF or DICOM)") from error
    except Image.DecompressionBombError as error:
        raise OSError("the picture is too large to be a film") from error
    except Exception as error:  # a damaged file makes Pillow raise anything: struct.error, KeyError, ValueError, ...
        raise OSError(f"damaged or cut short: {' '.join(str(error).split()) or type(error).__name__}") from error


def _pixels(picture: Image.Image) -> np.ndarray:
    if picture.mode in _DEEP_MODES or picture.mode.startswith("I;16"):
        return np.asarray(picture)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture).convert("RGB")
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    return np.array(picture.convert("L"))


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
