"""One page on runs and results: which sections, in which order, and what a reader is told."""

import re
from dataclasses import replace

import numpy as np
import pytest
from made_films import make_films
from made_results import GENERALIZED, MULTI_LABEL, OPEN_RESULT, OVERLAPPING, RESULT, changed, made_result

from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation import (
    Answers,
    audit_films,
    compare_results,
    evaluate_closed_set,
    evaluate_multi_label,
    evaluate_plan,
    plan_episodes,
    roc_points,
)
from fewshot_cxr.evaluation.episodic.assemble import OVERLAP
from fewshot_cxr.evaluation.episodic.extremes import ShownEpisode, ShownQuery
from fewshot_cxr.report import render_page
from fewshot_cxr.report.comparison_section import comparison_sections
from fewshot_cxr.report.extremes_section import extremes_section
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.result_figures import draw_recall
from fewshot_cxr.report.result_sections import result_sections
from fewshot_cxr.report.run_page import LEFT_OUT, PageParts, run_page
from fewshot_cxr.report.run_sections import ShownResult, ShownRun, making_facts, run_section

pytestmark = pytest.mark.usefixtures("undrawn")
CARD = {
    "encoder": {"encoder": "resnet9"},
    "image_spec": {"size_px": 96, "border_crop": 0.1},
    "findings": ["effusion", "normal"],
    "data_hash": {"train": "aa" * 32, "val": "bb" * 32},
    "n_films": {"train": 785, "val": 113},
    "n_patients": {"train": 532, "val": 75},
    "training": {"loss": "triplet", "miner": "semihard", "distance": "euclidean", "n_epochs": 30, "seed": 3},
    "versions": {"python": "3.11.7", "torch": "2.15.0"},
    "best_epoch": 2,
    "val_accuracy": 0.8356,
}
HISTORY = tuple({"epoch": epoch, "loss": 1 / epoch, "val_accuracy": 0.6 + epoch / 10} for epoch in (1.0, 2.0, 3.0))
RUN = ShownRun("one", CARD, {"hash": "cc" * 32, "recipe": "resnet9-triplet", "smoke": True}, HISTORY)
MADE_BY = {"command": "fscxr evaluate --json a.json", "versions": {"torch": "2"}, "date": "2026-01-02", "machine": "x"}


