"""The audit of a merged list says which of its sets must not judge each other."""

import shutil

import pytest
from command_line import run
from made_layouts import LAYOUTS

from fewshot_cxr.data import READERS
from fewshot_cxr.evaluation.audit.result import NearDuplicate
from fewshot_cxr.evaluation.audit.shared_sets import MADE_OF, shared_between_sets
from fewshot_cxr.records import Record, Records

NEVER = "never train on one and judge on the other"


def films(*named):
    own = (Record(f"{name}.png", ("x",), patient, attributes={"dataset": of}) for name, patient, of in named)
    return Records(tuple(own), "/data")


def test_films_and_patients_of_two_sets_are_counted():
    records = films(("a", "p:1", "x"), ("b", "p:2", "x"), ("c", "p:1", "y"), ("d", "p:3", "y"), ("e", None, "z"))
    near = [
        NearDuplicate("d.png", "b.png", 3, 0.99, False, True),
        NearDuplicate("a.png", "b.png", 1, 0.99, False, True),
    ]
    assert shared_between_sets(records, [], near) == [
        f"x and y share 2 films with a copy in the other, such as b.png and d.png, and 1 patients: {NEVER}"
    ]


def test_one_set_and_sets_that_have_nothing_in_common_say_nothing():
    assert shared_between_sets(films(("a", "1", "x"), ("b", "1", "x")), [], []) == []
    assert shared_between_sets(films(("a", "1", "chexpert"), ("b", "2", "padchest")), [], []) == []
    assert shared_between_sets(Records((Record("a.png", ("x",)),), "/data"), [], []) == []


@pytest.mark.parametrize("second", ["chexpert-2", "siim_acr"])
def test_sets_of_one_origin_are_named_even_where_no_copy_was_found(second):
    first = "chexpert" if second.startswith("chexpert") else "chestxray14"
    (note,) = shared_between_sets(films(("a", "1", first), ("b", "2", second)), [], [])
    assert note == f"{first} and {second} hold films of one origin, though no copy was found: keep them together"


def test_every_set_of_the_table_is_one_that_is_read():
    assert {name for one, others in MADE_OF.items() for name in (one, *others)} <= READERS.keys()


def test_rsna_beside_the_set_that_it_was_made_of(tmp_path, capsys):
    """Its films are ChestX-ray14's as DICOM, and so are its patients where the map of its makers is there."""
    sources = []
    for name in ("chestxray14", "rsna_pneumonia"):
        (tmp_path / name).mkdir()
        sources.append(f"{name}:{LAYOUTS[name](tmp_path / name)}")
    assert run("data", "audit", *sources) == 0
    assert "note: chestxray14 and rsna_pneumonia share " in " ".join(capsys.readouterr().err.split())


def test_two_releases_of_chexpert(tmp_path, capsys):
    for name in ("large", "small"):
        (tmp_path / name).mkdir()
    LAYOUTS["chexpert"](tmp_path / "large")
    shutil.copytree(tmp_path / "large", tmp_path / "small", dirs_exist_ok=True)
    assert run("data", "audit", f"chexpert:{tmp_path / 'large'}", f"chexpert:{tmp_path / 'small'}") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "note: chexpert and chexpert-2 share 48 films with a copy in the other, such as " in told
    assert f"25 patients: {NEVER}" in told
