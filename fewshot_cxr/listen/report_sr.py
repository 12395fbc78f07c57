"""The same answer for programs: a structured report (TID 1500) in a series of its own, beside the page."""

import hashlib
import math
import unicodedata
from typing import TYPE_CHECKING

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ComprehensiveSRStorage, generate_uid

from fewshot_cxr import __version__
from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.listen.objects import MAKER, MODEL, SERIES_NUMBER, new_object
from fewshot_cxr.listen.page import RESEARCH
from fewshot_cxr.listen.study import Study

if TYPE_CHECKING:
    from highdicom import sr

_SCHEME = "99FSCXR"  # Source: DICOM PS3.3, 8.2: private schemes begin with 99
_LONGEST_CODE, _LONGEST_MEANING = 16, 64
_NEEDS = 'a structured report needs highdicom: pip install "fewshot_cxr[listen]"'


def check_reports() -> None:
    """Insist that reports can be made.

    Raises:
        ImportError: highdicom is not installed.
    """
    try:
        import highdicom  # noqa: F401 - that it is there is all that is asked
    except ImportError as error:
        raise ImportError(_NEEDS) from error


def report_object(answer: Answer, study: Study) -> Dataset:
    """Return an answer as a Comprehensive SR: distances and probabilities as numbers, all else as codes of our own.

    Args:
        answer: of the film.
        study: of the film.

    Source: DICOM PS3.16, TID 1500 (measurement report) and TID 1501 (measurement group).
    """
    from highdicom import sr

    shell = new_object(study, ComprehensiveSRStorage, modality="SR", series_number=SERIES_NUMBER + 1)
    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(prefix=None), name=MODEL, manufacturer_name=MAKER, model_name=__version__
        ),
    )
    film = sr.SourceImageForMeasurementGroup(study.sop_class, study.sop_instance)
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(prefix=None), identifier=RESEARCH),
        measurements=[_number(kind, name, value) for kind, name, value in _numbers(answer)] or None,
        qualitative_evaluations=[
            sr.QualitativeEvaluation(_code(name), _code(value)) for name, value in _statements(answer)
        ],
        source_images=[film],
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=Code("399208008", "SCT", "Plain chest X-ray"),  # of CID 100
        imaging_measurements=[group],
    )
    made = sr.ComprehensiveSR(
        evidence=[_bare_film(study)],
        content=content,
        series_instance_uid=shell.SeriesInstanceUID,
        series_number=shell.SeriesNumber,
        sop_instance_uid=shell.SOPInstanceUID,
        instance_number=1,
        manufacturer=MAKER,
    )
    # The patient and study of the film as they stand there, whatever highdicom would make of odd ones.
    made.update({element.tag: element for element in shell})
    study.put_into(made)
    return made


def _bare_film(study: Study) -> Dataset:
    """Return what a report refers to: which film, and nothing of the patient."""
    film = Dataset()
    film.SOPClassUID, film.SOPInstanceUID = study.sop_class, study.sop_instance
    film.StudyInstanceUID, film.SeriesInstanceUID = study.uid, study.series
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(film, name, "")
    film.StudyDate = film.StudyTime = None
    return film


def _numbers(answer: Answer) -> list[tuple[str, str, float]]:
    found = [("distance", name, value) for name, value in answer.distances.items()]
    found += [("probability", name, value) for name, value in answer.probabilities.items()]
    return [one for one in found if math.isfinite(one[2])]


def _statements(answer: Answer) -> list[tuple[str, str]]:
    told = [("purpose", RESEARCH), ("answer", answer.answer)]
    told += [("reason", answer.reason)] if answer.reason else []
    told += [("nearest finding", answer.finding)] if answer.finding else []
    return told + [("fits", name) for name in answer.fitting or ()]


def _number(kind: str, finding: str, value: float) -> "sr.Measurement":
    from highdicom import sr

    return sr.Measurement(
        name=_code(kind), value=float(f"{value:.6g}"), unit=codes.UCUM.NoUnits, qualifier=_code(finding)
    )


def _code(text: str) -> "sr.CodedConcept":
    """Return a code of our own: the text in ASCII is its meaning, and a short value stands for this text alone."""
    from highdicom import sr

    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    plain = "".join(letter if letter.isascii() else f"U+{ord(letter):04X}" for letter in letters)
    plain = " ".join(plain.replace("\\", "/").split()) or "?"
    short = "".join(letter for letter in plain if letter.isalnum())
    if short != text or len(short) > _LONGEST_CODE:  # others may be as short
        digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        short = short[: _LONGEST_CODE - len(digest)] + digest
    return sr.CodedConcept(value=short, scheme_designator=_SCHEME, meaning=plain[:_LONGEST_MEANING])
