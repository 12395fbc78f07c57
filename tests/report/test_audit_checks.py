"""What the table and the page of an audit say: with nothing, one, two, many, and unknown."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fewshot_cxr.evaluation import audit_films
from fewshot_cxr.evaluation.audit.result import CHECKS, Children, ContradictoryPatient, Leak, Measure, NearDuplicate
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.records import Record, Records
from fewshot_cxr.report import audit_page, checks_table
from fewshot_cxr.report.audit_checks import children_text

LEAK = Leak("patient", "p1", ("test", "train"), ("a.png", "b.png"))
NEAR = NearDuplicate("a.png", "b.png", 1, 0.99, False, True)
CONTRADICTORY = ContradictoryPatient("p1", ("x", "y"), 2, ("a.png", "b.png"))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    films = []
    for number in range(12):
        name = f"{'ab'[number] if number < 2 else number}.png"
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(root / name)
        split = "train" if number % 3 else "test"
        films.append(Record(name, ("x" if number < 8 else "y",), patient_id=f"p{number}", split=split, source="s"))
    return Records(tuple(films), root)


@pytest.fixture(scope="module")
def audit(films):
    found = audit_films(films, n_workers=1)
    return replace(found, films=replace(found.films, marks={}))  # of noise the marks may say anything


def row(audit, name):
    return next((state, what) for check, state, what in checks_table(audit).rows if check == name)


def test_every_check_but_the_sum_of_two_has_a_row(audit):
    assert {name for name, *_ in checks_table(audit).rows} == set(CHECKS) - {"duplicates"}


def test_what_is_found_comes_first_the_gravest_on_top_and_each_with_what_to_do(audit):
    marks = audit.films.marks | {"burnt_in_text": ("a.png",)}
    worse = replace(audit, leaks=(LEAK,), near_duplicates=(NEAR,), films=replace(audit.films, marks=marks))
    table = checks_table(worse)
    states = [state for _, state, _ in table.rows]
    assert states == sorted(states, key=["found", "unknown", "none"].index)
    found = [name for name, state, _ in table.rows if state == "found"]
    assert found == ["leak", "near_duplicates", "burnt_in_text"]
    to_do = dict(table.below)
    assert list(to_do) == [name for name, state, _ in table.rows if state != "none"]
    assert "data split --audit" in to_do["leak"]
    assert "column source" in to_do["confounding"]


@pytest.mark.parametrize(
    ("field", "one", "name", "texts"),
    [
        ("leaks", LEAK, "leak", ("0 leaks between splits", "1 leak between splits (1 by patient)", "2 leaks between")),
        ("near_duplicates", NEAR, "near_duplicates", ("0 pairs saved", "1 pair saved anew, 1 of different", "2 pairs")),
        ("contradictory_patients", CONTRADICTORY, "contradictory", ("0 patients with", "1 patient with", "2 patients")),
    ],
)
def test_none_one_and_two(audit, field, one, name, texts):
    for count, text in enumerate(texts):
        state, what = row(replace(audit, **{field: (one,) * count}), name)
        assert what.startswith(text)
        assert state == ("found" if count else "none")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_marks_are_counted_in_words(audit, count):
    marks = {"inverted": ("a.png",) * count}
    what = row(replace(audit, films=replace(audit.films, marks=marks)), "inverted")[1]
    assert what == f"{count} film{'' if count == 1 else 's'} that may be inverted (lungs white)"


def test_confounding_that_is_found_says_by_what(audit):
    measure = Measure(Estimate(0.9, ci95_patients=(0.8, 0.95)), chance=0.5, n_films=12, n_groups=12)
    accuracies = audit.confounding.balanced_accuracy | {"size": measure}
    worse = replace(audit, confounding=replace(audit.confounding, balanced_accuracy=accuracies))
    assert row(worse, "confounding") == ("found", "the finding follows from size (90.0 %) alone; chance is 50.0 %")
    state, what = row(audit, "confounding")
    assert state == "unknown"
    assert what.startswith("cannot be assessed: one source")


def test_one_split_alone_can_have_no_leak(audit):
    for by_split, why in (({"train": 12}, "one split, train"), ({"not stated": 12}, "no split is stated")):
        films = replace(audit.films, by_split=by_split)
        assert row(replace(audit, films=films), "leak") == ("unknown", f"cannot be assessed: {why}")


def test_ages_that_are_mostly_unknown_are_no_clean_bill(films, audit):
    children = Children(True, n_children=0, n_adults=13, n_unknown=7595)
    told = "age unknown for 7,595 of 7,608 films; of the others, 0 films of children, 13 of adults"
    assert children_text(children, 7608) == told
    assert row(replace(audit, films=replace(audit.films, children=children)), "children")[0] == "unknown"
    assert children_text(Children(True, n_children=1, n_adults=2), 3) == "1 film of children, 2 of adults"
    aged = replace(films, films=(replace(films[0], age_years=40), *films[1:]))
    note = "age unknown for 11 of 12 films: children cannot be told from adults"
    assert note in audit_films(aged, n_workers=1).notes


def test_findings_of_few_films_get_a_warning_instead_of_an_interval(films, audit):
    size = audit.confounding.balanced_accuracy["size"].number
    assert size.mean is not None
    assert size.ci95 is None
    assert size.reason == "no interval, patients are too few: y 4 (5 are needed)"
    assert "findings of fewer than 5 films, on which no number rests: y 4" in audit.notes
    page = audit_page(audit, films)
    assert any(note.startswith("findings of fewer than 5 films") for note in page.cautions)


def test_the_lead_names_the_gravest_finding(films, audit):
    assert audit_page(audit, films).lead[0].startswith("None of the checks has found anything.")
    one = audit_page(replace(audit, leaks=(LEAK,)), films)
    assert one.lead[0].startswith("1 check has found something: 1 leak between splits (1 by patient). ")
    two = audit_page(replace(audit, leaks=(LEAK,), contradictory_patients=(CONTRADICTORY,)), films)
    assert two.lead[0].startswith("2 checks have found something, the gravest: 1 leak between ")
    headings = [section.heading for section in two.sections]
    assert headings[:2] == ["What was found, the gravest first", "What is unknown, and where nothing was found"]
    assert [(h.value, h.label) for h in one.headlines[:2]] == [("12", "films"), ("1", "leak between splits")]
