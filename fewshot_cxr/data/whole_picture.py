"""Whether the data of a picture file does for its whole picture, where Pillow does not look.

A disk that loses power leaves zeros at the end of a file, and many a decoder takes them for black or for flat parts.
"""

import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from fewshot_cxr.data import codestream
from fewshot_cxr.data.jpeg2000 import check_blocks
from fewshot_cxr.data.plain_file import CountedBytes

_JPEGS = ("JPEG", "MPO")
# TIFF 6.0, sections 8, 15 and 22, and technical note 2: how strips or tiles are packed, where they are, how long.
_PACKING, _OLD_JPEG, _JPEG, _TABLES = 259, 6, 7, 347
_PLACES, _LENGTHS = (273, 324), (279, 325)
# Numbers in text are read at 7 MB a second.
_TEXTS, _MOST_TEXT_BYTES = (b"P1", b"P2", b"P3"), 2**23
# Behind its last code an encoder of WebP writes fewer bytes than these, by the codec, and without one that is needed
# libwebp refuses the picture. Many zeros are made of flat parts alone.
_SPARE, _MANY_ZEROS = {b"VP8 ": 6, b"VP8L": 4}, 12


def check_before(picture: ImageFile, content: bytes) -> None:
    """Insist, before a picture is decoded, on what its format tells of its data.

    Raises:
        OSError: data is lost, or asks for more work than a film does.
    """
    if picture.format in _CHECKS:
        _CHECKS[picture.format](picture, content)


def check_after(picture: ImageFile, content: bytes) -> None:
    """Insist that the data of a picture, decoded, does for all of it: of some that is not decoders make up the rest.

    Raises:
        OSError: it does not.
    """
    if picture.format in _JPEGS:
        codestream.check_parts(content)
        is_cut = codestream.may_lack_data(content, _ends_flat(picture)) and not _is_same(
            picture, codestream.lengthened(content, codestream.ANY_CODES)
        )
    else:
        is_cut = picture.format == "WEBP" and _is_cut_webp(picture, _packed_webp(content))
    if is_cut:
        raise OSError("its data ends before its picture does")


def _ends_flat(picture: ImageFile) -> bool:
    first, last = ((picture.width - 1) // 8 * 8, (picture.height - 1) // 8 * 8), (picture.width - 1, picture.height - 1)
    if picture.getpixel(first) != picture.getpixel(last):  # so are most films, and need no more
        return False
    block = np.asarray(picture.crop((*first, *picture.size)))
    return bool((block == block[0, 0]).all())


def _is_same(picture: ImageFile, content: bytes) -> bool:
    with Image.open(BytesIO(content), formats=_JPEGS) as other:
        return np.array_equal(np.asarray(other), np.asarray(picture))


def _check_png(picture: ImageFile, content: bytes) -> None:
    """Compare the checksums of the pixels, which Pillow passes over.

    Source: W3C PNG, 5.3.
    """
    stream = CountedBytes(content)
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        data, told = stream.read(int.from_bytes(head[:4])), stream.read(4)
        if head[4:] == b"IDAT" and zlib.crc32(data, zlib.crc32(b"IDAT")).to_bytes(4) != told:
            raise OSError("its pixels do not match their checksum")


def _is_cut_webp(picture: ImageFile, packed: bytes) -> bool:
    """Return whether zeros at the end of the packed pixels are no pixels: neither codec of WebP has a checksum.

    A whole picture may end in many of them, where it is flat, and needs them. Of one that has lost its end fewer do for
    what is left of it, or what is made up is not flat.
    """
    spare = _SPARE.get(packed[:4], 0)
    if not spare or not packed.endswith(bytes(spare)):
        return False
    last = np.asarray(picture.crop((max(picture.width - 32, 0), picture.height - 1, *picture.size)))
    if packed.endswith(bytes(_MANY_ZEROS)) and not (last == last[0, 0]).all():
        return True
    shorter = packed[:4] + (len(packed) - 8 - spare).to_bytes(4, "little") + packed[8:-spare] + bytes(len(packed) % 2)
    try:
        file = b"RIFF" + (4 + len(shorter)).to_bytes(4, "little") + b"WEBP" + shorter
        with Image.open(BytesIO(file), formats=("WEBP",)) as other:
            other.load()
    except Exception:  # of any kind, as in `_load`: now something is missing
        return False
    return True


def _packed_webp(content: bytes) -> bytes:
    """Return the first chunk of pixels, with its head.

    Source: Google, "WebP Container Specification": the frame of an animation has chunks of its own.
    """
    stream, at = CountedBytes(content), 12
    while stream.seek(at) and len(head := stream.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] in (b"VP8 ", b"VP8L"):
            return content[at : at + 8 + length]
        at += 8 + 16 if head[:4] == b"ANMF" else 8 + length + length % 2
    return b""


def _check_text(picture: ImageFile, content: bytes) -> None:
    """Insist on a blank behind the last number of a PGM or PPM in text, or a digit of it may be lost."""
    if content[:2] not in _TEXTS:
        return
    if len(content) > _MOST_TEXT_BYTES:
        raise OSError(f"more than {_MOST_TEXT_BYTES >> 20} MB of numbers in text are not read; save it as PNG")
    if content[:2] != _TEXTS[0] and not content[-1:].isspace():
        raise OSError("its last number may not be whole; end it with a new line")


def _check_strips(picture: ImageFile, content: bytes) -> None:
    """Insist on the end of each JPEG in a TIFF, and of their tables: libtiff makes up what is missing."""
    tags = picture.tag_v2  # type: ignore[attr-defined]  # of TIFF
    if tags.get(_PACKING) == _OLD_JPEG:
        codestream.check_scans(content)
    if tags.get(_PACKING) != _JPEG:
        return
    places, lengths = (next((tags[tag] for tag in some if tag in tags), ()) for some in (_PLACES, _LENGTHS))
    if sum(lengths) > len(content):
        raise OSError("its strips are longer than the file")
    if not tags.get(_TABLES, codestream.END).endswith(codestream.END):
        raise OSError("the tables of its JPEGs are cut short")
    for place, length in zip(places, lengths, strict=False):
        codestream.check_codestream(content[place : place + length])


_CHECKS: dict[str, Callable[[ImageFile, bytes], None]] = {
    **dict.fromkeys(_JPEGS, lambda _, content: codestream.check_scans(content)),
    "JPEG2000": lambda _, content: check_blocks(content),
    "PNG": _check_png,
    "PPM": _check_text,
    "TIFF": _check_strips,
}