def made_decisions(seed=0, **facts):
    draw = np.random.default_rng(seed)
    truth = np.arange(90) % 3
    odds = draw.normal(size=(90, 3)) + 2 * np.eye(3)[truth]
    shares = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    values = {"probabilities": shares, "patient_ids": np.arange(90) // 2, "paths": [f"{i}.png" for i in range(90)]}
    return Answers(findings=("a", "b", "c"), truth=truth, **values | facts)


@pytest.fixture(scope="module")
def closed():
    return evaluate_closed_set(made_decisions())


def headings(page):
    return [section.heading for section in page.sections]


def all_parts(page):
    """Every section and all that is folded in it."""
    return [part for section in page.sections for part in section.parts()]


def test_one_result_of_episodes_is_told_whole():
    page = run_page(PageParts(results=(ShownResult("r", OPEN_RESULT, MADE_BY),)), title="T")
    assert page.title == "T"
    assert [part.heading for part in all_parts(page)] == [
        "The numbers",
        "Recall of each finding",
        "Each finding against the rest",
        "All numbers",
        "What was taken for what",
        "How far the probabilities may be believed",
        "None of these",
        "How this was made",
        "How the numbers were made: r",
    ]
    assert len(headings(page)) == 4
    first, floor = page.headlines
    assert (first.value, first.label) == ("81.2 %", "accuracy")
    assert first.note == "95 % over patients 70.1 to 88.9 %; over episodes 80.5 to 82.0 %"
    assert floor.label == "baseline: nearest centroid on pixels"
    facts = dict(all_parts(page)[-1].facts)
    assert facts["command"] == "fscxr evaluate --json a.json"
    assert facts["hash of the episodes"] == RESULT.asked.episodes_hash
    assert facts["hash of the films"] == RESULT.data_hash
    assert (facts["date"], facts["versions"], facts["machine"]) == ("2026-01-02", "torch 2", "x")
    assert "seed 7" in facts["episodes"]


def test_an_old_result_says_that_its_making_is_not_recorded():
    facts = dict(making_facts(ShownResult("old", RESULT)))
    assert {facts[name] for name in ("command", "versions", "date", "machine")} == {"not recorded"}


def test_the_sections_come_in_the_order_of_the_story(closed):
    parts = PageParts(
        runs=(RUN,),
        results=(ShownResult("one", RESULT), ShownResult("one", closed)),
        films=(Section("Films here"),),
        left_out=("nothing much",),
    )
    page = run_page(parts)
    assert headings(page) == [
        "All results",
        "Films here",
        "The numbers",
        "What was taken for what",
        "How far the probabilities may be believed",
        "How this was made",
    ]
    by_heading = {section.heading: section for section in page.sections}
    assert [part.heading for part in by_heading["The numbers"].folded] == ["episodes", "closed set"]
    assert [part.heading for part in page.sections[-1].folded] == [
        LEFT_OUT,
        "How the numbers were made: episodes",
        "How the numbers were made: closed set",
        "How one learnt",
        "What was trained: one",
    ]


def test_no_page_has_more_than_ten_sections(closed):
    several = tuple(ShownResult(f"r{number}", result) for number, result in enumerate([OPEN_RESULT, closed] * 4))
    comparison = compare_results(closed, closed, names=("a", "b"))
    parts = PageParts(
        runs=(RUN,) * 3,
        results=several,
        comparisons=(("c", comparison),) * 3,
        films=tuple(Section(f"Films {number}") for number in range(4)),  # as many as a run or the demo has
        left_out=("much",),
    )
    page = run_page(parts)
    assert len(page.sections) <= 10 - 1  # the audit is one more
    assert len(page.headlines) == 4
    pictures = [picture.alt for part in all_parts(page) for picture in part.pictures if "Confusion" in picture.alt]
    assert len(pictures) == len(several)


def test_the_answer_stands_before_everything_else(closed):
    result = replace(OPEN_RESULT, warnings=("the gravest", "the other"))
    html = render_page(run_page(PageParts(results=(ShownResult("r", result),)), title="T"))
    told = "2-way 5-shot", "81.2 %", "nearest centroid on pixels", "the gravest", "<section"
    places = [html.index(text) for text in told]
    assert places == sorted(places)
    assert html.index("1 more to beware of") < html.index("the other") < html.index("<section")


def test_what_makes_numbers_worthless_stands_first():
    overlapping = changed(OVERLAPPING, protocol=RESULT.asked.protocol | OVERLAPPING.asked.protocol)
    one, two = ShownResult("a", overlapping), ShownResult("b", overlapping)
    page = run_page(PageParts(results=(one,)))
    assert page.alarms == (OVERLAP,)
    assert page.cautions == ("beware",)
    page = run_page(PageParts(results=(one, two)))
    assert page.alarms == (f"a: {OVERLAP}", f"b: {OVERLAP}")


def test_films_of_several_findings_have_their_own_numbers():
    page = run_page(PageParts(results=(ShownResult("r", MULTI_LABEL),)))
    assert page.headlines[0].label == "balanced accuracy"
    draw = np.random.default_rng(0)
    truth = (draw.random((60, 2)) < 0.4).astype(float)
    result = evaluate_multi_label(
        ("a", "b"), 0.5 * truth + 0.5 * draw.random((60, 2)), truth, np.arange(60), [f"{i}" for i in range(60)]
    )
    page = run_page(PageParts(results=(ShownResult("r", result),)))
    assert page.headlines[0].label == "mean AUROC"
    assert headings(page)[0] == "The numbers"
    assert all_parts(page)[1].heading == "How well each finding is told from films without it"


def test_the_roc_curves_are_those_of_the_result(closed):
    by_name = {part.heading: part for section in result_sections(closed) for part in section.parts()}
    alt = by_name["How well each finding is told from all others"].pictures[0].alt
    for finding in closed.findings:
        false, true = roc_points(closed, finding)
        assert f"{finding} {np.trapezoid(true, false):.2f}" in alt


def test_without_probabilities_there_is_no_curve():
    only = evaluate_closed_set(made_decisions(has_probabilities=False))
    assert [section.heading for section in result_sections(only)][-1] == "What was taken for what"


def test_multi_label_without_a_curve_is_a_table_alone():
    truth = np.zeros((8, 2))
    shares = np.full((8, 2), 0.3)
    result = evaluate_multi_label(("a", "b"), shares, truth, np.arange(8), [str(i) for i in range(8)])
    assert len(list(result_sections(result))) == 1


@pytest.fixture(scope="module")
def judged():
    films = make_films()
    plan = plan_episodes(films, n_shot=3, n_query=5, n_episodes=200)
    return [evaluate_plan(films, plan, rule=rule, n_patient_episodes=200) for rule in ("mean_distance", "prototype")]


def test_the_first_result_is_compared_with_each_other(judged, closed):
    names = ("a", "b", "c", "d", "e")
    elsewhere = changed(judged[0], episodes_hash="f" * 64)
    other = evaluate_closed_set(made_decisions(1))
    shown = [ShownResult(*pair) for pair in zip(names, (*judged, elsewhere, closed, other), strict=True)]
    sections = comparison_sections(shown)
    assert [one.heading for one in sections] == ["d against e, closed set", "a against b, episodes", "Not compared"]
    expected = compare_results(judged[0], judged[1], names=("a", "b"))
    assert sections[1].table.rows[0][3] == f"{100 * expected.rows[0].difference:+.1f}"
    ((pair, why),) = sections[2].facts
    assert pair == "a and c"
    assert why.startswith("compare: a was judged on other episodes than c")
    page = run_page(PageParts(results=tuple(shown), comparisons=(("file", expected),)))
    assert [part.heading for part in page.sections[0].folded].count("a against b, episodes") == 2
    assert len(page.sections[0].table.rows) == 5


def test_what_was_trained():
    facts = dict(run_section(RUN).facts)
    assert facts["encoder"] == "resnet9, 96 px, border crop 0.1"
    assert facts["recipe"] == "resnet9-triplet (smoke)"
    assert facts["films of train"] == "785 of 532 patients"
    assert facts["hash of the split"] == "cc" * 32
    assert facts["seed"] == "3"
    assert facts["best epoch"] == "2 of 3, validation accuracy 83.6 %"
    assert facts["versions"] == "python 3.11.7, torch 2.15.0"
    assert facts["command"] == "not recorded"
    for history, is_shown in ((HISTORY, True), ((), False)):
        page = run_page(PageParts(runs=(replace(RUN, history=history),)))
        assert ("How one learnt" in [part.heading for part in all_parts(page)]) == is_shown


def test_a_bare_card_is_shown_too():
    assert dict(run_section(ShownRun("x", {})).facts)["encoder"] == "not recorded, ? px"


def test_the_audit_warns_on_top(tmp_path):
    films = make_synthetic(tmp_path, n_patients=3, findings=("normal", "effusion"), size_px=48, seed=0)
    audit = audit_films(films)
    page = run_page(PageParts(runs=(RUN,), audits=(("audit", audit),)))
    (section,) = (one for one in page.sections if one.heading == "Audit of the films: audit")
    assert "was of another list of films" in section.paragraphs[1]
    assert [len(table.rows) > 0 for table in section.tables] == [True, True]
    assert bool(page.cautions) == bool(audit.failed())
    same = replace(RUN, split={"hash": audit.data_hash})
    page = run_page(PageParts(runs=(same,), audits=(("audit", audit),)))
    assert len(next(one for one in page.sections if one.heading.startswith("Audit")).paragraphs) == 1


def test_nothing_to_show_is_refused():
    with pytest.raises(ValueError, match="a report needs a run, a result, a comparison, a learning curve or an audit"):
        run_page(PageParts())


def test_names_are_data(closed):
    strange = replace(RESULT, warnings=("<script>alert(1)</script>",))
    parts = PageParts(
        runs=(replace(RUN, name="<b>run</b>"),),
        results=(ShownResult("<i>one</i>", strange), ShownResult("two", closed)),
        left_out=("<u>left</u>",),
    )
    html = render_page(run_page(parts, title="<h1>"))
    for tag in ("<script", "<b>", "<i>", "<u>", "<h1></"):
        assert tag not in html
    assert not re.search(r"https?://", html)


def shown_episode(*wrong, is_best=False, n=24):
    findings = ("a", "b", "c")
    queries = []
    for number in range(n):
        truth = findings[number % 3]
        taken = findings[(number + 1) % 3] if number in wrong else truth
        distances = {name: 1.0 if name == taken else 2.5 for name in findings}
        queries.append(ShownQuery(f"q{number}", truth, (taken,), distances))
    support = tuple((name, f"s-{name}-{shot}") for name in findings for shot in range(2))
    return ShownEpisode(7, is_best, 1 - len(wrong) / n, support, tuple(queries))


@pytest.mark.slow
def test_the_wrong_films_of_an_episode_are_drawn_first(monkeypatch):
    monkeypatch.undo()
    asked = []

    def film(path):
        asked.append(path)
        return np.full((24, 24), 90, dtype=np.uint8)

    section = extremes_section(
        [shown_episode(20, 22, 23), shown_episode(is_best=True)], film, n_episodes=1000, rule="prototype"
    )
    worst, best = section.folded[-1].tables
    assert [row[0] for row in worst.rows[:3]] == ["q22", "q20", "q23"]  # by finding, as they are drawn
    assert len(worst.rows) == len(best.rows) == 16
    assert worst.rows[0] == ("q22", "b", "c", "2.500", "2.500", "1.000")
    many = extremes_section([shown_episode(*range(24))], film, n_episodes=9, rule="prototype").folded[-1].tables[0]
    taken = [row[1] for row in many.rows]  # all wrong: no finding crowds out the others
    assert {name: taken.count(name) for name in "abc"} == {"a": 6, "b": 5, "c": 5}
    taken = [row[1] for row in best.rows]
    assert {name: taken.count(name) for name in "abc"} == {"a": 6, "b": 5, "c": 5}
    assert {path for path in asked if path.startswith("s-")} == {
        f"s-{name}-{shot}" for name in "abc" for shot in (0, 1)
    }
    assert "worst number 7 with 21 of 24 films right, best number 7 with 24 of 24" in section.paragraphs[0]
    assert [picture.image[:3] for part in section.parts() for picture in part.pictures] == [b"\xff\xd8\xff"] * 2
    assert section.folded[0].pictures[0].caption == "Drawn: 16 of the 24 films that were asked, the 3 wrong ones first."


def test_many_findings_have_two_distances():
    names = tuple(f"finding {number}" for number in range(9))
    query = ShownQuery("q", names[0], (names[1], names[2]), {name: float(n) for n, name in enumerate(names)})
    episode = ShownEpisode(0, True, 0.0, ((names[0], "s"),), (query,))
    section = extremes_section([episode], lambda path: np.zeros((9, 9), dtype=np.uint8), n_episodes=3, rule="prototype")
    (table,) = section.folded[-1].tables
    assert table.columns[2:] == ("taken for", "to what it was taken for", "to its own finding")
    assert table.rows[0][2:] == ("finding 1 = finding 2", "1.000", "0.000")


def test_a_result_by_hand_of_many_findings():
    page = run_page(PageParts(results=(ShownResult("r", made_result(*(f"f{number}" for number in range(12)))),)))
    assert page.headlines[-1].value == "62.5 %"


def test_a_new_finding_is_drawn_in_another_colour(monkeypatch):
    monkeypatch.undo()
    (axes,) = draw_recall(GENERALIZED)().axes
    novel = GENERALIZED.asked.protocol["novel"]
    colour_of = {
        row: line.get_color() for line in axes.lines for row in line.get_ydata()[:1] if line.get_marker() in "os"
    }
    names = ["accuracy", *GENERALIZED.per_class_recall]
    colours = {names[row]: colour for row, colour in colour_of.items()}
    assert len({colours[name] for name in names[1:] if name in novel}) == 1
    assert {colours[name] for name in novel}.isdisjoint(colours[name] for name in names[1:] if name not in novel)
    assert "not seen in training" in [text.get_text() for text in axes.figure.legends[0].get_texts()]
