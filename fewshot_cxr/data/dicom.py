"""A DICOM film to uint8 gray: what it holds is checked before anything is decoded, and no word of its header gets out.

An error of pydicom may quote the header, and so a patient. So its text never becomes part of ours, nor its cause.
"""

import math
import struct
import zlib
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fewshot_cxr.data.dicom_elements import Elements
from fewshot_cxr.data.dicom_gray import to_gray
from fewshot_cxr.data.dicom_kind import LATERAL_VIEWS, view_of, why_no_chest_film
from fewshot_cxr.data.film import LATERAL, DecodedFilm, FilmFacts
from fewshot_cxr.data.quiet import quiet

HEAD_BYTES = 132  # as many as is_dicom looks at
_NEEDED = ("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation")
_DAMAGED = "damaged: its picture cannot be decoded"
# Named, so that a decoder that happens to be installed too is not asked: GDCM's ends the process on a damaged film. And
# for plain JPEG Pillow takes a third of the time.
_PLUGINS = {
    JPEGBaseline8Bit: "pillow",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    JPEGLossless: "pylibjpeg",
    JPEGLosslessSV1: "pylibjpeg",
    JPEGExtended12Bit: "pylibjpeg",
}
_MOST_HEADER_BYTES = 2**24
_PIXEL_GROUP = 0x7FE0
_HALVED = "YBR_FULL_422"  # of two pixels the colours are there once
_JPEG_2000 = b"\xff\x4f\xff\x51"  # the first two markers
_NOT_SIZES = (0xC4, 0xC8, 0xCC)  # among the JPEG markers C0..CF: Huffman tables, reserved, arithmetic conditioning


def is_dicom(head: bytes) -> bool:
    """Return whether a file that begins so is a DICOM: by its magic, or without preamble by its first element."""
    if head[128:132] == b"DICM":
        return True
    # Such a file begins with group 2 (file meta) or 8 (identification), whose first elements have small numbers.
    if len(head) < 8:
        return False
    (group, element), turned = struct.unpack("<HH", head[:4]), struct.unpack(">HH", head[:4])
    return bool((group in (2, 8) and element < 0x100) or (turned[0] == 8 and turned[1] < 0x100))


def read_dicom(content: bytes) -> np.ndarray:
    """Read one DICOM film as 8-bit gray, as a viewer shows it at first.

    The stored values go through the modality LUT or rescale, then the first VOI LUT or else the first window, then,
    for MONOCHROME1 or the presentation LUT shape INVERSE, the inversion. The range of a LUT is that of its table, never
    that of the film. Where neither is stated (an odd one counts as none) values of 8 bits stay as they are, and deeper
    ones lose their low bits as in a picture file, by the smallest of 8/10/12/14/16 bits that holds the film's maximum:
    a film has the same gray as DICOM and as PNG. A deeper film that spreads over less than a quarter of those bits, or
    below 0, reaches from black to white by its own least and largest value instead. Pixel padding is no part of the
    range and is black. Colour, and a palette, become luma.

    Args:
        content: of the whole file.

    Returns:
        uint8, shape (H, W).

    Raises:
        OSError: no DICOM, no film or several frames in it, cut short, damaged, too large, or a transfer syntax without
            decoder; the text is one sentence and quotes nothing that could name a patient.

    Source: DICOM PS3.3, C.7.6.3 (pixels), C.11.1 (modality LUT), C.11.2 (VOI LUT), C.8.11.3 (presentation LUT shape).
    """
    return decode_dicom(content).gray


def decode_dicom(content: bytes, *, bit_depth: int | None = None) -> DecodedFilm:
    """Read one DICOM film as `read_dicom` does, with what should be said of it.

    Args:
        content: of the whole file.
        bit_depth: of a deep film without window or LUT; None finds it by the maximum.

    Raises:
        OSError: as for `read_dicom`, or a value needs more bits than `bit_depth`.
    """
    if not is_dicom(content[:HEAD_BYTES]):
        raise OSError("not a DICOM")
    with quiet:
        header = open_header(BytesIO(content))
        try:
            check_film(header)
            _check_pixel_data(header)
            return _show(header, bit_depth)
        except OSError:
            raise
        except MemoryError:
            raise OSError("the picture does not fit into the memory") from None
        except Exception:  # a damaged file makes pydicom raise anything
            raise OSError(_DAMAGED) from None


