"""Pictures of 16 bits in each colour, of which Pillow gives the high bytes: the low ones are asked for as if they were.

Pillow calls the order of the two bytes by the end of a raw mode's name, and keeps what it takes for the high one. So a
picture is opened twice, the second time by the name of the other order.
"""

import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

_OTHER_ORDER = {";16B": ";16L", ";16L": ";16B"}
_PNG_IHDR = slice(12, 29)  # W3C PNG, 5.3 and 11.2.1: name, 13 bytes, then their checksum
_RGBA = 6
_LUMA = np.array([19595, 38470, 7471])  # of 65536, ITU-R 601-2: Pillow's own


def is_deep_colour(picture: ImageFile) -> bool:
    """Return whether a picture, opened and not yet loaded, holds 16 bits in each of several channels."""
    return ";16" in _raw_mode(picture) and picture.mode in ("RGB", "RGBA", "LA")


def deep_colour_gray(content: bytes, formats: tuple[str, ...]) -> np.ndarray:
    """Read such a picture as 16-bit gray: colour becomes luma, transparent parts lie on black.

    Args:
        content: of the file.
        formats: that Pillow may take it for.

    Returns:
        uint16, shape (H, W); not turned as EXIF may say.

    Raises:
        NotImplementedError: there is no way to the low bytes.
    """
    with Image.open(BytesIO(content), formats=formats) as picture:
        if _raw_mode(picture).startswith("LA"):  # four bytes a pixel, as those of 8-bit RGBA
            return _gray_alpha(content, formats)
        if _raw_mode(picture)[-4:] not in _OTHER_ORDER or picture.tile[0][0] == "libtiff":
            raise NotImplementedError("holds 16 bits in each colour, of which 8 can be read; save it as gray or as PNG")
        high = np.asarray(picture).astype(np.int64)
    with Image.open(BytesIO(content), formats=formats) as picture:
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


def _gray_alpha(content: bytes, formats: tuple[str, ...]) -> np.ndarray:
    header = bytearray(content[_PNG_IHDR])
    header[12], header[13] = 8, _RGBA
    as_rgba = content[:12] + header + zlib.crc32(header).to_bytes(4) + content[33:]
    with Image.open(BytesIO(as_rgba), formats=formats) as picture:
        values = np.asarray(picture).astype(np.int64)
    return _on_black(values[..., 0] * 256 + values[..., 1], values[..., 2] * 256 + values[..., 3])


def _on_black(gray: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    return (gray if alpha is None else gray * alpha // (2**16 - 1)).astype(np.uint16)
