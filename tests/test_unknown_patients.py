"""Films of unknown patients: what is said of them, and that it is said once."""

from pathlib import Path

import pytest

from fewshot_cxr.records import Record, Records
from fewshot_cxr.unknown_patients import films_text, over_patients, unknown_text, with_unknown_noted


@pytest.mark.parametrize(
    ("n_unknown", "over", "films"),
    [
        (0, "over patients", "24 films of 6 patients"),
        (24, "over films (patients unknown)", "24 films (patients unknown)"),
        (2, "over patients (unknown for 2 of 24 films)", "24 films of 6 patients (unknown for 2 of 24 films)"),
    ],
)
def test_the_words_tell_none_some_and_all_apart(n_unknown, over, films):
    assert over_patients(n_unknown, 24) == over
    assert films_text(24, 6, n_unknown) == films
    assert ("unknown" in unknown_text(n_unknown, 24)) == (n_unknown > 0)


def test_a_note_is_added_once_and_a_group_is_as_good_as_a_patient():
    bare, patient, group = Record("a", ("x",)), Record("b", ("x",), patient_id="1"), Record("c", ("x",), group_id="g")
    assert not with_unknown_noted(Records((patient, group), Path())).notes
    some = with_unknown_noted(Records((bare, patient, group), Path()))
    assert some.notes == ("the patients of 1 of 3 films are unknown: each of these counts as its own patient",)
    assert with_unknown_noted(some[:2]) == some[:2]
    said = Records((bare,), Path(), notes=("set: patients are unknown: each film counts as its own patient, so ...",))
    assert with_unknown_noted(said) is said