def open_header(stream: BinaryIO, tags: list[str] | None = None) -> Dataset:
    """Parse a DICOM: all of it, or only these elements of its header.

    Raises:
        OSError: it cannot be parsed, or is far larger than a film when it is inflated.
    """
    try:
        stream.seek(128)
        stream.seek(HEAD_BYTES if stream.read(4) == b"DICM" else 0)
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            return _inflated(stream.read(), meta, tags)
        stream.seek(0)
        header = dcmread(stream, force=True, specific_tags=tags, stop_before_pixels=tags is not None)
        if "TransferSyntaxUID" not in header.file_meta:
            is_implicit, is_little = header.original_encoding
            explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
            header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
        return header
    except MemoryError:
        raise OSError("the picture does not fit into the memory") from None
    except Exception:  # as above
        raise OSError("damaged or cut short: its DICOM header cannot be parsed") from None


def _inflated(deflated: bytes, meta: Dataset, tags: list[str] | None) -> Dataset:
    """Parse a deflated DICOM; dcmread would inflate it whole, however large it is then.

    Source: DICOM PS3.5, A.5.
    """
    most = _MOST_HEADER_BYTES + (0 if tags else 2 * (Image.MAX_IMAGE_PIXELS or 2**30))
    content = BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, most))
    stop = None if tags is None else lambda tag, vr, length: tag.group >= _PIXEL_GROUP
    header = read_dataset(content, False, True, stop_when=stop, specific_tags=[*map(Tag, tags)] if tags else None)
    header.set_original_encoding(False, True)
    header.file_meta = FileMetaDataset(meta)
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian  # as it lies here now
    return header


def check_film(header: Dataset) -> None:
    """Insist that a header is that of one film of a size that films have.

    Raises:
        OSError: it is not.
    """
    n_rows, n_columns, n_samples, n_frames = _sizes(header)
    if not n_rows or not n_columns:
        raise OSError("a DICOM without a picture: its header has no Rows and Columns, or is cut short")
    if n_frames > 1:
        raise OSError(f"holds {n_frames} frames; a film is one: save each frame as its own file")
    if n_rows * n_columns * n_samples > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise OSError(f"the picture, {n_columns} x {n_rows} pixels, is too large to be a film")


def _sizes(header: Dataset) -> tuple[int, int, int, int]:
    """Return rows, columns, samples and frames; what is not stated is 0, but one sample and one frame."""
    elements = Elements(header)
    rows, columns, samples, frames = (
        int(elements.number(name) or 0) for name in ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames")
    )
    return rows, columns, max(samples, 1), max(frames, 1)


def _check_pixel_data(header: Dataset) -> None:
    """Insist on pixel data that has a decoder and is as long, or states the same size, as the header says."""
    if "PixelData" not in header or not header.PixelData:
        is_float = "FloatPixelData" in header or "DoubleFloatPixelData" in header
        raise OSError(
            "floating-point pixels have no stated range" if is_float else "holds no pixel data, or is cut short"
        )
    lacking = [name for name in _NEEDED if header.get(name) is None]
    if lacking:
        raise OSError(f"damaged: its header lacks {', '.join(lacking)}")
    if (
        header.BitsStored > header.BitsAllocated
        or header.get("HighBit", header.BitsStored - 1) != header.BitsStored - 1
    ):
        raise OSError("its header contradicts itself: BitsAllocated, BitsStored and HighBit do not fit each other")
    syntax = header.file_meta.TransferSyntaxUID
    _check_decoder(syntax)
    rows, columns, samples, _ = _sizes(header)
    header.NumberOfFrames = 1  # by now; it may be no number
    if not syntax.is_encapsulated:
        _cut_padding(header, rows, columns, samples)
    elif syntax != RLELossless:
        frame = next(generate_frames(header.PixelData, number_of_frames=1))
        if frame[4:8] == b"jP  " and (at := frame.find(_JPEG_2000)) > 0:
            # PS3.5, 8.2.4 forbids JPEG 2000 the boxes of a JP2 file, and on damaged ones pydicom 3.0 never ends.
            frame = frame[at:]
            header.PixelData = encapsulate([frame])
        found = _codestream_size(frame)
        if found is None:
            raise OSError("damaged: its compressed picture does not begin as its transfer syntax says")
        # The decoder allocates what the codestream says, whatever the header says.
        if found != (rows, columns, samples):
            raise OSError("damaged: its compressed picture is not of the size that its header states")


