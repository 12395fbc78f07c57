"""Several data sets in one list: paths from one root, patients that do not meet by chance."""

import pytest

from fewshot_cxr.data import merge_records
from fewshot_cxr.records import Problem, Record, Records


def part(root, *films, **more):
    return Records(films, root, **more)


@pytest.fixture
def merged(tmp_path):
    one = part(
        tmp_path / "one",
        Record("a.png", ("x",), patient_id="1", group_id="g", mask_path="masks/a.png"),
        problems=(Problem(3, "gone.png", "the file is missing", "missing"),),
        notes=("said",),
        n_rows=7,
    )
    two = part(tmp_path / "deep" / "two", Record("b.png", ("y",), patient_id="1", source="clinic", split="train"))
    return merge_records({"one": one, "two": two})


def test_every_path_starts_from_the_folder_that_holds_both(merged, tmp_path):
    assert merged.root == tmp_path
    assert [film.path for film in merged] == ["one/a.png", "deep/two/b.png"]
    assert merged[0].mask_path == "one/masks/a.png"
    assert merged[1].mask_path is None
    assert merged.file(merged[1]) == tmp_path / "deep" / "two" / "b.png"


def test_the_same_number_in_two_sets_is_two_patients(merged):
    assert [film.patient_id for film in merged] == ["one:1", "two:1"]
    assert [film.group_id for film in merged] == ["one:g", None]


def test_a_film_without_a_source_comes_from_its_set(merged):
    assert [film.source for film in merged] == ["one", "clinic"]
    assert [film.attributes["dataset"] for film in merged] == ["one", "two"]


def test_problems_notes_and_rows_travel_along(merged):
    assert merged.problems == (Problem(3, "one/gone.png", "the file is missing", "missing"),)
    assert merged.notes == ("one: said",)
    assert merged.n_rows == 8


def test_one_folder_twice_keeps_its_paths(tmp_path):
    film = Record("a.png", ("x",))
    merged = merge_records({"one": part(tmp_path, film), "two": part(tmp_path, Record("b.png", ("x",)))})
    assert [film.path for film in merged] == ["a.png", "b.png"]


def test_nothing_to_merge():
    with pytest.raises(ValueError, match="nothing to merge; name at least one data set"):
        merge_records({})


def test_sets_may_share_their_patients(tmp_path):
    parts = {name: part(tmp_path, Record(f"{name}.png", ("x",), patient_id="1")) for name in ("one", "two")}
    merged = merge_records(parts, patients={"one": "ours", "two": "ours"}, name_sources=False)
    assert [film.patient_id for film in merged] == ["ours:1", "ours:1"]
    assert [film.source for film in merged] == [None, None]


def test_a_file_that_two_sets_name_is_taken_once(tmp_path):
    film = Record("a.png", ("x",))
    merged = merge_records({"one": part(tmp_path, film), "two": part(tmp_path, film)})
    assert [film.path for film in merged] == ["a.png"]
    assert merged.problems == (Problem(None, "a.png", "an earlier set names the file too", "duplicate"),)
    assert merged.n_rows == 2
    assert len(merge_records({"one": part(tmp_path, film), "two": part(tmp_path, film)}, keep_repeats=True)) == 2
