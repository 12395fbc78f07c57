import csv
import io
from dataclasses import replace

from made_results import GENERALIZED, OPEN_RESULT, RESULT

from fewshot_cxr.metrics import Estimate, numbers_in
from fewshot_cxr.report import numbers_csv


def rows_of(result):
    return list(csv.DictReader(io.StringIO(numbers_csv(result))))


def test_a_row_holds_a_number_with_both_intervals():
    rows = {(row["number"], row["finding"]): row for row in rows_of(RESULT)}
    assert set(next(iter(rows.values()))) == {
        "number",
        "finding",
        "mean",
        "low",
        "high",
        "low_episodes",
        "high_episodes",
        "interval_over",
    }
    assert {row["interval_over"] for row in rows.values()} == {"over patients"}
    for name in numbers_in("overall"):
        row = rows[name, ""]
        assert [float(row[end]) for end in ("mean", "low", "high")] == [0.8123, 0.701, 0.8888]
        assert [float(row[end]) for end in ("low_episodes", "high_episodes")] == [0.805, 0.8199]
    assert float(rows["sensitivity", "effusion"]["mean"]) == 0.8123
    assert float(rows["above_floor_pixels", ""]["low"]) == -0.02
    assert float(rows["ece", ""]["mean"]) == 0.0712
    assert ("ece_after", "") not in rows


def test_every_part_has_its_rows():
    names = {row["number"] for row in (*rows_of(OPEN_RESULT), *rows_of(GENERALIZED))}
    assert {
        "ece_after",
        "brier_after",
        "open_set_knn_auroc",
        "open_set_distance_fpr_at_95_tpr",
        "open_set_area",
    } <= names
    assert {"accuracy_seen", "accuracy_novel", "accuracy_harmonic_mean", "floor_pixels"} <= names


def test_what_is_undefined_is_empty_and_names_are_quoted():
    name = 'a, "b"'
    none = {"ppv": Estimate(None, reason="no query")}
    result = replace(RESULT, scores=replace(RESULT.scores, per_class={name: none}))
    row = next(row for row in rows_of(result) if row["finding"] == name)
    assert [row[key] for key in ("mean", "low", "high", "low_episodes", "high_episodes")] == [""] * 5
