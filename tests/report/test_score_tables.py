"""What is said of a result: intervals over patients first, what is undefined with its reason, transductive aloud."""

from dataclasses import replace

import pytest
from made_results import (
    AFTER,
    ESTIMATE,
    GENERALIZED,
    MULTI_LABEL,
    NO_PATIENTS,
    NOT_ASKED,
    OPEN_RESULT,
    OVERLAPPING,
    RESULT,
    changed,
    made_result,
    with_overall,
)

from fewshot_cxr.evaluation.comparison import Comparison, Difference
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report import (
    accuracy_table,
    confusion_table,
    findings_table,
    is_alarm,
    numbers_table,
    patients_text,
    protocol_facts,
    reading_text,
    recall_table,
)
from fewshot_cxr.report.compare_tables import comparison_table
from fewshot_cxr.report.episode_words import protocol_text
from fewshot_cxr.report.tables import UNKNOWN

OVER_PATIENTS, OVER_EPISODES = "70.1 to 88.9 %", "80.5 to 82.0 %"
TABLES = (accuracy_table, numbers_table, findings_table, recall_table, confusion_table)


def rows_of(table):
    return {row[0]: row[1:] for row in table.rows}


def test_accuracy_stands_beside_floor_and_chance():
    table = accuracy_table(RESULT)
    assert table.columns == ("", "value", "95 % over patients", "95 % over episodes")
    assert table.rows == (
        ("accuracy", "81.2 %", OVER_PATIENTS, OVER_EPISODES),
        ("baseline: nearest centroid on pixels", "62.5 %", "55.0 to 70.0 %", "62.0 to 63.0 %"),
        ("  accuracy above it, in points", "+18.7", "-2.0 to +25.0", "+18.0 to +19.0"),
        ("chance", "50.0 %", "", ""),
    )
    assert table.caption == (
        "2-way 5-shot, 10 queries per finding, 1,000 episodes, rule mean_distance (euclidean), seed 7"
    )
    assert table.below == ()


def test_seen_and_novel_findings_have_their_rows():
    rows = rows_of(accuracy_table(GENERALIZED))
    for name in ("accuracy on seen findings", "accuracy on novel findings", "harmonic mean of seen and novel"):
        assert rows[name] == ("81.2 %", OVER_PATIENTS, OVER_EPISODES)
    assert protocol_text(GENERALIZED).startswith("Protocol generalized: 2-way 5-shot")


def test_numbers_show_calibration_and_why_parts_are_absent():
    table = numbers_table(RESULT)
    rows = rows_of(table)
    assert rows["macro F1"] == ("81.2 %", OVER_PATIENTS, OVER_EPISODES)
    assert rows["MCC (-1 to 1)"] == ("0.812", "0.701 to 0.889", "0.805 to 0.820")
    assert rows["calibration error (ECE)"] == ("7.1 %", "5.0 to 11.0 %", "7.0 to 7.2 %")
    assert rows["Brier score (0 to 2)"] == ("0.310", "0.250 to 0.370", "0.300 to 0.320")
    assert dict(table.below) == {
        "calibration after a temperature": "no films were named for it",
        '"none of these" (open set)': "no finding is left outside",
    }


def test_numbers_show_what_there_is():
    table = numbers_table(OPEN_RESULT)
    rows = rows_of(table)
    assert rows["calibration error (ECE), fitted on other films"][0] == f"{100 * AFTER.ece.mean:.1f} %"
    for score in ("maximum probability", "nearest distance", "kNN distance"):
        assert rows[f"none of these, by {score}: AUROC"] == ("81.2 %", OVER_PATIENTS, OVER_EPISODES)
        assert f"none of these, by {score}: FPR" in rows
    assert "mean risk over all coverages" in rows
    assert [name for name, _ in table.below] == ["FPR"]


def test_the_findings_fit_into_a_terminal():
    names = ("peripheral_ground", "normal")
    table = findings_table(made_result(*names))
    assert table.columns == ("finding", "sens.", "spec.", "PPV", "NPV", "F1", "AUROC", "AUPRC")
    assert table.rows[0] == (names[0], *["81.2\n[70-89]"] * 7)
    widths = [max(len(line) for row in table.rows for line in row[column].splitlines()) for column in range(8)]
    assert sum(widths) + 3 * len(widths) + 1 <= 100
    assert "95 % over patients" in table.caption


def test_recall_names_the_usual_mistake():
    rows = rows_of(recall_table(RESULT))
    assert rows["normal"] == ("81.2 %", OVER_PATIENTS, OVER_EPISODES, "effusion (10.0 %)")
    right = replace(RESULT, confusion=((9.0, 0.0), (1.0, 1.0)))
    assert rows_of(recall_table(right))["normal"][-1] == "nothing else"


def test_of_equal_mistakes_the_first_finding_is_named():
    three = made_result("a", "b", "c", confusion=((8.0, 1.0, 1.0), (0.0, 5.0, 0.0), (0.0, 0.0, 1.0)))
    assert [row[-1] for row in recall_table(three).rows] == ["b (10.0 %)", "nothing else", "nothing else"]


