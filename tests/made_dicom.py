"""DICOM films as an acquisition would write them, and what is packed into them."""

import struct
import warnings
from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

NAME, NUMBER = "DOE^JANE", "MRN-4711"


def dataset(pixels, *, bits=None, syntax=ExplicitVRLittleEndian, **elements):
    """A film as an acquisition would write it; `elements` are added or, as None, taken away."""
    pixels = np.asarray(pixels)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    header = Dataset()
    header.file_meta, header.preamble = meta, b"\0" * 128
    is_colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    allocated = 8 * pixels.dtype.itemsize
    given = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "PatientName": NAME,
        "PatientID": NUMBER,
        "Rows": pixels.shape[-3 if is_colour else -2],
        "Columns": pixels.shape[-2 if is_colour else -1],
        "SamplesPerPixel": 3 if is_colour else 1,
        "PhotometricInterpretation": "RGB" if is_colour else "MONOCHROME2",
        "PlanarConfiguration": 0 if is_colour else None,
        "BitsAllocated": allocated,
        "BitsStored": bits or allocated,
        "HighBit": (bits or allocated) - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.astype(pixels.dtype.newbyteorder("><"[UID(syntax).is_little_endian])).tobytes(),
    }
    for name, value in (given | elements).items():
        if value is not None:
            with warnings.catch_warnings(action="ignore"):  # some are wrong on purpose
                setattr(header, name, value)
    header["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return header


def content_of(header, **options):
    with warnings.catch_warnings(action="ignore"):
        stream = BytesIO()
        header.save_as(stream, enforce_file_format=True, **options)
    return stream.getvalue()


def encapsulated(codestream, pixels, syntax, **elements):
    header = dataset(pixels, syntax=syntax, PixelData=encapsulate([codestream]), **elements)
    header["PixelData"].is_undefined_length = True
    return content_of(header)


def jpeg(pixels, **options):
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def lossless_jpeg(pixels, bits):
    """ITU-T T.81, annex H: the left neighbour predicts; every category has a code of 5 bits."""
    values = pixels.astype(int)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 2 ** (bits - 1)
    code = ""
    for difference in (values - predicted).ravel():
        difference = (difference + 2**15) % 2**16 - 2**15
        category = int(abs(difference)).bit_length()
        code += f"{category:05b}"
        if 0 < category < 16:
            code += f"{difference if difference > 0 else difference + 2**category - 1:0{category}b}"
    code += "1" * (-len(code) % 8)
    data = bytes(int(code[at : at + 8], 2) for at in range(0, len(code), 8)).replace(b"\xff", b"\xff\0")
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    frame = struct.pack(">BHHBBBB", bits, *values.shape, 1, 1, 0x11, 0)
    scan = bytes([1, 1, 0, 1, 0, 0])
    segments = ((0xC4, table), (0xC3, frame), (0xDA, scan))
    head = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return b"\xff\xd8" + head + data + b"\xff\xd9"
