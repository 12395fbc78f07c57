"""Of a film an object carries what is listed, byte for byte, and nothing else."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from made_dicom import content_of
from made_listen import STUDY, film_to_send
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from fewshot_cxr.data.quiet import quiet
from fewshot_cxr.listen.objects import file_content, page_object
from fewshot_cxr.listen.study import CARRIED, read_study

PICTURE = np.zeros((4, 5), dtype=np.uint8)
OURS = {
    *("ImageType", "InstanceCreationDate", "InstanceCreationTime", "SOPClassUID", "SOPInstanceUID", "SeriesDate"),
    *("ContentDate", "SeriesTime", "ContentTime", "Modality", "ConversionType", "Manufacturer", "SeriesDescription"),
    *("ManufacturerModelName", "DerivationDescription", "SourceImageSequence", "DateOfSecondaryCapture"),
    *("TimeOfSecondaryCapture", "SecondaryCaptureDeviceManufacturer", "SecondaryCaptureDeviceManufacturerModelName"),
    *("SecondaryCaptureDeviceSoftwareVersions", "SoftwareVersions", "SeriesInstanceUID", "SeriesNumber"),
    *("InstanceNumber", "PatientOrientation", "Laterality", "ImageComments", "SamplesPerPixel", "Rows", "Columns"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "WindowCenter"),
    *("WindowWidth", "BurnedInAnnotation", "LossyImageCompression", "PixelData"),
}


def page_of(film):
    made = page_object(PICTURE, read_study(content_of(film)))
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(file_content(made)))


def test_nothing_is_carried_that_is_not_listed():
    film = film_to_send(PatientAge="040Y", EthnicGroup="x", OperatorsName="JANE", DeviceSerialNumber="4711")
    film.add_new(0x00091010, "LO", "JANE")
    film.add_new(0x00101001, "PN", "JANE^OTHER")
    page = page_of(film)
    assert {element.keyword for element in page} <= OURS | set(CARRIED)
    for name in CARRIED:
        if name in film:
            assert page[name].value == film[name].value


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_it_is_the_same_in_every_transfer_syntax(syntax):
    page = page_of(film_to_send(syntax=syntax))
    assert (page.StudyInstanceUID, page.PatientName, page.PatientBirthDate) == (STUDY, "DOE^JANE", "19610213")


def test_a_name_in_another_script_keeps_its_bytes():
    charsets, name = ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"
    content = content_of(film_to_send(SpecificCharacterSet=charsets, PatientName=name))
    page = file_content(page_object(PICTURE, read_study(content)))
    written = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content)).get_item("PatientName").value
    again = pydicom.dcmread(pydicom.filebase.DicomBytesIO(page))
    assert again.get_item("PatientName").value == written
    assert str(again.PatientName) == name


@pytest.mark.parametrize("charset", [None, "ISO_IR 100", "ISO_IR 192", "ISO 2022 IR 87", "JANE"])
def test_a_name_that_no_character_set_explains_keeps_its_bytes(charset):
    odd = b"M\xfc\xffl\x1b^\x00l"
    content = content_of(film_to_send(SpecificCharacterSet=charset)).replace(b"DOE^JANE", odd)
    assert odd in content
    with quiet:
        assert odd in file_content(page_object(PICTURE, read_study(content)))


def test_what_is_empty_or_absent_is_empty():
    page = page_of(film_to_send(PatientID="", PatientName=None, StudyDate=None, StudyDescription=None))
    assert (page.PatientID, page.PatientName, page.StudyDate) == ("", "", "")
    assert "StudyDescription" not in page
    assert "SpecificCharacterSet" not in page


def test_a_film_that_lost_something_stays_one():
    assert page_of(film_to_send(LossyImageCompression="01")).LossyImageCompression == "01"
    assert page_of(film_to_send()).LossyImageCompression == "00"


def test_it_has_no_text_that_could_get_into_a_log():
    study = read_study(content_of(film_to_send()))
    assert "JANE" not in repr(study)
    assert "4711" not in repr(replace(study, is_lossy=True))
