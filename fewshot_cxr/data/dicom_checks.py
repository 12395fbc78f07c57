"""Whether a DICOM is one film whose pixels can be decoded: looked at before anything is decoded."""

import math

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, JPEGExtended12Bit, RLELossless

from fewshot_cxr.data.codestream import JPEG_2000, check_codestream, codestream_size
from fewshot_cxr.data.dicom_elements import Elements
from fewshot_cxr.data.plain_file import CountedBytes

_NEEDED = ("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation")
_OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_RLE_HEAD = 64  # bytes: DICOM PS3.5, G.5
_HALVED = "YBR_FULL_422"  # of two pixels the colours are there once


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


def check_pixel_data(header: Dataset) -> tuple[str, ...]:
    """Insist on pixel data that has a decoder and is as long, or states the same size, as the header says.

    Returns:
        What of the header was mended for that.
    """
    if "PixelData" not in header or not header.PixelData:
        is_float = "FloatPixelData" in header or "DoubleFloatPixelData" in header
        raise OSError(
            "floating-point pixels have no stated range" if is_float else "holds no pixel data, or is cut short"
        )
    lacking = [name for name in _NEEDED if header.get(name) is None]
    if lacking:
        raise OSError(f"damaged: its header lacks {', '.join(lacking)}")
    if header.BitsStored > header.BitsAllocated:
        raise OSError("its header contradicts itself: BitsStored is more than BitsAllocated")
    syntax = header.file_meta.TransferSyntaxUID
    _check_decoder(syntax, header.BitsAllocated)
    rows, columns, samples, _ = _sizes(header)
    header.NumberOfFrames = 1  # by now; it may be no number
    if not syntax.is_encapsulated:
        _cut_padding(header, rows, columns, samples)
    else:
        frame = next(generate_frames(CountedBytes(header.PixelData), number_of_frames=1))
        # Run lengths unpack to 64 times as much as is there; a picture takes 129 bytes for 128 at most.
        if syntax == RLELossless and len(frame) > _RLE_HEAD + 2 * rows * columns * samples * header.BitsAllocated // 8:
            raise OSError("damaged: its run lengths are longer than its picture")
        if syntax != RLELossless:
            _check_frame(header, frame, (rows, columns, samples))
    return _mend_high_bit(header)


def _check_frame(header: Dataset, frame: bytes, size: tuple[int, int, int]) -> None:
    """Insist on a whole codestream of a size, and leave nothing else of the pixel data."""
    if frame[4:8] == b"jP  " and (at := frame.find(JPEG_2000)) > 0:
        # PS3.5, 8.2.4 forbids JPEG 2000 the boxes of a JP2 file, and on damaged ones pydicom 3.0 never ends.
        frame = frame[at:]
    found = codestream_size(frame)
    if found is None:
        raise OSError("damaged: its compressed picture does not begin as its transfer syntax says")
    # The decoder allocates what the codestream says, whatever the header says.
    if found != size:
        raise OSError("damaged: its compressed picture is not of the size that its header states")
    # Of a codestream that is cut short some decoders make up the rest, and CharLS never ends.
    check_codestream(frame)
    header.PixelData = encapsulate([frame])  # the table of offsets may have told of less
    for table in _OFFSETS:
        header.pop(table, None)


def _mend_high_bit(header: Dataset) -> tuple[str, ...]:
    """Make HighBit the last of BitsStored, after a look at uncompressed values, which may lie higher than stated."""
    high = Elements(header).number("HighBit")
    if high is None or high == header.BitsStored - 1:
        return ()
    size = header.BitsAllocated // 8
    if not header.file_meta.TransferSyntaxUID.is_encapsulated and size in (1, 2) and header.PixelRepresentation == 0:
        order = "<" if header.file_meta.TransferSyntaxUID.is_little_endian else ">"
        largest = int(np.frombuffer(header.PixelData, f"{order}u{size}").max())
        header.BitsStored = max(header.BitsStored, largest.bit_length())
    header.HighBit = header.BitsStored - 1
    return ("HighBit contradicts BitsStored and counts as absent",)


def _cut_padding(header: Dataset, rows: int, columns: int, samples: int) -> None:
    """Insist on enough uncompressed pixel data, and cut off what lies behind.

    Source: DICOM PS3.5, 8.1.1, which asks readers to accept padding, of any length.
    """
    bits, is_halved = rows * columns * samples * header.BitsAllocated, header.PhotometricInterpretation == _HALVED
    n_bytes, n_found = math.ceil((bits * 2 // 3 if is_halved else bits) / 8), len(header.PixelData)
    if n_found < n_bytes:
        raise OSError(f"cut short: {columns} x {rows} pixels need {n_bytes} bytes of pixel data, there are {n_found}")
    if is_halved and n_found >= bits // 8:
        raise OSError(f"its header contradicts itself: its pixel data is longer than {_HALVED} makes it")
    if n_found > n_bytes + n_bytes % 2:
        header.PixelData = header.PixelData[: n_bytes + n_bytes % 2]


def is_pillow_alone(syntax: UID) -> bool:
    """Say whether Pillow is the only decoder that is installed for a transfer syntax."""
    return tuple(get_decoder(syntax).available_plugins) == ("pillow",)


def _check_decoder(syntax: UID, bits: int) -> None:
    try:
        is_there = get_decoder(syntax).is_available
    except NotImplementedError:
        is_there = False
    # Pillow reads this one up to 8 bits.
    if not is_there or (syntax == JPEGExtended12Bit and bits > 8 and is_pillow_alone(syntax)):
        name = syntax.name if syntax.type == "Transfer Syntax" else "an unknown one"  # never text of the file's own
        raise OSError(f"its transfer syntax, {name}, has no decoder; save it uncompressed")
