"""What a Record may know of its film's DICOM header: six facts, the patient under a keyed hash; the rest stays in."""

import hashlib
import hmac
import re
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset

from fewshot_cxr.data.dicom import HEAD_BYTES, check_film, is_dicom, open_header
from fewshot_cxr.data.quiet import quiet
from fewshot_cxr.records import Record

_READ = [
    "ImageLaterality",
    "Laterality",
    "Manufacturer",
    "NumberOfFrames",
    "PatientAge",
    "PatientID",
    "PatientSex",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "SeriesDescription",
    "ViewPosition",
]
_VIEW = re.compile(r"(?<![A-Z])(PA|AP|LL|RL|LATERAL)(?![A-Z])")
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def read_header(path: str | Path, film: Record, *, salt: bytes, keep_ids: bool = False) -> Record:
    """Read what a Record needs of a DICOM's header, and not its pixels.

    Args:
        path: of the file.
        film: what is known of it already.
        salt: the key of the patient ids: the first 16 hex digits of HMAC-SHA256(salt, PatientID). The same patient has
            the same id wherever the salt is the same, and without the salt nobody can tell who it is.
        keep_ids: take the PatientID as it stands instead.

    Returns:
        The film with what its header says, None where that says nothing; the source is the manufacturer. The view is
        ViewPosition, or else the one of PA, AP, LL, RL, LATERAL that SeriesDescription names.

    Raises:
        OSError: the file cannot be opened, or is no DICOM of one film; the text is one sentence.
    """
    with _open(path) as stream, quiet:
        head = stream.read(HEAD_BYTES)
        if not is_dicom(head):
            raise OSError("not a DICOM" if head else "the file is empty")
        header = open_header(stream, _READ)
        check_film(header)
        patient = _text(header, "PatientID")
        sex = (_text(header, "PatientSex") or "").upper()
        laterality = _text(header, "ImageLaterality") or _text(header, "Laterality")
        return replace(
            film,
            view=_view(header),
            patient_id=patient if keep_ids or patient is None else _hidden(patient, salt),
            source=_text(header, "Manufacturer"),
            sex=sex if sex in ("M", "F", "O") else None,
            age_years=_age(_text(header, "PatientAge") or ""),
            attributes={"laterality": laterality} if laterality else {},
        )


def _open(path: str | Path) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise type(error)(f"the file cannot be opened: {error.strerror}") from error


def _text(header: Dataset, name: str) -> str | None:
    try:
        value = header.get(name)
    except Exception:  # a damaged element, which pydicom parses only now
        return None
    return None if value is None else " ".join(str(value).split()) or None


def _hidden(patient: str, salt: bytes) -> str:
    return hmac.new(salt, patient.encode(), hashlib.sha256).hexdigest()[:16]


def _view(header: Dataset) -> str | None:
    if stated := _text(header, "ViewPosition"):
        return stated.upper()
    named = set(_VIEW.findall((_text(header, "SeriesDescription") or "").upper()))
    return named.pop() if len(named) == 1 else None


def _age(text: str) -> float | None:
    """Source: DICOM PS3.5, 6.2, the value representation AS: three digits and D, W, M or Y."""
    found = re.fullmatch(r"(\d{3})([DWMY])", text)
    return round(int(found[1]) * _YEARS[found[2]], 3) if found else None
