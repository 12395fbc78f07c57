"""The page as a Secondary Capture image in a new series of the film's study."""

from datetime import datetime
from io import BytesIO

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from fewshot_cxr import __version__
from fewshot_cxr.listen.page import RESEARCH
from fewshot_cxr.listen.study import Study

MAKER, MODEL = "fewshot_cxr", "fscxr listen"
SERIES_NUMBER = 9900  # behind those that a scanner gives


def page_object(picture: np.ndarray, study: Study) -> Dataset:
    """Return a page as DICOM, of the film's patient and study, with UIDs of its own.

    Args:
        picture: uint8, shape (H, W), RESEARCH burnt in.
        study: of the film.

    Source: DICOM PS3.3, A.8.1 (Secondary Capture Image IOD), C.8.6 (its modules).
    """
    made = new_object(study, SecondaryCaptureImageStorage, modality="OT", series_number=SERIES_NUMBER)
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.BurnedInAnnotation = "YES"
    made.LossyImageCompression = "01" if study.is_lossy else "00"
    made.DerivationDescription = f"film and answer of a support bank; {RESEARCH}"
    made.ImageComments = RESEARCH
    made.PatientOrientation = made.Laterality = ""
    made.SecondaryCaptureDeviceManufacturer, made.SecondaryCaptureDeviceManufacturerModelName = MAKER, MODEL
    made.SecondaryCaptureDeviceSoftwareVersions = __version__
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = made.ContentDate, made.ContentTime
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = study.sop_class, study.sop_instance
    made.SourceImageSequence = [source]
    made.Rows, made.Columns = picture.shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.WindowCenter, made.WindowWidth = 128, 256
    content = picture.tobytes()
    made.PixelData = content + b"\0" * (len(content) % 2)
    made["PixelData"].VR = "OB"
    return made


def new_object(study: Study, sop_class: str, *, modality: str, series_number: int) -> Dataset:
    """Return an object without content in a new series of a film's study; a UID tells nothing of the film's.

    Args:
        study: of the film.
        sop_class: UID of what it is to be.
        modality: of the series.
        series_number: of the series.
    """
    made = Dataset()
    study.put_into(made)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    made.SeriesInstanceUID = generate_uid(prefix=None)
    made.Modality, made.SeriesNumber, made.InstanceNumber = modality, series_number, 1
    made.SeriesDescription = RESEARCH
    made.Manufacturer, made.ManufacturerModelName, made.SoftwareVersions = MAKER, MODEL, __version__
    now = datetime.now()  # where the film is, too: its dates and times have no zone
    made.SeriesDate = made.ContentDate = made.InstanceCreationDate = f"{now:%Y%m%d}"
    made.SeriesTime = made.ContentTime = made.InstanceCreationTime = f"{now:%H%M%S}"
    return made


def file_content(made: Dataset) -> bytes:
    """Return an object as the bytes of a DICOM file."""
    stream = BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
