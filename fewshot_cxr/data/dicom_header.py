"""What a Record may know of its film's DICOM header: six facts, the patient under a keyed hash; the rest stays in."""

import hashlib
import hmac
import re
from dataclasses import replace
from pathlib import Path

from fewshot_cxr.data.ages import years_of
from fewshot_cxr.data.dicom import HEAD_BYTES, is_dicom, open_header
from fewshot_cxr.data.dicom_checks import check_film
from fewshot_cxr.data.dicom_kind import KIND_TAGS, text_of, view_of, why_no_chest_film
from fewshot_cxr.data.film import DecodingFacts
from fewshot_cxr.data.no_value import is_nobody
from fewshot_cxr.data.plain_file import open_plain
from fewshot_cxr.data.quiet import quiet
from fewshot_cxr.records import Record

_READ = [
    *KIND_TAGS,
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
]
AGE_TEXT = "the age in the header cannot be read; it is kept, unless it may be a name, as the attribute age_text"
_HARMLESS = re.compile(r"[0-9][0-9A-Za-z.,<>+ ]{0,7}")  # and no name


def read_header(
    path: str | Path, film: Record, *, salt: bytes, keep_ids: bool = False, any_modality: bool = False
) -> Record:
    """Read what a Record needs of a DICOM's header, and not its pixels.

    Args:
        path: of the file.
        film: what is known of it already.
        salt: the key of the patient ids: the first 16 hex digits of HMAC-SHA256(salt, PatientID). The same patient has
            the same id wherever the salt is the same, and without the salt nobody can tell who it is.
        keep_ids: take the PatientID as it stands instead.
        any_modality: take what is no X-ray of the chest, too, and mark it by an attribute of this name.

    Returns:
        The film with what its header says, None where that says nothing; the source is the manufacturer. For the
        view see `view_of`. An age that cannot be
        read is kept as the attribute `age_text`.

    Raises:
        OSError: the file cannot be opened, or is no DICOM of one film of the chest; the text is one sentence.
    """
    with open_plain(path) as stream, quiet:
        head = stream.read(HEAD_BYTES)
        if not is_dicom(head):
            raise OSError("not a DICOM" if head else "the file is empty")
        header = open_header(stream, _READ)
        stranger = why_no_chest_film(header)
        if stranger and not any_modality:
            raise OSError(DecodingFacts(stranger=stranger).refusal)
        check_film(header)
        patient = text_of(header, "PatientID")
        patient = None if patient and is_nobody(patient) else patient  # else all films would be one patient's
        sex = (text_of(header, "PatientSex") or "").upper()
        age = text_of(header, "PatientAge") or ""
        years = years_of(age)
        attributes = {
            "laterality": text_of(header, "ImageLaterality") or text_of(header, "Laterality") or "",
            "age_text": "" if years is not None else age if _HARMLESS.fullmatch(age) else age and "unreadable",
            "any_modality": stranger,
        }
        return replace(
            film,
            view=view_of(header),
            patient_id=patient if keep_ids or patient is None else _hidden(patient, salt),
            source=text_of(header, "Manufacturer"),
            sex=sex if sex in ("M", "F", "O") else None,
            age_years=years,
            attributes={name: text for name, text in attributes.items() if text},
        )


def _hidden(patient: str, salt: bytes) -> str:
    return hmac.new(salt, patient.encode(), hashlib.sha256).hexdigest()[:16]
