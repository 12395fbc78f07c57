from dataclasses import replace

import pytest

from fewshot_cxr.evaluation.results import EpisodicResult, Estimate
from fewshot_cxr.report import Table, accuracy_table, protocol_facts, recall_table
from fewshot_cxr.report.tables import interval_text

RESULT = EpisodicResult(
    accuracy=Estimate(0.8123, (0.805, 0.8199)),
    per_class_recall={"normal": Estimate(0.9, (0.88, 0.92)), "effusion": Estimate(0.7246, None)},
    confusion=((90.0, 10.0), (27.5, 72.5)),
    findings=("normal", "effusion"),
    n_way=2,
    n_shot=5,
    n_query=10,
    n_episodes=1000,
    rule="mean_distance",
    distance="euclidean",
    seed=7,
    episodes_hash="ab12",
    episodes_per_second=20123.4,
    n_films=1200,
    n_patients=300,
    floor={"pixels": Estimate(0.625, (0.62, 0.63))},
)


def test_accuracy_stands_beside_floor_and_chance():
    table = accuracy_table(RESULT)
    assert table.rows == (
        ("accuracy", "81.2 %", "80.5 to 82.0 %"),
        ("floor: nearest centroid on pixels", "62.5 %", "62.0 to 63.0 %"),
        ("chance", "50.0 %", ""),
    )
    assert table.caption == (
        "2-way 5-shot, 10 queries per finding, 1,000 episodes, rule mean_distance (euclidean), seed 7"
    )


def test_recall_names_the_usual_mistake():
    assert recall_table(RESULT).rows == (
        ("normal", "90.0 %", "88.0 to 92.0 %", "effusion (10.0 %)"),
        ("effusion", "72.5 %", "none", "normal (27.5 %)"),
    )


def test_of_equal_mistakes_the_first_finding_is_named():
    three = replace(
        RESULT,
        findings=("a", "b", "c"),
        confusion=((8, 1, 1), (0, 5, 0), (0, 0, 0)),
        per_class_recall={"a": Estimate(0.8), "b": Estimate(1.0)},
    )
    assert recall_table(three).rows == (("a", "80.0 %", "none", "b (10.0 %)"), ("b", "100.0 %", "none", "nothing else"))


def test_facts_suffice_to_draw_the_episodes_again():
    facts = dict(protocol_facts(RESULT))
    assert facts["hash of the episodes"] == "ab12"
    assert facts["films judged"] == "1,200 of 300 patients; no patient is in both support and query"
    assert facts["speed"] == "20,123 episodes per second"
    assert facts["episodes"].endswith("seed 7")


def test_an_interval_below_two_episodes_is_none():
    assert interval_text(Estimate(0.5)) == "none"


def test_a_short_row_is_refused():
    with pytest.raises(ValueError, match=r"a row has 1 cells under 2 columns: \('a',\)"):
        Table(("x", "y"), (("a",),))
