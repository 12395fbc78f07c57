"""Pictures that are damaged, made from whole ones of every format and codec that can be written here."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
from made_dicom import content_of, dataset, encapsulated, jpeg, lossless_jpeg
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

_OPTIONS = {
    "gray.png": {},
    "plain.jpg": {},
    "progressive.jpg": {"progressive": True},
    "restarts.jpg": {"restart_marker_rows": 2},
    "plain.tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "deflate.tif": {"compression": "tiff_adobe_deflate"},
    "jpeg.tif": {"compression": "jpeg"},
    "gray.bmp": {},
    "gray.gif": {},
    "lossy.webp": {},
    "lossless.webp": {"lossless": True},
    "gray.jp2": {},
    "gray.j2k": {},
    "gray.pgm": {},
}


def textured(height=60, width=75, seed=0) -> np.ndarray:
    """Return a picture of 8 bits without a flat part, that a lossy codec keeps nearly."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    values = 120 + 60 * np.sin(x / 9 + seed) + 40 * np.cos(y / 7) + rng.normal(0, 4, x.shape)
    return np.clip(values, 0, 250).astype(np.uint8)


def whole_pictures(seed=0) -> dict[str, bytes]:
    """Return by its name a picture file of each format, as bytes."""
    film = textured(seed=seed)
    found = {}
    for name, options in _OPTIONS.items():
        stream = BytesIO()
        kind = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000", "j2k": "JPEG2000", "pgm": "PPM"}
        suffix = name.rpartition(".")[2]
        if suffix == "j2k":
            options = {"no_jp2": True}
        Image.fromarray(film).save(stream, kind.get(suffix, suffix.upper()), **options)
        found[name] = stream.getvalue()
    deep = BytesIO()
    Image.fromarray(film.astype(np.uint16) * 256).save(deep, "PNG")
    text = f"P2\n{film.shape[1]} {film.shape[0]}\n255\n" + "\n".join(" ".join(map(str, row)) for row in film) + "\n"
    return found | {"deep.png": deep.getvalue(), "text.pgm": text.encode()}


def whole_frames(seed=0) -> dict[str, tuple[bytes, np.ndarray, str, dict[str, object]]]:
    """Return by its codec a packed frame, and its pixels, transfer syntax and other elements for `encapsulated`."""
    film = textured(seed=seed)
    deep, colours = film.astype(np.uint16) * 16, np.stack([film, film[::-1], 255 - film], -1)
    ybr = {"PhotometricInterpretation": "YBR_FULL_422"}
    found: dict[str, tuple[bytes, np.ndarray, str, dict[str, object]]] = {
        "baseline": (jpeg(film), film, JPEGBaseline8Bit, {}),
        "baseline with restarts": (jpeg(film, restart_marker_rows=1), film, JPEGBaseline8Bit, {}),
        "colour baseline": (jpeg(colours), colours, JPEGBaseline8Bit, ybr),
        "extended": (jpeg(film), film, JPEGExtended12Bit, {}),
        "lossless": (lossless_jpeg(film, 8), film, JPEGLossless, {}),
        "lossless SV1": (lossless_jpeg(film, 8), film, JPEGLosslessSV1, {}),
        "deep lossless SV1": (lossless_jpeg(deep, 12), deep, JPEGLosslessSV1, {"bits": 12}),
    }
    for name, pixels, syntax in (
        ("JPEG-LS", film, JPEGLSLossless),
        ("deep JPEG-LS", deep, JPEGLSLossless),
        ("colour JPEG-LS", colours, JPEGLSLossless),
        ("JPEG 2000", film, JPEG2000Lossless),
        ("deep JPEG 2000", deep, JPEG2000Lossless),
        ("lossy JPEG 2000", film, JPEG2000),
        ("RLE", film, RLELossless),
    ):
        bits = {"bits": 12} if pixels is deep else {}
        header = dataset(pixels, **bits)
        header.compress(syntax, generate_instance_uid=False, **({"j2k_cr": [4]} if syntax == JPEG2000 else {}))
        found[name] = (next(generate_frames(header.PixelData, number_of_frames=1)), pixels, syntax, bits)
    return found


def whole_dicoms(seed=0) -> dict[str, bytes]:
    """Return by its name a DICOM file of each codec, as bytes."""
    film = textured(seed=seed)
    packed = {
        f"{codec}.dcm": encapsulated(frame, pixels, syntax, **elements)
        for codec, (frame, pixels, syntax, elements) in whole_frames(seed).items()
    }
    plain = {
        f"{name}.dcm": content_of(dataset(film, syntax=syntax))
        for name, syntax in (("plain", ExplicitVRLittleEndian), ("deflated", DeflatedExplicitVRLittleEndian))
    }
    return packed | plain


def cuts(content: bytes, n_places=20) -> Iterator[bytes]:
    """Yield what is left of a file that is cut short at so many places, and by its last bytes."""
    for place in range(1, n_places):
        yield content[: len(content) * place // n_places]
    for n_bytes in (2, 3, 4, 8, 16, 50):
        yield content[:-n_bytes]


def zero_tails(content: bytes, n_places=20) -> Iterator[bytes]:
    """Yield a file whose last part is zeros, as after a loss of power."""
    for place in range(1, n_places):
        kept = len(content) * place // n_places
        yield content[:kept] + bytes(len(content) - kept)
    for n_bytes in (16, 50):
        yield content[:-n_bytes] + bytes(n_bytes)