def _cut_padding(header: Dataset, rows: int, columns: int, samples: int) -> None:
    """Insist on enough uncompressed pixel data, and cut off what lies behind.

    Source: DICOM PS3.5, 8.1.1, which asks readers to accept padding, of any length.
    """
    bits, is_halved = rows * columns * samples * header.BitsAllocated, header.PhotometricInterpretation == _HALVED
    n_bytes, n_found = math.ceil((bits * 2 // 3 if is_halved else bits) / 8), len(header.PixelData)
    if n_found < n_bytes or (is_halved and n_found >= bits // 8):
        state = "cut short" if n_found < n_bytes else "damaged"
        raise OSError(f"{state}: {columns} x {rows} pixels need {n_bytes} bytes of pixel data, there are {n_found}")
    if n_found > n_bytes + n_bytes % 2:
        header.PixelData = header.PixelData[: n_bytes + n_bytes % 2]


def _check_decoder(syntax: UID) -> None:
    try:
        is_there = get_decoder(syntax).is_available
    except NotImplementedError:
        is_there = False
    if not is_there:
        name = syntax.name if syntax.type == "Transfer Syntax" else "an unknown one"  # never text of the file's own
        raise OSError(f"its transfer syntax, {name}, has no decoder; save it uncompressed")


def _codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Return rows, columns and components of a JPEG, JPEG-LS or JPEG 2000 codestream; None where it states none.

    Source: ITU-T T.81, B.2.2 (frame header); T.87, C.2.2; T.800, A.5.1 (SIZ).
    """
    if frame[:4] == _JPEG_2000 and len(frame) >= 42:
        right, lower, left, upper = struct.unpack(">4I", frame[8:24])
        return lower - upper, right - left, int.from_bytes(frame[40:42])
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in _NOT_SIZES):
            rows, columns, components = struct.unpack(">HHB", frame[at + 5 : at + 10])
            return rows, columns, components
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4])
    return None


def _show(header: Dataset, bit_depth: int | None) -> DecodedFilm:
    pixels, bits = _decode(header)
    if pixels.ndim == 2:
        gray, facts = to_gray(pixels, header, bit_depth=bit_depth)
    else:
        colours = (pixels >> max(bits - 8, 0)).astype(np.uint8)
        gray, facts = np.array(Image.fromarray(colours).convert("L")), FilmFacts()
    notes = (*facts.notes, *([LATERAL] if view_of(header) in LATERAL_VIEWS else []))
    return DecodedFilm(gray, replace(facts, notes=notes, stranger=why_no_chest_film(header)))


def _decode(header: Dataset) -> tuple[np.ndarray, int]:
    """Return the stored values, or colours, and how many bits each has."""
    plugin = _PLUGINS.get(header.file_meta.TransferSyntaxUID, "")
    if plugin == "pillow" and header.SamplesPerPixel > 1:
        plugin = "pylibjpeg"  # it knows the colour spaces of DICOM
    try:
        pixels: Any = pixel_array(header, raw=False, decoding_plugin=plugin)
        if header.PhotometricInterpretation == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, header)[..., :3]
            return pixels, 8 * pixels.dtype.itemsize
        return pixels, int(header.BitsStored)
    except OSError:  # of a plug-in, not of ours
        raise OSError(_DAMAGED) from None
