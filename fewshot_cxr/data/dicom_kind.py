"""What a DICOM is a picture of, by its own header: an X-ray of the chest, or something else."""

import re

from pydicom import Dataset

# Source: DICOM PS3.3, C.7.3.1.1.1. CR, DX, DR, RG, RF and XA are X-rays; OT, SC and HC say nothing.
_CODES_OF = {
    "computed tomography": "CT",
    "magnetic resonance": "MR",
    "ultrasound": "US BDUS IVUS",
    "positron emission tomography": "PT",
    "nuclear medicine": "NM",
    "mammography": "MG",
    "bone densitometry": "BMD",
    "a dental film": "IO PX",
    "a photograph of the eye": "OP",
    "a tomography of the eye": "OPT",
    "a map of the eye": "OPM",
    "optical coherence tomography": "OCT IVOCT",
    "a photograph": "XC",
    "endoscopy": "ES",
    "microscopy": "GM SM",
    "dermoscopy": "DMS",
    "an electrocardiogram": "ECG",
    "a segmentation": "SEG",
    "a report": "SR",
    "a document": "DOC",
    "a presentation state": "PR",
    "a selection of objects": "KO",
    "a registration": "REG",
    "radiotherapy": "RTIMAGE RTDOSE RTSTRUCT RTPLAN",
}
_OTHER_MODALITIES = {code: what for what, codes in _CODES_OF.items() for code in codes.split()}
# Source: DICOM PS3.16, annex L. Those that a film of the chest may bear are not here: RIB, TSPINE, SHOULDER, HEART, ...
_OTHER_PARTS = re.compile(
    "ABDOMEN|ANKLE|ARM|BRAIN|BREAST|CALCANEUS|COCCYX|CSPINE|ELBOW|EXTREMITY|EYE|FACE|FEMUR|FINGER|FOOT|FOREARM|HAND|HEAD|"
    "HEADNECK|HIP|HUMERUS|JAW|KNEE|LEG|LSPINE|MANDIBLE|MAXILLA|NECK|ORBIT|PATELLA|PELVIS|RADIUS|SINUS|SKULL|TEETH|THIGH|"
    "TIBIA|TOE|TOOTH|ULNA|WRIST|ZYGOMA"
)
_X_RAYS = frozenset({"CR", "DX", "DR", "RG", "RF", "XA", "DF", "DS", "OT", "SC", "HC"})
_CHEST = re.compile("CHEST|THORA|TORA|LUNG|PULM|POUMON|BRUST|PECHO|CXR")
_DOUBTS = (
    "the modality in the header is none that is known; look whether it is an X-ray",
    "no word of the body part in the header means the chest; look whether it is one",
)
# Source: DICOM PS3.16, CID 4010, in SNOMED CT and, as older machines write them, in SNOMED RT.
_VIEW_OF_CODE = {
    **dict.fromkeys(("272479007", "R-40888"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399173006", "R-10236"), "LL"),
    **dict.fromkeys(("399198007", "R-10232"), "RL"),
    **dict.fromkeys(("399067008", "R-102CD"), "LATERAL"),
}
KIND_TAGS = ["BodyPartExamined", "Modality", "SeriesDescription", "ViewCodeSequence", "ViewPosition"]
_VIEW = re.compile(r"(?<![A-Z])(PA|AP|LL|RL|LLAT|RLAT|LAT|LATERAL|FRONTAL)(?![A-Z])")
_DOTTED = re.compile(r"\b([A-Z])\. ?([A-Z])\b")  # p.a.
_LATERAL = re.compile(r"(?<![A-Z])(LL|RL|LLAT|RLAT|LAT|LATERAL)(?![A-Z])")
_LYING = re.compile("DECUB")  # on the side, and seen from the front or the back


def why_no_chest_film(header: Dataset) -> str:
    """Return why a header is not that of an X-ray of the chest, in words of ours; "" where nothing says so."""
    modality, parts = _words(header, "Modality")[:1], _words(header, "BodyPartExamined")
    if modality and (other := _OTHER_MODALITIES.get(modality[0])):
        return f"no chest X-ray: its modality is {modality[0]}, {other}"
    if parts and all(map(_OTHER_PARTS.fullmatch, parts)):
        return f"no chest X-ray: its body part is {' '.join(parts)}"
    return ""


def doubts_of(header: Dataset) -> tuple[str, ...]:
    """Return what of a header is unusual for an X-ray of the chest, though it may be one."""
    modality, parts = _words(header, "Modality")[:1], _words(header, "BodyPartExamined")
    is_odd = (bool(modality) and modality[0] not in _X_RAYS, bool(parts) and not any(map(_CHEST.search, parts)))
    return tuple(doubt for doubt, is_there in zip(_DOUBTS, is_odd, strict=True) if is_there)


def _words(header: Dataset, name: str) -> list[str]:
    return re.findall("[A-Z]+", (text_of(header, name) or "").upper())


def view_of(header: Dataset) -> str | None:
    """Return ViewPosition, else the view by its code, else the one that SeriesDescription names; in large letters."""
    if stated := text_of(header, "ViewPosition"):
        return stated.upper()
    if coded := _VIEW_OF_CODE.get(_view_code(header)):
        return coded
    described = _DOTTED.sub(r"\1\2", (text_of(header, "SeriesDescription") or "").upper())
    named = set(_VIEW.findall(described))  # a series may be called after the views of all its films
    return named.pop() if len(named) == 1 and "FRONTAL" not in named else None


def _view_code(header: Dataset) -> str:
    try:
        return str(header["ViewCodeSequence"].value[0].CodeValue)
    except Exception:  # absent, empty or damaged, which pydicom parses only now
        return ""


def is_lateral(view: str | None) -> bool:
    """Return whether a view is seen from the side, as LL, LLAT and "LEFT LATERAL" are.

    Source: DICOM PS3.3, C.8.11.5.1.1 (LL, RL; LLD and RLD are of patients who lie on the side); machines write others.
    """
    words = (view or "").upper()
    return bool(_LATERAL.search(words)) and not _LYING.search(words)


def text_of(header: Dataset, name: str) -> str | None:
    """Return an element as text with single blanks; None where it is empty, absent or damaged."""
    try:
        value = header.get(name)
    except Exception:  # a damaged element, which pydicom parses only now
        return None
    return None if value is None else " ".join(str(value).split()) or None
