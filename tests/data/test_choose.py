"""Which findings are worked with, and under which names."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fewshot_cxr.data import (
    cut_findings,
    drop_lone_films,
    keep_findings,
    mark_unstated,
    rename_findings,
    support_films,
    take_per_finding,
)
from fewshot_cxr.records import Record, Records


def films(*findings):
    rows = (Record(f"{number}.png", tuple(names.split("|"))) for number, names in enumerate(findings))
    return Records(tuple(rows), Path(), notes=("before",))


def found(records):
    return [film.findings for film in records]


def test_several_findings_become_one():
    renamed = rename_findings(
        films("bacteria|virus", "normal", "virus"), {"bacteria": "pneumonia", "virus": "pneumonia"}
    )
    assert found(renamed) == [("pneumonia",), ("normal",), ("pneumonia",)]


def test_an_unknown_finding_is_named_with_its_neighbour():
    with pytest.raises(ValueError, match=r"^no film has the finding 'bacterial' \(did you mean 'bacteria'\?\); there"):
        rename_findings(films("bacteria", "virus"), {"bacterial": "pneumonia"})


def test_films_with_one_finding_alone_are_kept():
    kept = keep_findings(films("a", "a|b", "b", "c", "c|d", "a|d"), ["a", "b"])
    assert [(film.path, film.finding) for film in kept] == [("0.png", "a"), ("2.png", "b")]
    assert kept.notes == (
        "before",
        "1 films left out, they show several of the findings",
        "2 films left out, they show none of the findings",
        "1 films left out (--with-others keeps them), they show one of the findings and others besides",
    )


def test_films_that_show_others_besides_are_kept_when_asked_for():
    kept = keep_findings(films("a", "a|b", "b", "c", "c|d", "a|d"), ["a", "b"], with_others=True)
    assert [(film.path, film.findings) for film in kept] == [("0.png", ("a",)), ("2.png", ("b",)), ("5.png", ("a",))]
    assert kept.notes[-1] == "1 films kept, though they show one of the findings and others besides"


def test_any_finding_will_do_where_none_is_asked_for():
    assert found(keep_findings(films("a", "a|b", "c"))) == [("a",), ("c",)]


def test_nothing_is_said_where_nothing_is_left_out():
    assert keep_findings(films("a", "b")).notes == ("before",)


def test_nothing_left_is_an_error():
    with pytest.raises(ValueError, match="no film is left of a, b: 1 films left out, they show several of .*; name"):
        keep_findings(films("a|b"), ["a", "b"])


def test_findings_with_one_film_are_left_out_by_name():
    kept = drop_lone_films(films("a", "b", "a", "c"))
    assert found(kept) == [("a",), ("a",)]
    assert kept.notes[-1] == "left out, one film only: b, c"
    assert drop_lone_films(kept) is kept


def patients(n_patients, n_films, finding="a"):
    rows = [(patient, film) for patient in range(n_patients) for film in range(n_films)]
    return tuple(Record(f"{finding}/{p}_{f}.png", (finding,), patient_id=f"{finding}{p}") for p, f in rows)


def test_films_are_drawn_patient_by_patient():
    records = Records(patients(6, 10) + patients(2, 2, "b"), Path())
    drawn = take_per_finding(records, 8, seed=0)
    assert Counter(film.finding for film in drawn) == {"a": 8, "b": 4}
    assert sorted(Counter(film.patient_id for film in drawn if film.finding == "a").values()) == [1, 1, 1, 1, 2, 2]
    assert drawn.notes == ("at most 8 films of a finding, drawn with seed 0: 52 left out",)


def test_the_draw_follows_from_seed_and_paths_alone():
    records = Records(patients(6, 10), Path())
    drawn = take_per_finding(records, 8, seed=3)
    turned = take_per_finding(Records(records.films[::-1], Path()), 8, seed=3)
    assert set(turned.films) == set(drawn.films)
    assert set(take_per_finding(records, 8, seed=4).films) != set(drawn.films)
    with pytest.raises(ValueError, match="n_films must be at least 1, got 0"):
        take_per_finding(records, 0, seed=0)


def test_what_nobody_looked_for_is_marked_but_never_what_a_film_shows():
    marked = mark_unstated(films("mass", "hernia|mass", "normal"), ["hernia", "edema"])
    assert [film.unstated for film in marked] == [("hernia", "edema"), ("edema",), ("hernia", "edema")]
    assert found(marked) == [("mass",), ("hernia", "mass"), ("normal",)]
    assert marked.notes == ("before",)
    again = mark_unstated(marked, ["fibrosis", "edema"])
    assert again[1].unstated == ("edema", "fibrosis")


def test_a_new_name_holds_for_the_unstated_too():
    marked = mark_unstated(films("bacteria", "normal", "virus"), ["virus"])
    renamed = rename_findings(marked, {"bacteria": "pneumonia", "virus": "pneumonia"})
    assert [film.unstated for film in renamed] == [(), ("pneumonia",), ()]


def test_one_text_is_no_list_of_findings():
    with pytest.raises(TypeError, match="findings must be a list of findings, got the text 'hernia'"):
        mark_unstated(films("mass"), "hernia")


def test_cut_findings_keeps_every_film_and_the_named_findings_alone():
    records = films("Mass|Edema", "No Finding", "Edema", "Hernia|Mass")
    cut = cut_findings(records, ("Mass", "Hernia"))
    assert found(cut) == [("Mass",), (), (), ("Hernia", "Mass")]
    assert [film.path for film in cut] == [film.path for film in records]
    with pytest.raises(ValueError, match=r"no film has the finding 'Mas' \(did you mean 'Mass'\?\)"):
        cut_findings(records, ("Mas",))


def in_splits(*rows):
    films = (
        Record(f"{n}.png", (finding,), split=split) for n, (finding, split) in enumerate(row.split(":") for row in rows)
    )
    return Records(tuple(replace(film, split=film.split or None) for film in films), Path())


def test_films_without_a_split_are_exemplars_beside_those_of_train():
    films = in_splits("a:train", "b:train", "new:", "a:test", "gone:val")
    chosen = support_films(films)
    assert [film.path for film in chosen] == ["0.png", "1.png", "2.png"]
    assert chosen.notes == (
        "exemplars: films of the split train, and 1 that state no split (--support-split)",
        "no exemplars: 2 films of test, val (a 1, gone 1); --support-split all takes them too",
        "no exemplar at all of gone: no film can be told to show it (--support-split)",
    )


@pytest.mark.parametrize(("split", "paths"), [("all", "01234"), ("val", "24"), ("test", "23")])
def test_any_split_may_give_exemplars_or_all(split, paths):
    films = in_splits("a:train", "b:train", "new:", "a:test", "gone:val")
    assert [film.path for film in support_films(films, split)] == [f"{row}.png" for row in paths]


def test_without_a_split_train_every_film_is_an_exemplar():
    assert [len(support_films(some)) for some in (in_splits("a:", "b:"), in_splits("a:test", "b:"))] == [2, 2]


def test_a_split_that_no_film_has_is_an_error():
    with pytest.raises(ValueError, match="no film has the split 'tain'; there are train"):
        support_films(in_splits("a:train", "b:"), "tain")
