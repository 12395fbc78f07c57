"""Whose a film is: what of its patient and study stands again in every object that is added to that study."""

import re
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from fewshot_cxr.data.dicom import open_header
from fewshot_cxr.data.dicom_checks import check_film
from fewshot_cxr.data.dicom_kind import text_of
from fewshot_cxr.data.quiet import quiet

PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
STUDY = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "StudyDescription",
)
CARRIED = ("SpecificCharacterSet", *PATIENT, *STUDY)
"""All that is taken from a film, and nothing else, whatever its header holds."""
_WHERE_STATED = {"SpecificCharacterSet", "IssuerOfPatientID", "StudyDescription"}  # the others may be empty, not absent
_NEEDED_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_READ = [*CARRIED, *_NEEDED_UIDS, "LossyImageCompression"]
_READ += ["Rows", "Columns", "SamplesPerPixel", "NumberOfFrames"]
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LONGEST_UID, _LONGEST_VALUE = 64, 1024
_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91")


@dataclass(frozen=True, repr=False)
class Study:
    """Whose a film is, and which film. It has no text of its own, so that none gets into a log.

    Args:
        elements: of CARRIED, with the very bytes that the film has; what it does not state is empty.
        sop_class: of the film.
        sop_instance: of the film.
        series: UID of its series.
        uid: of the study.
        is_lossy: whether its pixels have ever been compressed with a loss.
    """

    elements: tuple[RawDataElement, ...]
    sop_class: str
    sop_instance: str
    series: str
    uid: str
    is_lossy: bool

    def put_into(self, made: Dataset) -> None:
        """Make an object one of this patient and study; its text of our own has to be ASCII."""
        for element in self.elements:
            made[element.tag] = element
        # Else pydicom would decode them when they are written, and put something else where it cannot.
        stated = made.get("SpecificCharacterSet")
        made.set_original_encoding(False, True, convert_encodings(stated) if stated else default_encoding)


def read_study(content: bytes) -> Study:
    """Read whose film a DICOM file is, and insist that it is one film.

    Args:
        content: of the whole file.

    Raises:
        OSError: its header cannot be read.
        ValueError: it is no single film, or does not say of which study. No text of either quotes the header.
    """
    with quiet:
        header = open_header(BytesIO(content), _READ)
        try:
            check_film(header)
        except OSError as error:
            raise ValueError(str(error)) from None
        uids = {name: (text_of(header, name) or "") for name in _NEEDED_UIDS}
        for name, uid in uids.items():
            if len(uid) > _LONGEST_UID or not _UID.fullmatch(uid):
                raise ValueError(f"its {name} is missing or none")
        syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
        return Study(
            elements=tuple(one for name in CARRIED if (one := _carried(header, name)) is not None),
            sop_class=uids["SOPClassUID"],
            sop_instance=uids["SOPInstanceUID"],
            series=uids["SeriesInstanceUID"],
            uid=uids["StudyInstanceUID"],
            is_lossy=syntax in _LOSSY or text_of(header, "LossyImageCompression") == "01",
        )


def _carried(header: Dataset, name: str) -> RawDataElement | None:
    """Return an element as it stands in a film, whatever is wrong with its text."""
    tag = Tag(name)
    found = header.get_item(tag) if tag in header else None
    value = b"" if found is None or found.value is None else found.value
    if not isinstance(value, bytes):  # pydicom has looked at it: the character set, a UID
        text = "\\".join(value) if isinstance(value, (list, tuple)) or hasattr(value, "append") else str(value)
        value = text.encode("ascii", errors="replace")
    if len(value) > _LONGEST_VALUE:
        raise ValueError(f"its {name} is longer than any")
    if not value and name in _WHERE_STATED:
        return None
    vr = dictionary_VR(tag)
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return RawDataElement(tag, vr, len(value), value, 0, False, True)