def test_confusion_is_counts_and_per_cent_of_findings_that_were_asked():
    three = made_result("a", "never", "c", confusion=((1500.0, 0.0, 500.0), (0.0, 0.0, 0.0), (0.5, 0.0, 1.5)))
    table = confusion_table(three)
    assert table.columns == ("queries of", "as a", "as c")
    assert table.rows == (("a", "1,500\n75.0 %", "500\n25.0 %"), ("c", "0.5\n25.0 %", "1.5\n75.0 %"))
    assert confusion_table(MULTI_LABEL) is None
    assert confusion_table(made_result(*(f"finding {number}" for number in range(11)))) is None


def test_an_undefined_number_has_its_reason_below():
    none = Estimate(None, reason="undefined: no query has the finding")
    result = replace(
        RESULT,
        scores=replace(
            with_overall(RESULT.scores, mcc=none),
            per_class={"normal": RESULT.scores.per_class["normal"] | {"ppv": none}},
        ),
    )
    table = numbers_table(result)
    assert rows_of(table)["MCC (-1 to 1)"] == ("unknown", "", "")
    assert ("MCC (-1 to 1)", "no query has the finding") in table.below
    table = findings_table(result)
    assert table.rows[0][3] == "unknown"
    assert table.below == (("normal, ppv", "no query has the finding"),)


def test_without_intervals_over_patients_the_words_change():
    table = accuracy_table(NO_PATIENTS)
    assert table.rows[0] == ("accuracy", "81.2 %", "unknown", OVER_EPISODES)
    assert table.below == (("interval over patients", NOT_ASKED),)
    table = findings_table(NO_PATIENTS)
    assert "95 % over episodes" in table.caption
    assert table.rows[0][1] == "81.2\n[80-82]"
    assert "There is none over patients" in reading_text(NO_PATIENTS)
    assert patients_text(NO_PATIENTS) == "none was estimated"
    assert numbers_table(NO_PATIENTS).below[0] == ("interval over patients", NOT_ASKED)


def test_patients_are_named_first():
    text = reading_text(RESULT)
    assert text.index("over patients: where") < text.index("over episodes: how")
    assert patients_text(RESULT) == "300 patients left out in turn, in 5,000 episodes"


@pytest.mark.parametrize("make", TABLES)
def test_a_transductive_rule_says_so_in_every_table(make):
    result = replace(OPEN_RESULT, rule="tim", distance="cosine", is_transductive=True)
    assert "transductive" in make(result).caption
    assert "transductive" not in make(OPEN_RESULT).caption


def test_several_findings_a_film_have_no_accuracy():
    table = accuracy_table(MULTI_LABEL)
    assert table.rows == (("accuracy", "unknown", "", ""),)
    assert table.below == (("accuracy", "films may show several findings"),)
    assert rows_of(recall_table(MULTI_LABEL))["normal"][-1] == ""
    assert dict(numbers_table(MULTI_LABEL).below)["calibration"] == "unknown where a film may show several findings"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_shot": {"a": 2, "b": 5}}, "2-way, shots a 2, b 5, 10 queries per finding"),
        ({"protocol": {"name": "closed", "prevalence": "natural"}}, "2-way 5-shot, 20 queries in the natural shares"),
        (
            {"protocol": {"name": "fixed_support", "n_folds": 4, "n_repeats": 20}, "n_shot": None, "n_query": None},
            "Protocol fixed_support: 2-way, cross-validation in 4 folds, 20 times",
        ),
    ],
)
def test_the_protocol_is_one_line(changes, words):
    assert words in protocol_text(changed(RESULT, **changes))


def test_facts_suffice_to_draw_the_episodes_again():
    facts = dict(protocol_facts(replace(GENERALIZED, notes=("something shrunk",))))
    assert facts["hash of the episodes"] == "ab12" * 16
    assert facts["films judged"] == "1,200 of 300 patients; no patient is in both support and query"
    assert facts["speed"].startswith("20,123 episodes per second")
    assert facts["episodes"].endswith("seed 7")
    assert (facts["seen in training"], facts["not seen in training"]) == ("normal", "effusion")
    assert facts["note"] == "something shrunk"


def test_overlap_of_patients_is_an_alarm():
    assert [is_alarm(warning) for warning in OVERLAPPING.warnings] == [True, False]
    assert "PATIENTS MAY BE in both support and query" in dict(protocol_facts(OVERLAPPING))["films judged"]


def test_the_mean_is_shown_where_no_interval_is():
    lone = with_overall(RESULT.scores, accuracy=Estimate(0.5, reason="one episode gives no interval"))
    table = accuracy_table(replace(RESULT, scores=lone))
    assert table.rows[0] == ("accuracy", "50.0 %", "unknown", "unknown")
    assert table.below == (("interval over patients", "one episode gives no interval"),)
    assert ESTIMATE.ci95 == ESTIMATE.ci95_patients


def test_unknown_is_the_one_word_for_what_cannot_be_computed():
    scores = with_overall(RESULT.scores, mcc=Estimate(None, reason="undefined: one finding alone was asked"))
    table = numbers_table(replace(RESULT, scores=scores))
    row = next(row for row in table.rows if row[1] == UNKNOWN)
    assert dict(table.below)[row[0]] == "one finding alone was asked"
    pair = Difference("accuracy", 0.5, 0.5, 0.0, None, None, "none", "one share of episodes gives no interval")
    facts = {"results": "episodes", "names": ("a", "b"), "common_hash": "ab", "n_films": 9, "n_patients": 3}
    (cells,) = comparison_table(Comparison(rows=(pair,), **facts)).rows
    assert cells[-3:] == (UNKNOWN,) * 3
