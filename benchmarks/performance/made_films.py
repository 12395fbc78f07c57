"""Films to measure with, made on the spot: those of FSCXR_DATA enlarged, or drawn ones, as JPEG, PNG or DICOM."""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmwrite, uid

from fewshot_cxr.data import is_image_name, read_gray
from fewshot_cxr.data.synthetic import SCANNERS, SYNTHETIC_FINDINGS, draw_film
from fewshot_cxr.records import Record, Records

N_DIFFERENT = 16  # drawn and packed; the others differ from these in a comment of the file
GRAIN = 3.0  # gray values, as the noise of a detector
N_FINDINGS = 4


def write_films(folder: Path, n_films: int, *, kind: str = "jpeg", size_px: int = 1024) -> Records:
    """Write films, each a patient's own, and no two files of the same bytes.

    Args:
        folder: where they go.
        n_films: how many.
        kind: "jpeg", "png" or "dicom".
        size_px: side.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pack, label, suffix = KINDS[kind]
    packed = [pack(film) for film in _films(min(N_DIFFERENT, n_films), size_px)]
    films = []
    for number in range(n_films):
        name = f"{number:06d}{suffix}"
        (folder / name).write_bytes(label(packed[number % len(packed)], number))
        films.append(Record(name, (f"finding{number % N_FINDINGS}",), patient_id=f"p{number}", source="made"))
    return Records(tuple(films), folder)


def _films(n_films: int, size_px: int) -> list[np.ndarray]:
    grain, films = np.random.default_rng(0), []
    for film in _small_films(n_films):
        large = np.asarray(Image.fromarray(film).resize((size_px, size_px), Image.Resampling.BICUBIC), np.float32)
        noise = GRAIN * grain.standard_normal(large.shape, np.float32)
        films.append((large + noise).clip(0, 255).round().astype(np.uint8))
    return films


def _small_films(n_films: int) -> list[np.ndarray]:
    if root := os.environ.get("FSCXR_DATA"):
        files = [file for file in sorted(Path(root, "cxr3").rglob("*")) if is_image_name(file.name)]
        if files:
            return [read_gray(file) for file in files[:: max(1, len(files) // n_films)][:n_films]]
    whose = list(SCANNERS)
    return [
        draw_film(SYNTHETIC_FINDINGS[0], seed=0, patient=one, film=0, source=whose[one % len(whose)], size_px=256)
        for one in range(n_films)
    ]


def _jpeg(film: np.ndarray) -> bytes:
    return _saved(film, "JPEG", quality=90)


def _png(film: np.ndarray) -> bytes:
    return _saved(film, "PNG")


def _saved(film: np.ndarray, form: str, **options: int) -> bytes:
    file = BytesIO()
    Image.fromarray(film).save(file, form, **options)
    return file.getvalue()


def _dicom(film: np.ndarray) -> bytes:
    """Pack 12 bits with a window, unpacked, as most detectors write them."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, uid.generate_uid()
    header.Modality, header.BodyPartExamined, header.ViewPosition = "DX", "CHEST", "PA"
    header.Rows, header.Columns = film.shape
    header.SamplesPerPixel, header.PhotometricInterpretation, header.PixelRepresentation = 1, "MONOCHROME2", 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.WindowCenter, header.WindowWidth = 2048, 4096
    header.add_new("PixelData", "OW", (film.astype("<u2") << 4).tobytes())
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    file = BytesIO()
    dcmwrite(file, header, enforce_file_format=True)
    return file.getvalue()


def _jpeg_comment(packed: bytes, number: int) -> bytes:
    return packed[:2] + b"\xff\xfe\x00\x08%06d" % number + packed[2:]


def _behind(packed: bytes, number: int) -> bytes:
    """Change nothing but the last pixels of a DICOM's last row, or what lies behind the end of a PNG."""
    last = np.array([number // 4096, number % 4096], "<u2").tobytes()
    return packed + b"%06d" % number if packed[1:4] == b"PNG" else packed[: -len(last)] + last


KINDS: dict[str, tuple[Callable[[np.ndarray], bytes], Callable[[bytes, int], bytes], str]] = {
    "jpeg": (_jpeg, _jpeg_comment, ".jpg"),
    "png": (_png, _behind, ".png"),
    "dicom": (_dicom, _behind, ".dcm"),
}
