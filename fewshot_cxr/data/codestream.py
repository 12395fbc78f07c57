"""What a compressed picture says by its markers: its size, whether its end is there, and how much work it is to decode.

In what is packed no marker can occur: JPEG puts 00 behind an FF, JPEG-LS and JPEG 2000 a byte below 90.
"""

import re
import struct
from collections.abc import Iterator

from fewshot_cxr.data.jpeg2000 import check_blocks

JPEG_2000 = b"\xff\x4f\xff\x51"  # the first two markers
END = b"\xff\xd9"
_SCAN, _TILE_DATA = b"\xff\xda", b"\xff\x93"
# Frame headers; among the markers C0..CF are also C4, C8 and CC: Huffman tables, reserved, arithmetic conditioning.
_SIZES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_RESTARTS = 0xDD  # defines their interval
_PROGRESSIVE, _LOSSLESS = (0xC2, 0xC6, 0xCA, 0xCE), (0xC3, 0xC7, 0xCB, 0xCF)
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")  # fill bytes may go before any marker
# Each scan of a progressive JPEG goes over the whole picture again: encoders make about 10 of them.
MOST_SCANS = 100
NO_CODES = b"\xff\0" * 64  # no Huffman code is all ones (ITU-T T.81, C.2)
ANY_CODES = bytes(range(1, 250, 7)) * 4


def check_codestream(frame: bytes) -> None:
    """Insist on an end marker, behind which all is padding, and on what `check_scans` and `check_blocks` do.

    Raises:
        OSError: there is none, or it asks for too much work.
    """
    if _end(frame) < 0:
        raise OSError("cut short: its compressed picture has no end marker")
    if frame.startswith(JPEG_2000):
        check_blocks(frame)
    else:
        check_scans(frame)


def check_scans(frame: bytes) -> None:
    """Insist on no more scans of a JPEG than a film has.

    Raises:
        OSError: it has more.
    """
    if (n_scans := frame.count(_SCAN)) > MOST_SCANS:
        raise OSError(f"its JPEG has {n_scans} scans; a film has about 10, and more than {MOST_SCANS} are not decoded")


def lengthened(frame: bytes, filler: bytes) -> bytes:
    """Return a JPEG with more behind each part of its packed data.

    A decoder that has its whole picture by then does not see it. Of one that is cut short, though an end marker
    follows, libjpeg-turbo makes another picture of `ANY_CODES`, and libjpeg of the JPEG committee refuses `NO_CODES`.
    """
    start, end = _first_scan(frame), _end(frame)
    packed = _RESTART.sub(lambda marker: filler + marker[0], frame[start:end].rstrip(b"\xff"))
    return frame[:start] + packed + filler + frame[end:]


def may_lack_data(frame: bytes, is_flat: bool) -> bool:
    """Return whether a JPEG may have been cut short before its end marker: libjpeg-turbo leaves the rest flat.

    Args:
        frame: of several scans, or parts of one, any may be cut; else the last block tells.
        is_flat: whether the last block of 8 x 8 pixels is, as decoded.
    """
    if is_flat:
        return True
    segments = dict(_segments(frame))
    return _RESTARTS in segments or frame.count(_SCAN, segments.get(_SCAN[1], len(frame))) > 1


def check_parts(frame: bytes) -> None:
    """Insist on all scans of a progressive JPEG, and all restart intervals of another one.

    Raises:
        OSError: some are not there, as decoders do not tell.

    Source: ITU-T T.81, B.2.4.4 (restart interval), G.1.1.1 (spectral selection, successive approximation).
    """
    segments = dict(_segments(frame))
    marker = next((marker for marker in segments if marker in _SIZES), None)
    if marker is None or not (marker in _PROGRESSIVE or _RESTARTS in segments):
        return
    at, start = segments[marker], segments.get(_SCAN[1], len(frame))
    if marker in _PROGRESSIVE:
        scans = (start + found.start() for found in re.finditer(_SCAN, frame[start:]))
        is_whole = len({band for scan in scans for band in _final_bands(frame[scan:], frame[at + 10])}) == 64
    else:
        interval = int.from_bytes(frame[segments[_RESTARTS] + 4 :][:2])
        n_scans, n_restarts = frame.count(_SCAN, start), len(_RESTART.findall(frame, start, _end(frame)))
        is_whole = not interval or n_scans > 1 or n_restarts >= (_n_units(frame[at:]) - 1) // interval
    if not is_whole:
        raise OSError("cut short: parts of its compressed picture are not there")


def _final_bands(scan: bytes, component: int) -> range:
    """Return of which coefficients of a component a scan gives the last bit."""
    n_components = scan[4]
    first, last, bits = scan[5 + 2 * n_components : 8 + 2 * n_components]
    has_it = component in scan[5 : 5 + 2 * n_components : 2] and bits & 15 == 0
    return range(first, min(last, 63) + 1) if has_it else range(0)


def _n_units(header: bytes) -> int:
    """Return of how many units, which restart intervals count, the one scan of a frame has."""
    rows, columns, n_components = struct.unpack(">HHB", header[5:10])
    factors = header[11 : 10 + 3 * n_components : 3]
    across, down = max(factor >> 4 for factor in factors), max(factor & 15 for factor in factors)
    if n_components == 1:
        across = down = 1
    side = 1 if header[1] in _LOSSLESS else 8
    n_units: int = -(-columns // (side * across)) * -(-rows // (side * down))
    return n_units


def codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Return rows, columns and components of a JPEG, JPEG-LS or JPEG 2000 codestream; None where it states none.

    Source: ITU-T T.81, B.2.2 (frame header); T.87, C.2.2; T.800, A.5.1 (SIZ).
    """
    if frame[:4] == JPEG_2000 and len(frame) >= 42:
        right, lower, left, upper = struct.unpack(">4I", frame[8:24])
        return lower - upper, right - left, int.from_bytes(frame[40:42])
    for marker, at in _segments(frame):
        if at + 10 <= len(frame) and marker in _SIZES:
            rows, columns, components = struct.unpack(">HHB", frame[at + 5 : at + 10])
            return rows, columns, components
    return None


def _end(frame: bytes) -> int:
    """Return where the end marker is, below 0 if nowhere."""
    if frame.startswith(JPEG_2000):
        return frame.find(END, max(frame.rfind(_TILE_DATA), 0))
    return frame.find(END, _first_scan(frame))


def _first_scan(frame: bytes) -> int:
    return next((at for marker, at in _segments(frame) if marker == 0xDA), len(frame))


def _segments(frame: bytes) -> Iterator[tuple[int, int]]:
    """Yield the markers of the header of a JPEG or JPEG-LS, up to its first scan, and where each is."""
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 4 <= len(frame) and frame[at] == 0xFF:
        if frame[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        yield frame[at + 1], at
        if frame[at + 1] == 0xDA:
            return
        at += 2 + int.from_bytes(frame[at + 2 : at + 4])
