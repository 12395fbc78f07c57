"""Small files that ask for much work or memory."""

import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
from made_dicom import content_of, dataset, encapsulated
from made_hostile import textured, whole_dicoms
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, ImplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless


def _gif_of_frames() -> bytes:
    frames = [Image.fromarray(textured(8, 8, seed=number)) for number in range(500)]
    stream = BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:] * 4)
    return stream.getvalue()


def _plain_dicom() -> bytes:
    return whole_dicoms()["plain.dcm"]


def _deflated_bomb() -> bytes:
    packed = whole_dicoms()["deflated.dcm"]
    head = packed.index(b"1.2.840.10008.1.2.1.99") + 22
    return packed[:head] + zlib.compress(bytes(250 << 20), 9)[2:-4]


BLACK = zlib.compress(bytes(72))


def _png(width: int, height: int, packed: bytes, *more: tuple[bytes, bytes]) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), *more, (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _many_scans(n_scans: int) -> bytes:
    """Repeat the last scan of a progressive JPEG, each of which the decoder walks through the whole film for."""
    stream = BytesIO()
    Image.fromarray(np.zeros((2_000, 2_000), np.uint8)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    return content[:-2] + content[content.rindex(b"\xff\xda") : -2] * n_scans + b"\xff\xd9"


def _with_segments(n_segments: int) -> bytes:
    stream = BytesIO()
    Image.fromarray(textured()).save(stream, "JPEG")
    content = stream.getvalue()
    return content[:2] + b"\xff\xfe\x00\x04ab" * n_segments + content[2:]


def _many_directories(n_directories: int) -> bytes:
    entries = b"".join(
        struct.pack("<HHII", tag, 3, 1, value)
        for tag, value in ((256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 64))
    )
    size = 2 + len(entries) + 4
    parts = [struct.pack("<2sHI", b"II", 42, 72), bytes(64)]
    for number in range(n_directories):
        following = 72 + (number + 1) * size if number + 1 < n_directories else 0
        parts.append(struct.pack("<H", 9) + entries + struct.pack("<I", following))
    return b"".join(parts)


def _private(number: int) -> bytes:
    return struct.pack("<HH2sH", 0x0009 + 2 * (number >> 15), 0x1000 + (number & 0x7FFF), b"LO", 2) + b"ab"


def _with_elements(content: bytes, elements: list[bytes]) -> bytes:
    """Put elements before the first one of the group of images, 0028."""
    place = content.index(b"\x28\x00\x02\x00US")
    return content[:place] + b"".join(elements) + content[place:]


def _nested(content: bytes, depth: int) -> bytes:
    opened = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    closed = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return _with_elements(content, [opened * depth + closed * depth])


def _with_values(content: bytes, **values: int) -> bytes:
    header: Dataset = dcmread(BytesIO(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in values.items():
            setattr(header, name, value)
        stream = BytesIO()
        dcmwrite(stream, header, enforce_file_format=True)
    return stream.getvalue()


def _strips_of_one_place(n_strips: int) -> bytes:
    """Return a TIFF of JPEGs that all take the whole file."""
    length = 8 + 8 * n_strips
    data = struct.pack(f"<{n_strips}I", *[8] * n_strips) + struct.pack(f"<{n_strips}I", *[length] * n_strips)
    entries = [(256, 4, 1, 8), (257, 4, 1, n_strips), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 1)]
    entries += [(273, 4, n_strips, 8), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, n_strips, 8 + 4 * n_strips)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<2sHI", b"II", 42, length) + data + directory + bytes(4)


def _many_fragments(n_fragments: int) -> bytes:
    pixels = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * n_fragments + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    header = dataset(textured(), syntax=JPEGBaseline8Bit, PixelData=pixels)
    header["PixelData"].is_undefined_length = True
    return content_of(header)


def _items(n_items: int) -> bytes:
    """Return a sequence of modality tables, none of which holds anything."""
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * n_items
    return struct.pack("<HH2sHI", 0x0028, 0x3000, b"SQ", 0, len(items)) + items


def _many_numbers(n_numbers: int) -> bytes:
    """Return a film with so many centres of windows, and as many widths: only implicit VR has room for them."""
    stream, header = BytesIO(), dcmread(BytesIO(_plain_dicom()))
    header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dcmwrite(stream, header, implicit_vr=True, little_endian=True)
    content = stream.getvalue()
    values, place = b"1\\" * n_numbers, content.index(struct.pack("<HHI", 0x7FE0, 0x0010, 4500))
    more = b"".join(struct.pack("<HHI", 0x0028, element, len(values)) + values for element in (0x1050, 0x1051))
    return content[:place] + more + content[place:]


def _run_lengths(n_runs: int) -> bytes:
    packed = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * n_runs
    return encapsulated(packed, textured(), RLELossless)


def jpeg_2000(side: int, precinct: int, code_block: int = 0) -> bytes:
    """Return a codestream without data that states the exponents of the sides of its precincts and code blocks."""
    size = struct.pack(">H8IHBBB", 0, side, side, 0, 0, side, side, 0, 0, 1, 7, 1, 1)
    style = struct.pack(">BBHB5B", 1, 0, 1, 0, 5, code_block, code_block, 0, 1) + bytes([precinct * 17] * 6)
    steps = b"\x40" + bytes([0x48] * 16)
    segments = ((0x51, size), (0x52, style), (0x5C, steps), (0x90, struct.pack(">HIBB", 0, 0, 0, 1)))
    head = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return b"\xff\x4f" + head + b"\xff\x93" + bytes(40) + b"\xff\xd9"


def _precincts_in_dicom(side: int) -> bytes:
    header = dataset(textured(), syntax=JPEG2000, Rows=side, Columns=side)
    header.PixelData = encapsulate([jpeg_2000(side, 1)])
    header["PixelData"].is_undefined_length = True
    return content_of(header)


BOMBS: dict[str, Callable[[], bytes]] = {
    "wide.png": lambda: _png(60_000, 60_000, zlib.compress(bytes(60_001))),
    "empty.png": lambda: _png(0, 0, b""),
    "text.png": lambda: _png(8, 8, BLACK, (b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20), 9))),
    "profile.png": lambda: _png(8, 8, BLACK, (b"iCCP", b"a\0\0" + zlib.compress(bytes(80 << 20), 9))),
    "pixels.png": lambda: _png(8, 8, zlib.compress(bytes(100 << 20), 9)),
    "scans.jpg": lambda: _many_scans(20_000),
    "segments.jpg": lambda: _with_segments(200_000),
    "directories.tif": lambda: _many_directories(100_000),
    "itself.tif": lambda: struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<HI", 0, 8),
    "huge_tag.tif": lambda: struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<HHHIII", 1, 256, 4, 1 << 30, 8, 0),
    "frames.gif": _gif_of_frames,
    "screen.gif": lambda: b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + b";",
    "wide.bmp": lambda: struct.pack("<2sIIIIiiHHIIiiII", b"BM", 54, 0, 54, 40, 60_000, 60_000, 1, 8, 0, 0, 0, 0, 0, 0),
    "wide.pgm": lambda: b"P5\n60000 60000\n255\n" + bytes(1_000),
    "digits.pgm": lambda: b"P5\n" + b"9" * 1_000_000 + b" 8\n255\n" + bytes(1_000),
    "private.dcm": lambda: _with_elements(_plain_dicom(), [_private(number) for number in range(300_000)]),
    "nested.dcm": lambda: _nested(_plain_dicom(), 2_000),
    "frames.dcm": lambda: _with_values(_plain_dicom(), NumberOfFrames=10**9),
    "wide.dcm": lambda: _with_values(_plain_dicom(), Rows=65_535, Columns=65_535),
    "no_rows.dcm": lambda: _with_values(_plain_dicom(), Rows=0),
    "colours.dcm": lambda: _with_values(_plain_dicom(), SamplesPerPixel=60_000),
    "bits.dcm": lambda: _with_values(_plain_dicom(), BitsAllocated=64, BitsStored=64),
    "deflated_bomb.dcm": _deflated_bomb,
    "chunks.png": lambda: _png(8, 8, BLACK, *[(b"tEXt", b"a\0b")] * 500_000),
    "comment.pgm": lambda: b"P5\n#" + b"x" * 5_000_000 + b"\n8 8\n255\n" + bytes(64),
    "numbers.pgm": lambda: b"P2\n9000 9000\n255\n" + b"1 " * 10_000_000,
    "strips.tif": lambda: _strips_of_one_place(60_000),
    "fragments.dcm": lambda: _many_fragments(1_000_000),
    "items.dcm": lambda: _with_elements(_plain_dicom(), [_items(1_000_000)]),
    "runs.dcm": lambda: _run_lengths(8_000_000),
    "precincts.j2k": lambda: jpeg_2000(9_000, 1),
    "blocks.j2k": lambda: jpeg_2000(9_000, 15),
    "precincts.dcm": lambda: _precincts_in_dicom(9_000),
    "numbers.dcm": lambda: _many_numbers(4_000_000),
}
