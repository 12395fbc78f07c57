"""Any picture file to uint8 gray: 8 and 16 bit, colour, palette, alpha, EXIF rotation."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
BIT_DEPTHS = (8, 10, 12, 14, 16)
_DEEP_MODES = ("I", "F")  # and every mode that begins with "I;16"


def is_image_name(name: str) -> bool:
    """Return whether a file's name is that of a picture (and not of a hidden file or a side file of macOS)."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def read_gray(path: str | Path, *, bit_depth: int | None = None) -> np.ndarray:
    """Read a picture as 8-bit gray.

    Colour becomes luma, a palette is looked up, transparent parts lie on black, EXIF rotation is applied. 16-bit
    values lose their low bits: as many as lie above 8 in the smallest of 8/10/12/14/16 bits that holds the file's
    maximum. (Pillow's own `convert("L")` would clip them to white.)

    Args:
        path: of the file; its content decides the format, not its suffix.
        bit_depth: of 16-bit files; None finds it by the maximum.

    Returns:
        uint8, shape (H, W).

    Raises:
        OSError: the file is empty, cut short, no picture, or too large to be one; the text is one sentence.
        ValueError: a value needs more bits than `bit_depth`.
    """
    path = Path(path)
    if path.stat().st_size == 0:
        raise OSError("the file is empty")
    try:
        with warnings.catch_warnings():  # Pillow warns of odd metadata and of bombs; the second must stop us
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.load()
                return _gray(ImageOps.exif_transpose(picture), bit_depth)
    except UnidentifiedImageError as error:
        raise OSError("not a picture that can be read (PNG, JPEG or TIFF)") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise OSError("the picture is too large to be a film") from error
    except (OSError, SyntaxError, EOFError, IndexError, TypeError) as error:
        raise OSError(f"damaged or cut short: {' '.join(str(error).split()) or type(error).__name__}") from error


def _gray(picture: Image.Image, bit_depth: int | None) -> np.ndarray:
    if picture.mode in _DEEP_MODES or picture.mode.startswith("I;16"):
        return _eight_bits(np.asarray(picture), bit_depth)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture).convert("RGB")
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    return np.array(picture.convert("L"))


def _eight_bits(values: np.ndarray, bit_depth: int | None) -> np.ndarray:
    if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
        raise OSError("floating-point pixels have no stated range")
    largest, smallest = int(values.max()), int(values.min())
    if smallest < 0 or largest >= 2**16:
        raise OSError(f"pixel values from {smallest} to {largest} do not fit 16 bits")
    if bit_depth is None:
        bit_depth = next(bits for bits in BIT_DEPTHS if largest < 2**bits)
    elif largest >= 2**bit_depth:
        raise ValueError(f"its maximum {largest} needs more than {bit_depth} bits; name a larger --bit-depth")
    # A shift, not a rescale: it gives back exactly the 8-bit film that a 16-bit file was made from.
    return (values.astype(np.uint16) >> (bit_depth - 8)).astype(np.uint8)
