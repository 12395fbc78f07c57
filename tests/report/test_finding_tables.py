import numpy as np

from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.compare import compare_results
from fewshot_cxr.evaluation.films import evaluate_closed_set
from fewshot_cxr.report import confusion_table, findings_table
from fewshot_cxr.report.compare_tables import comparison_table
from fewshot_cxr.report.score_tables import overall_table


def make_decisions(right=(0.9, 0.8, 0.6, 0.7), **more):
    """Eight films of eight patients, four with each finding; `right` is the probability of the true one."""
    true_ids = np.array([0, 1] * 4)
    sure = np.repeat(right, 2)
    probabilities = np.where(np.arange(2) == true_ids[:, None], sure[:, None], 1 - sure[:, None])
    values = {
        "findings": ("effusion", "normal"),
        "truth": true_ids,
        "probabilities": probabilities,
        "paths": tuple(f"{row}.png" for row in range(8)),
    }
    return Answers(**values | more)


def test_overall_numbers_stand_beside_intervals_floors_and_calibration():
    other = make_decisions(right=(0.9, 0.2, 0.6, 0.7), paths=tuple("abcdefgh"))
    result = evaluate_closed_set(
        make_decisions(), calibration=other, baselines={"pixels": make_decisions((0.4, 0.8, 0.6, 0.7))}
    )
    table = overall_table(result)
    rows = {name: (value, interval) for name, value, interval in table.rows}
    assert table.caption == "8 films (patients unknown), classifier"
    assert rows["accuracy"][0] == "100.0 %"
    assert rows["accuracy"][1].endswith("to 100.0 %")
    assert rows["MCC (-1 to 1)"] == ("1.000", "0.177 to 1.000")
    assert rows["baseline: accuracy on pixels"][0] == "75.0 %"
    assert rows["accuracy above pixels"][0] == "25.0 %"
    assert rows["calibration error (ECE)"][0] == "25.0 %"
    assert "Brier score (0 to 2), fitted on other films" in rows


def test_transductive_is_printed():
    result = evaluate_closed_set(make_decisions(is_transductive=True, rule="tim", distance="cosine"))
    assert overall_table(result).caption == "8 films (patients unknown), tim (cosine), transductive"


def test_each_finding_has_a_row_and_what_is_absent_is_unknown():
    decisions = make_decisions(probabilities=np.eye(2)[[0, 1, 0, 1, 0, 1, 0, 0]], has_probabilities=False)
    result = evaluate_closed_set(decisions)
    effusion, normal = findings_table(result).rows
    assert effusion[:3] == ("effusion", "4", f"100.0\n{effusion[2].split(chr(10))[1]}")
    assert normal[2].startswith("75.0\n[")
    assert normal[-1] == "unknown"
    assert confusion_table(result).columns == ("films of", "as effusion", "as normal")
    assert confusion_table(result).rows == (("effusion", "4", "0"), ("normal", "1", "3"))


def test_ties_count_in_parts():
    result = evaluate_closed_set(make_decisions((0.5, 0.9, 0.9, 0.9)))
    assert confusion_table(result).rows == (("effusion", "3.5", "0.5"), ("normal", "0.5", "3.5"))


def test_a_comparison_says_what_is_less_what_and_by_which_test():
    results = [evaluate_closed_set(make_decisions(right)) for right in ((0.9, 0.8, 0.6, 0.7), (0.4, 0.8, 0.6, 0.7))]
    table = comparison_table(compare_results(*results, names=("new", "old")))
    assert table.caption.startswith("new less old, on the same films: 8 films (patients unknown); ")
    assert table.columns == ("", "new", "old", "difference", "95 %", "p", "test")
    accuracy, *_ = table.rows
    assert accuracy[:4] == ("accuracy", "100.0 %", "75.0 %", "+25.0")
    assert accuracy[-1] == "paired jackknife"
    brier = next(row for row in table.rows if row[0] == "Brier score (0 to 2)")
    assert brier[1].startswith("0.")
    mcnemar = next(row for row in table.rows if row[-1] == "McNemar")
    assert mcnemar[4:6] == ("unknown", "0.50")
