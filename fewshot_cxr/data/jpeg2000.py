"""How much work a JPEG 2000 codestream is to decode, by its headers: a few bytes may ask for 80 million precincts."""

import re
import struct
from collections.abc import Iterator

_START, _TILE, _DATA, _STYLES = b"\xff\x4f\xff\x51", 0xFF90, 0xFF93, {0xFF52: 0, 0xFF53: 1}
# Encoders use code blocks of 32 or 64 pixels a side, and precincts of 128 or more: of 90 million pixels 120,000.
MOST_BLOCKS = 500_000
_LARGEST = 15  # the exponent of a precinct's side where none is stated


def check_blocks(content: bytes) -> None:
    """Insist on no more code blocks and precincts than a film has, in any codestream of a file.

    Raises:
        OSError: it has more.
    """
    for found in re.finditer(re.escape(_START), content):
        try:
            n_blocks = max(_counts(content, found.start()), default=0)
        except (struct.error, IndexError, ZeroDivisionError):
            raise OSError("its JPEG 2000 header is damaged") from None
        if n_blocks > MOST_BLOCKS:
            raise OSError(
                f"its JPEG 2000 is cut into {n_blocks:,} blocks; a film has about 10,000, and more than "
                f"{MOST_BLOCKS:,} are not decoded"
            )


def _counts(content: bytes, start: int) -> Iterator[int]:
    """Yield how many blocks each description of a coding style makes of the whole picture, or of a component.

    Source: ITU-T T.800, A.5.1 (SIZ), A.6.1 (COD), A.6.2 (COC), B.6 and B.7.
    """
    right, lower, left, upper, *tile, n_components = struct.unpack(">8IH", content[start + 8 : start + 42])
    n_tiles = -(-right // tile[0]) * -(-lower // tile[1])
    for marker, at in _segments(content, start + 2):
        if marker in _STYLES:
            # COC names its component, in two bytes where there are many, and has no order, layers and transform.
            is_of_one = _STYLES[marker]
            n_layers = 1 if is_of_one else int.from_bytes(content[at + 6 : at + 8])
            style = at + (5 if n_components < 257 else 6) + 1 if is_of_one else at + 9
            has_sizes = content[style - 1 if is_of_one else at + 4] & 1
            n_blocks = _n_blocks(content[style : style + 38], has_sizes, (right - left, lower - upper), n_layers)
            yield n_components * (n_blocks + n_tiles)


def _n_blocks(style: bytes, has_sizes: int, size: tuple[int, int], n_layers: int) -> int:
    levels, *code_block = style[:3]
    total = 0
    for resolution in range(levels + 1):
        stated = style[5 + resolution] if has_sizes else _LARGEST * 17
        for_layers, for_blocks = n_layers, 1
        for side, precinct, block in zip(size, (stated & 15, stated >> 4), code_block, strict=True):
            pixels = -(-side // 2 ** (levels - resolution))
            for_layers *= -(-pixels // 2**precinct)
            for_blocks *= -(-pixels // 2 ** min(max(precinct - (resolution > 0), 0), (block & 15) + 2))
        total += for_layers + for_blocks
    return total


def _segments(content: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Yield the markers of the main header and of all tiles', and where each is."""
    tile = at
    while at + 4 <= len(content):
        marker, length = struct.unpack(">HH", content[at : at + 4])
        if marker == _TILE:
            tile = at
        if marker == _DATA:
            length_of_tile = int.from_bytes(content[tile + 6 : tile + 10])
            if length_of_tile < 14:  # 0: to the end
                return
            at = tile + length_of_tile
        elif marker < 0xFF00:
            return
        else:
            yield marker, at
            at += 2 + length
