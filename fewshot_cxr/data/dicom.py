"""A DICOM film to uint8 gray: what it holds is checked before anything is decoded, and no word of its header gets out.

An error of pydicom may quote the header, and so a patient. So its text never becomes part of ours, nor its cause.
"""

import struct
import zlib
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmread, uid
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filereader import read_dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag

from fewshot_cxr.data.codestream import ANY_CODES, NO_CODES, check_parts, lengthened, may_lack_data
from fewshot_cxr.data.dicom_checks import check_film, check_pixel_data, is_pillow_alone
from fewshot_cxr.data.dicom_gray import to_gray
from fewshot_cxr.data.dicom_kind import doubts_of, is_lateral, view_of, why_no_chest_film
from fewshot_cxr.data.film import LATERAL, DecodedFilm, DecodingFacts
from fewshot_cxr.data.plain_file import TOO_MANY_PARTS, CountedBytes
from fewshot_cxr.data.quiet import quiet

HEAD_BYTES = 132  # as many as is_dicom looks at
_DAMAGED = "damaged: its picture cannot be decoded"
# Named, so that a decoder that happens to be installed too is not asked: GDCM's ends the process on a damaged film. And
# for plain JPEG Pillow takes a third of the time.
_PLUGINS = {
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.JPEGLossless: "pylibjpeg",
    uid.JPEGLosslessSV1: "pylibjpeg",
    uid.JPEGExtended12Bit: "pylibjpeg",
}
_HUFFMAN = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
_MOST_HEADER_BYTES = 2**24
_PIXEL_GROUP = 0x7FE0
_MOST_VALUE_BYTES = 2**20  # but for the pixels; the tables of gray, of 128 KB, are the largest that are used


def is_dicom(head: bytes) -> bool:
    """Return whether a file that begins so is a DICOM: by its magic, or without preamble by its first element."""
    if head[128:132] == b"DICM":
        return True
    # Such a file begins with group 2 (file meta) or 8 (identification), whose first elements have small numbers.
    if len(head) < 8:
        return False
    (group, element), turned = struct.unpack("<HH", head[:4]), struct.unpack(">HH", head[:4])
    return bool((group in (2, 8) and element < 0x100) or (turned[0] == 8 and turned[1] < 0x100))


def decode_dicom(content: bytes, *, bit_depth: int | None = None) -> DecodedFilm:
    """Read one DICOM film as 8-bit gray, as a viewer shows it at first, with what should be said of it.

    The stored values go through the modality LUT or rescale, then the first VOI LUT or else the first window, then,
    for MONOCHROME1 or the presentation LUT shape INVERSE, the inversion. The range of a LUT is that of its table, never
    that of the film. Where neither is stated (an odd one counts as none) values of 8 bits stay as they are, and deeper
    ones lose their low bits as in a picture file, by the smallest of 8/10/12/14/16 bits that holds the film's maximum:
    a film has the same gray as DICOM and as PNG. A deeper film that spreads over less than a quarter of those bits, or
    below 0, reaches from black to white by its own least and largest value instead. Pixel padding is no part of the
    range and is black. Colour, and a palette, become luma.

    Args:
        content: of the whole file.
        bit_depth: of a deep film without window or LUT; None finds it by the maximum.

    Raises:
        OSError: no DICOM, no film or several frames in it, cut short, damaged, too large, a transfer syntax without
            decoder, or a value that needs more bits than `bit_depth`; the text is one sentence and quotes nothing that
            could name a patient.

    Source: DICOM PS3.3, C.7.6.3 (pixels), C.11.1 (modality LUT), C.11.2 (VOI LUT), C.8.11.3 (presentation LUT shape).
    """
    if not is_dicom(content[:HEAD_BYTES]):
        raise OSError("not a DICOM")
    with quiet:
        header = open_header(CountedBytes(content))
        try:
            check_film(header)
            notes = check_pixel_data(header)
            return _show(header, bit_depth, notes)
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
        if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
            return _inflated(stream.read(), meta, tags)
        stream.seek(0)
        header = dcmread(stream, force=True, specific_tags=tags, stop_before_pixels=tags is not None)
        if "TransferSyntaxUID" not in header.file_meta:
            is_implicit, is_little = header.original_encoding
            explicit = uid.ExplicitVRLittleEndian if is_little else uid.ExplicitVRBigEndian
            header.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if is_implicit else explicit
        return _without_large_values(header)
    except MemoryError:
        raise OSError("the picture does not fit into the memory") from None
    except Exception as error:  # as above
        if str(error) == TOO_MANY_PARTS:
            raise OSError(TOO_MANY_PARTS) from None
        raise OSError("damaged or cut short: its DICOM header cannot be parsed") from None


