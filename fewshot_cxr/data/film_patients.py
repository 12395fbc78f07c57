"""Whose film a file is, without a manifest: by a pattern of its path, or by its DICOM header."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from fewshot_cxr.data.dicom_header import read_header
from fewshot_cxr.data.readers.cells import patient_of_path
from fewshot_cxr.records import Record

_SALT_BYTES = 16


def films_of_patients(files: Sequence[str], *, patient_pattern: str | None = None) -> list[list[str]]:
    """Return the files of each patient, patients in the order of their first file.

    A PatientID is compared, and told to nobody. A film whose patient nobody knows is a patient of its own.

    Args:
        files: of films; one that cannot be opened is of an unknown patient.
        patient_pattern: regular expression, searched in the path; its first group (or, without one, the whole match) is
            the patient, before what a DICOM's header says.

    Raises:
        ValueError: the pattern is no regular expression.
    """
    patient_of, salt = patient_of_path(patient_pattern), secrets.token_bytes(_SALT_BYTES)
    found: dict[tuple[str, str], list[str]] = {}
    for file in files:
        named = patient_of(Path(file).as_posix())
        in_header = None if named is not None else _in_header(Path(file), salt)
        key = ("path", named) if named is not None else ("header", in_header) if in_header else ("film", file)
        found.setdefault(key, []).append(file)
    return list(found.values())


def _in_header(file: Path, salt: bytes) -> str | None:
    try:
        return read_header(file, Record(str(file), ()), salt=salt, any_modality=True).patient_id
    except (OSError, ValueError):
        return None
