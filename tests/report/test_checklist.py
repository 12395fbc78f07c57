"""A reporting checklist holds what the files of a page know, each answer beside its number, and leaves the rest."""

import re
from dataclasses import fields

import pytest
from made_results import GENERALIZED, MULTI_LABEL, OPEN_RESULT, RESULT

from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation import audit_films
from fewshot_cxr.report import render_page
from fewshot_cxr.report.checklist import CHECKLISTS, YOURS, read_checklist
from fewshot_cxr.report.checklist_facts import audit_facts, joined, result_facts, run_facts
from fewshot_cxr.report.run_page import PageParts, run_page
from fewshot_cxr.report.run_sections import ShownResult, ShownRun
from fewshot_cxr.report.tables import Table

CARD = {
    "encoder": {"encoder": "resnet9"},
    "findings": ["effusion", "normal"],
    "n_films": {"train": 785, "val": 113},
    "n_patients": {"train": 532, "val": 75},
    "n_films_without_patient": {"train": 5},
    "training": {"loss": "triplet", "image_spec": {"size_px": 96, "crop": "square"}, "seed": 3, "augmentation": {}},
    "versions": {"torch": "2.15.0"},
    "best_epoch": 2,
}
RUN = ShownRun("one", CARD, {"hash": "cc", "kind": "fractions", "fractions": [0.6, 0.1, 0.3], "seed": 0})


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    films = make_synthetic(tmp_path_factory.mktemp("films"), n_patients=4, findings=("normal", "effusion"), size_px=64)
    return audit_films(films)


def page_of(audit, checklist):
    parts = PageParts(runs=(RUN,), results=(ShownResult("r", OPEN_RESULT),), audits=(("films", audit),))
    return run_page(parts, checklist=checklist)


def answers(page):
    return {row[0]: row[2] for table in page.sections[-1].tables for row in table.rows}


TRIPOD = """1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17 18a 18b
18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c"""


@pytest.mark.parametrize(
    ("name", "numbers"), [("claim", [str(number) for number in range(1, 45)]), ("tripod-ai", TRIPOD.split())]
)
def test_every_item_is_there_once_by_its_own_number(name, numbers):
    assert [item.number for item in read_checklist(name).items] == numbers


def test_every_fact_that_an_item_asks_for_is_one_that_a_page_may_know(audit):
    known = joined([run_facts(RUN), result_facts(OPEN_RESULT, "r"), audit_facts(audit, "films")]).keys()
    asked = {key for name in CHECKLISTS for item in read_checklist(name).items for key in item.facts}
    # These need training with batches of a kind, kept features, ages, other findings, a curve, or films on the page.
    assert asked - known <= {"sampler", "keep", "ages", "novel", "forecast", "heat", "command", "warnings"}
    assert known - asked == set()


def test_what_is_known_is_filled_and_the_rest_is_marked(audit):
    page = page_of(audit, "claim")
    found = answers(page)
    assert found["19"] == "kind fractions, fractions [0.6, 0.1, 0.3], seed 0"
    assert found["20"].startswith("patient; unknown for 5 films, each counted as its own; no patient is in support and")
    assert found["24"] == "random, seed 3"
    assert found["1"] == "deep metric learning, answers by distance to labelled films: resnet9, ? px"
    assert found["26"].startswith("best epoch 2")
    assert found["32"] == YOURS  # whether the films are of the same origin, no file knows
    assert found["25"].startswith("loss triplet; no augmentation; films of train: 785")
    assert "accuracy 81.2 % (70.1 to 88.9 %)" in found["37"]
    assert "baseline: nearest centroid on pixels" in found["37"]
    assert found["39"].startswith("most often ")
    assert {found[number] for number in ("2", "5", "14", "41", "44")} == {YOURS}
    n_known = sum(answer != YOURS for answer in found.values())
    assert page.sections[-1].paragraphs[0].startswith(f"{n_known} of 44 items hold what the files of this page know")


@pytest.mark.parametrize("name", sorted(CHECKLISTS))
def test_each_answer_points_to_a_place_on_the_page(audit, name):
    page = page_of(audit, name)
    text = render_page(page)
    links = [link for table in page.sections[-1].tables for link in table.links if link]
    assert len(links) > 10
    assert all(f'id="{link[1:]}"' in text for link in links)
    # The place is the one whose heading is meant, wherever it is folded.
    place = next(
        link
        for table in page.sections[-1].tables
        for row, link in zip(table.rows, table.links, strict=True)
        if "random, seed 3" in row[2]
    )
    assert re.search(f'id="{place[1:]}">What was trained: one<', text)


def test_of_episodes_the_unseen_findings_and_of_several_findings_the_balanced_accuracy():
    assert result_facts(GENERALIZED, "g")["novel"].text.startswith("findings not seen in training: ")
    assert result_facts(MULTI_LABEL, "m")["performance"].text.startswith("balanced accuracy ")
    assert "failures" not in result_facts(MULTI_LABEL, "m")


def test_a_classifier_is_not_called_metric_learning():
    run = ShownRun("c", {**CARD, "head": {"kind": "linear"}})
    assert run_facts(run)["kind"].text == "deep learning, a classifier: resnet9, ? px"


def test_several_results_are_told_by_name_and_once():
    parts = PageParts(results=(ShownResult("a", RESULT), ShownResult("b", RESULT)))
    answer = answers(run_page(parts, checklist="claim"))["37"]
    assert answer.count("accuracy 81.2 %") == 1


def test_an_unknown_checklist_and_links_for_other_rows_are_refused(audit):
    with pytest.raises(ValueError, match="unknown checklist 'stard'"):
        page_of(audit, "stard")
    with pytest.raises(ValueError, match="2 links for 1 rows"):
        Table(("a",), (("x",),), links=("", ""))
    assert "links" in {field.name for field in fields(Table)}


def test_the_words_of_people_are_escaped(audit):
    run = ShownRun("<b>", {**CARD, "findings": ["<script>alert(1)</script>"]})
    text = render_page(run_page(PageParts(runs=(run,)), checklist="claim"))
    assert "<script>" not in text


def test_a_card_that_names_no_findings_fills_no_cell_with_them():
    facts = run_facts(ShownRun("one", {key: told for key, told in CARD.items() if key != "findings"}, {}))
    assert "findings" in run_facts(RUN)
    assert "findings" not in facts