def _inflated(deflated: bytes, meta: Dataset, tags: list[str] | None) -> Dataset:
    """Parse a deflated DICOM; dcmread would inflate it whole, however large it is then.

    Source: DICOM PS3.5, A.5.
    """
    most = _MOST_HEADER_BYTES + (0 if tags else 2 * (Image.MAX_IMAGE_PIXELS or 2**30))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = CountedBytes(inflater.decompress(deflated, most))
    if not (inflater.eof or inflater.unconsumed_tail):
        raise EOFError
    stop = None if tags is None else lambda tag, vr, length: tag.group >= _PIXEL_GROUP
    header = read_dataset(content, False, True, stop_when=stop, specific_tags=[*map(Tag, tags)] if tags else None)
    header.set_original_encoding(False, True)
    header.file_meta = FileMetaDataset(meta)
    header.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian  # as it lies here now
    return _without_large_values(header)


def _without_large_values(header: Dataset) -> Dataset:
    """Leave out what is larger than any value that is used: pydicom would make a million numbers or items of it."""
    for tag in list(header.keys()):
        element = header.get_item(tag)
        value = None if element is None else element.value
        if tag.group != _PIXEL_GROUP and isinstance(value, bytes) and len(value) > _MOST_VALUE_BYTES:
            del header[tag]
    return header


def _show(header: Dataset, bit_depth: int | None, notes: tuple[str, ...]) -> DecodedFilm:
    pixels, bits = _decode(header)
    if pixels.ndim == 2:
        gray, facts = to_gray(pixels, header, bit_depth=bit_depth)
    else:
        colours = (pixels >> max(bits - 8, 0)).astype(np.uint8)
        gray, facts = np.array(Image.fromarray(colours).convert("L")), DecodingFacts()
    stranger = why_no_chest_film(header)
    doubts = () if stranger else doubts_of(header)
    notes += (*facts.notes, *([LATERAL] if is_lateral(view_of(header)) else []), *doubts)
    return DecodedFilm(gray, replace(facts, notes=notes, stranger=stranger))


def _decode(header: Dataset) -> tuple[np.ndarray, int]:
    """Return the stored values, or colours, and how many bits each has."""
    try:
        pixels = _pixels(header, _plugin(header))
        if header.PhotometricInterpretation == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, header)[..., :3]
            return pixels, 8 * pixels.dtype.itemsize
        return pixels, int(header.BitsStored)
    except OSError:  # of a plug-in, not of ours
        raise OSError(_DAMAGED) from None


def _plugin(header: Dataset) -> str:
    syntax = header.file_meta.TransferSyntaxUID
    plugin = _PLUGINS.get(syntax, "")
    if plugin == "pillow" and header.SamplesPerPixel > 1:
        plugin = "pylibjpeg"  # it knows the colour spaces of DICOM
    # Its libjpeg, which is under the GPL, may be left out.
    return "pillow" if plugin == "pylibjpeg" and is_pillow_alone(syntax) else plugin


def _pixels(header: Dataset, plugin: str) -> np.ndarray:
    """Decode the pixels, and insist that the data does for all of them."""
    if header.file_meta.TransferSyntaxUID not in _HUFFMAN:
        return pixel_array(header, raw=False, decoding_plugin=plugin)
    frame = next(generate_frames(header.PixelData, number_of_frames=1))
    check_parts(frame)
    pixels = None
    if plugin == "pillow":
        pixels = pixel_array(header, raw=False, decoding_plugin=plugin)
        height, width = pixels.shape[:2]
        last = pixels[(height - 1) // 8 * 8 :, (width - 1) // 8 * 8 :]
        if not may_lack_data(frame, bool((last == last[0, 0]).all())):
            return pixels
    header.PixelData = encapsulate([lengthened(frame, ANY_CODES if plugin == "pillow" else NO_CODES)])
    again = pixel_array(header, raw=False, decoding_plugin=plugin)
    if pixels is not None and not np.array_equal(again, pixels):
        raise OSError
    return again
