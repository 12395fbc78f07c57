"""A number that is added to the public table is told everywhere, and nothing else had to be changed for it."""

import json

import numpy as np
import pytest
import torch
from made_films import make_films, make_multi_label

from fewshot_cxr.cli.results import show_result
from fewshot_cxr.evaluation import (
    Answers,
    compare_results,
    evaluate_closed_set,
    evaluate_episodes,
    evaluate_multi_label,
    result_from_json,
)
from fewshot_cxr.metrics import NUMBERS, Number, confusion_scores, mean_of_defined, ratio
from fewshot_cxr.report import render_page
from fewshot_cxr.report.compare_tables import comparison_table
from fewshot_cxr.report.finding_tables import result_tables
from fewshot_cxr.report.run_page import PageParts, ShownResult, run_page
from fewshot_cxr.report.score_tables import numbers_csv


def youden(cells):
    return cells.sensitivity + ratio(cells.rejections, cells.not_true) - 1


@pytest.fixture
def youdens_j(monkeypatch):
    number = Number(
        words="Youden's J",
        overall_words="Youden's J, mean over findings",
        tables=("overall", "finding", "several"),
        overall=lambda cells: mean_of_defined(youden(cells)),
        of_finding=youden,
        lowest=-1.0,
        is_mean=True,
        is_compared=True,
        rests_on="both",
        undefined="films with {0} and films without it are needed",
    )
    monkeypatch.setitem(NUMBERS, "youden", number)


def closed(seed, n=60):
    draw = np.random.default_rng(seed)
    scores = np.exp(draw.normal(size=(n, 3)) + 2 * np.eye(3)[np.arange(n) % 3])
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    paths = tuple(f"{row:03d}.png" for row in range(n))
    return evaluate_closed_set(
        Answers(findings=("a", "b", "c"), truth=np.arange(n) % 3, probabilities=probabilities, paths=paths)
    )


def episodes(seed):
    films = make_films(spread=2 + seed, paths=[f"{row}.png" for row in range(len(make_films(spread=2 + seed)))])
    return evaluate_episodes(films, n_shot=2, n_query=3, n_episodes=60, device="cpu")


def several(seed):
    films = make_multi_label()
    scores = np.nan_to_num(films.class_ids) + np.random.default_rng(seed).normal(size=films.class_ids.shape)
    probabilities = 1 / (1 + np.exp(0.5 - scores))
    return evaluate_multi_label(films.class_names, probabilities, films.class_ids, None, films.paths)


def is_between(estimate):
    return estimate.ci95[0] < estimate.mean < estimate.ci95[1]


@pytest.mark.parametrize("make", [closed, episodes])
@pytest.mark.slow
def test_a_number_of_ones_own_is_told_everywhere(youdens_j, make, capsys):
    first, second = make(0), make(1)
    own = first.scores.per_class[first.findings[0]]
    assert own["youden"].value == pytest.approx(own["sensitivity"].value + own["specificity"].value - 1)
    assert is_between(own["youden"])
    assert is_between(first.scores.youden)
    plain = json.loads(json.dumps(first.to_json()))
    assert plain["youden"]["mean"] == first.scores.youden.value
    assert plain["per_class"][first.findings[0]]["youden"]["mean"] == own["youden"].value
    assert result_from_json(plain) == first
    assert f"youden,{first.findings[0]},{own['youden'].value}" in numbers_csv(first)
    show_result(first)
    shown = capsys.readouterr().out
    assert "Youden's J, mean over findings" in shown
    assert f"{first.scores.youden.value:.3f}" in shown
    page = render_page(run_page(PageParts(results=(ShownResult("one", first), ShownResult("other", second)))))
    assert "Youden&#39;s J, mean over findings" in page
    comparison = compare_results(first, second)
    row = next(row for row in comparison.rows if row.number == "youden")
    assert row.difference == pytest.approx(first.scores.youden.value - second.scores.youden.value)
    assert row.p_value is not None
    assert "Youden's J, mean over findings" in [cells[0] for cells in comparison_table(comparison).rows]
    if first.episodes is not None:
        assert "Youden's J of finding 0" in [cells[0] for cells in comparison_table(comparison).rows]


def test_a_number_of_ones_own_is_told_of_each_of_several_findings(youdens_j):
    result = several(0)
    for own in result.scores.per_class.values():
        assert own["youden"].value == pytest.approx(own["sensitivity"].value + own["specificity"].value - 1)
        assert is_between(own["youden"])
    assert "youden" in result.to_json()["per_finding"]["finding 0"]
    assert result_from_json(json.loads(json.dumps(result.to_json()))) == result
    assert "Youden's J" in result_tables(result)[0].columns


def test_without_the_number_the_table_is_what_it_was():
    assert "youden" not in closed(0).to_json()
    assert list(NUMBERS)[:5] == ["sensitivity", "specificity", "ppv", "npv", "f1"]


def test_a_number_lies_where_its_table_says():
    number = Number(words="", tables=(), lowest=-1.0)
    plain = Number(words="", tables=()).interval(0.75, 0.01, degrees=20, n_patients=30)
    assert number.interval(0.5, 0.04, degrees=20, n_patients=30) == pytest.approx([2 * end - 1 for end in plain])
    assert number.cut((-3.0, 0.5)) == (-1.0, 0.5)
    assert not number.is_share


def test_scores_of_a_confusion_hold_what_is_added(youdens_j):
    scores = confusion_scores(torch.tensor([[3, 1], [2, 4]]))
    expected = scores["sensitivity"] + scores["specificity"] - 1
    torch.testing.assert_close(scores["youden"], expected)
