"""Whose film a file is, by its path or its DICOM header."""

from pathlib import Path

import numpy as np
import pytest
from made_dicom import content_of, dataset

from fewshot_cxr.data.film_patients import films_of_patients


def test_by_pattern_in_the_order_of_first_films(tmp_path):
    files = [str(tmp_path / name) for name in ("p2_0.png", "p1_0.png", "x.png", "p2_1.png", "y.png")]
    found = films_of_patients(files, patient_pattern=r"(p\d+)_")
    assert [[Path(file).name for file in patient] for patient in found] == [
        ["p2_0.png", "p2_1.png"],
        ["p1_0.png"],
        ["x.png"],
        ["y.png"],
    ]


def test_by_the_header_of_a_dicom(tmp_path):
    for name, patient in (("a.dcm", "one"), ("b.dcm", "two"), ("c.dcm", "one"), ("d.dcm", "")):
        header = dataset(np.zeros((8, 8), dtype=np.uint8), PatientID=patient, Modality="DX")
        (tmp_path / name).write_bytes(content_of(header))
    files = [str(tmp_path / name) for name in ("a.dcm", "b.dcm", "c.dcm", "d.dcm", "absent.dcm")]
    found = films_of_patients(files)
    assert [[Path(file).name for file in patient] for patient in found] == [
        ["a.dcm", "c.dcm"],
        ["b.dcm"],
        ["d.dcm"],
        ["absent.dcm"],
    ]
    assert len(films_of_patients(files[:2], patient_pattern="dcm")) == 1


def test_a_wrong_pattern():
    with pytest.raises(ValueError, match="is no regular expression"):
        films_of_patients([], patient_pattern="(")
