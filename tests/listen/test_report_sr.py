"""The structured report says what the page says, of the same film, and no odd header is in its way."""

import numpy as np
import pydicom
import pytest
from made_dicom import content_of
from made_listen import STUDY, film_to_send, listening, pages_in, send

from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.listen.answers import Asking
from fewshot_cxr.listen.objects import file_content
from fewshot_cxr.listen.report_sr import report_object
from fewshot_cxr.listen.study import read_study

sr = pytest.importorskip("highdicom", reason="the extra [listen] is not installed").sr

ANSWER = Answer(
    "film",
    "Erguß",
    "Erguß",
    distances={"Erguß": 1.25, "normal": 2.5, "a\\b": float("inf")},
    probabilities={"Erguß": 0.75, "normal": 0.25},
    fitting=("Erguß",),
)


def read_back(made):
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(file_content(made)))


def report_of(answer, **elements):
    return read_back(report_object(answer, read_study(content_of(film_to_send(**elements)))))


def group_of(report):
    (group,) = sr.MeasurementReport.from_sequence([report]).get_image_measurement_groups()
    return group


def test_it_says_what_the_answer_says():
    report = report_of(ANSWER)
    group = group_of(report)
    told = [(one.name.meaning, one.qualifier.meaning, one.value) for one in group.get_measurements()]
    distances = [("distance", "ErguU+00DF", 1.25), ("distance", "normal", 2.5)]
    assert told == [*distances, ("probability", "ErguU+00DF", 0.75), ("probability", "normal", 0.25)]
    said = [(one[0].name.meaning, one[0].value.meaning) for one in group.get_qualitative_evaluations()]
    research = ("purpose", "RESEARCH, NOT FOR DIAGNOSIS")
    assert said == [research, ("answer", "ErguU+00DF"), ("nearest finding", "ErguU+00DF"), ("fits", "ErguU+00DF")]
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "PARTIAL",
        "UNVERIFIED",
        "PRELIMINARY",
    )


def test_it_refers_to_the_film_and_carries_its_patient():
    report = report_of(ANSWER)
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == report.StudyInstanceUID == STUDY
    (series,) = study.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.826.0.1.4711.9.0"
    assert (report.PatientID, report.PatientName) == ("MRN-4711", "DOE^JANE")
    assert "PatientComments" not in report


@pytest.mark.parametrize(
    "odd",
    [
        {"PatientSex": "JANE", "StudyDate": "JANE", "StudyTime": "noon", "PatientBirthDate": "1961"},
        {"SpecificCharacterSet": "JANE"},
        {"PatientName": "A=B=C=D=E^^^^^^^^", "ReferringPhysicianName": "X" * 200},
        {"PatientID": None, "PatientName": None, "StudyID": None},
    ],
)
@pytest.mark.filterwarnings("ignore")  # of pydicom, which reads it back here
def test_an_odd_header_is_in_nobodys_way(odd):
    report = report_of(ANSWER.abstained("unknown", "far"), **odd)
    said = [one[0].value.meaning for one in group_of(report).get_qualitative_evaluations()]
    assert said[1:3] == ["abstained", "unknown"]


def test_it_goes_beside_the_page(tmp_path):
    with listening(tmp_path, asking=Asking(with_report=True)) as listener:
        send(listener.port, [film_to_send(), film_to_send(1)])
        listener.drain()
    made = pages_in(tmp_path)
    assert sorted(one.Modality for one in made) == ["OT", "OT", "SR", "SR"]
    assert len({one.SeriesInstanceUID for one in made}) == 4
    assert {one.SeriesNumber for one in made} == {9900, 9901}
    assert np.unique([one.StudyInstanceUID for one in made]).tolist() == [STUDY]


def test_other_texts_have_other_codes_and_all_can_be_told_apart():
    names = (
        "TB",
        "TB+",
        "TB-",
        "pleural thickening, mild",
        "pleural thickening, severe",
        "\u80ba\u708e",
        "\u7ed3\u6838",
    )
    group = group_of(report_of(Answer("film", names[0], names[0], distances=dict.fromkeys(names, 1.0))))
    codes = [one.qualifier for one in group.get_measurements()]
    assert len({code.value for code in codes}) == len({code.meaning for code in codes}) == len(names)
    assert codes[0].value == "TB"
    assert codes[5].meaning == "U+80BAU+708E"
    assert all(len(code.value) <= 16 for code in codes)
