"""Pictures that are damaged or made to cost: refused, at little cost, and no other film is lost for one of them."""

import os
import resource
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from made_hostile import cuts, textured, whole_dicoms, whole_pictures, zero_tails
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite

from fault_kinds.attack import (
    CRASH,
    HANG,
    HARMLESS,
    LOST,
    MEGABYTES,
    REFUSED,
    SECONDS,
    SILENT,
    Attack,
    call,
    fresh,
    in_process,
)
from fewshot_cxr.data import read_gray

N_FUZZED, N_IN_BATCH = 3_000, 40
# Formats that end with a mark or a sum, or count their parts: what is cut off is known to be missing.
PACKED = (".png", ".jpg", ".webp", ".jp2", ".j2k", ".gif", ".dcm")


def cut_short(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Cut each format at 25 places, and overwrite its end with zeros: never read as another film."""
    wholes = _wholes()
    for name, content in wholes.items():
        truth = _read(made, name, content)
        if isinstance(truth, str):
            raise RuntimeError(f"{name}: {truth}")
        for kind, make in (("cut", cuts), ("zeros", zero_tails)):
            for number, damaged in enumerate(make(content)):
                if share == 1 or number % 20 == 0:
                    yield f"{name} {kind} {number}", partial(_cut, made, name, damaged, truth, kind)


def fuzzed(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Change bytes of each format at random, and put them among whole films."""
    wholes = _wholes()
    names = list(wholes)
    batch: dict[str, bytes] = {}
    for number in range(round(N_FUZZED * share)):
        name = names[number % len(names)]
        how, damaged = _fuzz(wholes[name], wholes[names[draw.integers(len(names))]], draw)
        batch[f"{number}_{name}"] = damaged
        yield f"{name} {how}", partial(_fuzzed, made, name, damaged)
        if len(batch) == N_IN_BATCH:
            yield f"a folder of {N_IN_BATCH} and 6 whole ones", partial(_among_whole, made, batch)
            batch = {}


def costly(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Small files that ask for much work or memory."""
    for name, make in islice(BOMBS.items(), None if share == 1 else 2):
        # Each in a process of its own: the peak of one would hide that of the next.
        yield name, lambda name=name, make=make: in_process(partial(_fuzzed, made, name, make()))
        yield f"{name} among whole ones", lambda name=name, make=make: _among_whole(made, {name: make()})


def _wholes() -> dict[str, bytes]:
    return whole_pictures() | whole_dicoms()


def _read(made: Path, name: str, content: bytes) -> np.ndarray | str:
    file = made / f"fuzzed_{os.getpid()}_{name}"
    file.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_gray(file)
    except (OSError, ValueError) as error:
        return str(error) or "no reason"
    finally:
        file.unlink()


def _fuzzed(made: Path, name: str, content: bytes) -> str:
    begun, before = time.process_time(), _peak()
    found = _read(made, name, content)
    seconds, megabytes = time.process_time() - begun, _peak() - before
    if isinstance(found, str) and "\n" in found:
        return f"{CRASH}: more than one line: {found}"
    if isinstance(found, str) and (seconds > SECONDS or megabytes > MEGABYTES):
        return f"{HANG}: refused after {seconds:.1f} s and {megabytes:.0f} MB: {found}"
    return REFUSED if isinstance(found, str) else HARMLESS


def _cut(made: Path, name: str, content: bytes, truth: np.ndarray, kind: str) -> str:
    found = _read(made, name, content)
    if isinstance(found, str):
        return REFUSED
    if np.array_equal(found, truth):
        return HARMLESS
    if kind == "zeros" and (not name.endswith(PACKED) or name == "plain.dcm"):
        return HARMLESS  # zeros in unpacked pixels are black pixels: no format says otherwise
    return f"{SILENT}: {int((found != truth).sum()) if found.shape == truth.shape else 'all'} pixels"


def _fuzz(content: bytes, other: bytes, draw: np.random.Generator) -> tuple[str, bytes]:
    damaged, place = bytearray(content), int(draw.integers(len(content)))
    how = ("flips", "noise", "deleted", "inserted", "spliced", "length")[draw.integers(6)]
    if how == "flips":
        for at in draw.integers(0, min(len(content), 4_000), 4).tolist():
            damaged[at] ^= 1 << int(draw.integers(8))
    elif how == "noise":
        damaged[place : place + 64] = draw.bytes(64)
    elif how == "deleted":
        del damaged[place : place + int(draw.integers(1, 200))]
    elif how == "inserted":
        damaged[place:place] = draw.bytes(int(draw.integers(1, 200)))
    elif how == "spliced":
        damaged[place:] = other[int(draw.integers(len(other))) :]
    else:  # numbers of four bytes in the head, where sizes stand
        at = int(draw.integers(min(len(content) - 4, 400)))
        damaged[at : at + 4] = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\0\0")[
            draw.integers(4)
        ]
    return f"{how} at {place}", bytes(damaged)


def _among_whole(made: Path, batch: dict[str, bytes]) -> str:
    place = fresh(made, "batch")
    (place / "films" / "some").mkdir(parents=True)
    for number in range(6):
        Image.fromarray(textured(seed=100 + number)).save(place / "films" / "some" / f"whole{number}.png")
    for name, content in batch.items():
        (place / "films" / "some" / name).write_bytes(content)
    done = call("data", "read", "image_folder:films", "--out", "films.csv", cwd=place)
    if done.is_crash or done.code:
        return f"{LOST}: all films: {done.err.strip()[-300:]}"
    # What is no film is a row; what a library of C says in between is none.
    strange = [line for line in done.err.splitlines() if "TIFF" in line and "left out" not in line]
    n_kept = (place / "films.csv").read_text(encoding="utf-8").count("\nsome/whole")
    if n_kept < 6:
        return f"{LOST}: {6 - n_kept} whole films"
    return f"{CRASH}: {strange[0]}" if strange else HARMLESS


def _gif_of_frames() -> bytes:
    frames = [Image.fromarray(textured(8, 8, seed=number)) for number in range(500)]
    stream = BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:] * 20)
    return stream.getvalue()


def _plain_dicom() -> bytes:
    return whole_dicoms()["plain.dcm"]


def _deflated_bomb() -> bytes:
    packed = whole_dicoms()["deflated.dcm"]
    head = packed.index(b"1.2.840.10008.1.2.1.99") + 22
    return packed[:head] + zlib.compress(bytes(600 << 20), 9)[2:-4]


BOMBS: dict[str, Callable[[], bytes]] = {
    "wide.png": lambda: _png(60_000, 60_000, zlib.compress(bytes(60_001))),
    "empty.png": lambda: _png(0, 0, b""),
    "text.png": lambda: _png(8, 8, BLACK, (b"zTXt", b"a\0\0" + zlib.compress(bytes(300 << 20), 9))),
    "profile.png": lambda: _png(8, 8, BLACK, (b"iCCP", b"a\0\0" + zlib.compress(bytes(300 << 20), 9))),
    "pixels.png": lambda: _png(8, 8, zlib.compress(bytes(400 << 20), 9)),
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
}
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


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
