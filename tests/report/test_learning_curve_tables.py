"""A learning curve on a page and in a terminal: what is unknown is said, with its reason."""

import csv
from dataclasses import replace

import pytest

from fewshot_cxr.evaluation import Forecast, LearningCurve
from fewshot_cxr.evaluation.learning_curve_result import CurvePoint, LeftOut
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report import draw_learning_curve
from fewshot_cxr.report.learning_curve_tables import forecast_table, learning_curve_csv, learning_curve_table

REFUSED = Estimate(None, reason="no forecast: too few")


def sure(mean):
    return Estimate(mean, (mean - 0.01, mean + 0.01), (mean - 0.05, mean + 0.05))


@pytest.fixture
def curve():
    points = [
        CurvePoint(n_shot, sure(mean), {"normal": sure(mean - 0.1), "covid19": sure(mean + 0.1)}, "hash")
        for n_shot, mean in ((1, 0.5), (5, 0.6))
    ]
    unsure = Estimate(0.65, (0.64, 0.66), reason="nearly every episode holds them all")
    points.append(CurvePoint(10, unsure, {"normal": unsure, "covid19": unsure}, "hash"))
    return LearningCurve(
        points=tuple(points),
        left_out=(LeftOut(20, "too few films"),),
        forecasts=(
            Forecast("accuracy", 20, sure(0.7), sure(0.05)),
            Forecast("recall of covid19", 20, REFUSED, REFUSED),
            Forecast("recall of covid19", 30, REFUSED, REFUSED),
        ),
        findings=("normal", "covid19"),
        novel=("covid19",),
        rule="prototype",
        distance="euclidean",
        **dict.fromkeys(("n_way", "n_query", "n_episodes", "n_films", "n_support_films", "n_query_films"), 2),
        **{"n_patients": 2, "n_films_without_patient": 0, "seed": 0, "seconds": 1.0, "data_hash": "hash"},
    )


def test_the_new_finding_stands_first_and_no_interval_over_episodes_is_shown_as_one_over_patients(curve):
    table = learning_curve_table(curve)
    assert table.columns == ("shots", "accuracy", "recall of covid19 (new)", "recall of normal")
    assert table.rows[0] == ("1", "50.0\n[45-55]", "60.0\n[55-65]", "40.0\n[35-45]")
    assert table.rows[2][1] == "65.0\nunknown"
    assert table.rows[3] == ("20", "left out", "left out", "left out")
    assert ("20 shots left out", "too few films") in table.below
    assert ("interval of 10 shots", "nearly every episode holds them all") in table.below


def test_a_forecast_that_is_refused_says_why_once(curve):
    table = forecast_table(curve)
    assert table.rows[0] == ("accuracy, 20 shots", "70.0 %", "65.0 to 75.0 %", "+5.0 points", "+0.0 to +10.0")
    assert table.rows[1] == ("recall of covid19, 20, 30 shots", *["unknown"] * 4)
    assert table.below == (("recall of covid19, 20, 30 shots", "no forecast: too few"),)


def test_the_csv_holds_every_number(curve):
    rows = list(csv.DictReader(learning_curve_csv(curve).splitlines()))
    assert len(rows) == 3 * 3 + 3
    assert [row["n_shot"] for row in rows if row["number"] == "accuracy"] == ["1", "5", "10", "20"]
    assert (rows[-1]["finding"], rows[-1]["mean"], rows[-1]["is_forecast"]) == ("covid19", "", "1")
    assert (rows[0]["low"], rows[0]["high"]) == ("0.45", "0.55")


def test_no_name_in_the_csv_is_a_formula(curve):
    points = [replace(point, recalls={"=cmd": point.accuracy}) for point in curve.points]
    text = learning_curve_csv(replace(curve, points=tuple(points)))
    assert "recall,'=cmd," in text
    assert ",=cmd" not in text


def test_the_figure_shows_forecasts_where_there_are_some(curve):
    figure = draw_learning_curve(curve)(title="How many films", theme="dark")
    upper = figure.axes[0]
    assert [text.get_text() for text in upper.texts] == ["chance", "forecast"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["covid19", "normal"]
    assert len(upper.collections) == 2  # the error bars and the band
    alone = draw_learning_curve(replace(curve, forecasts=()))()
    assert [text.get_text() for text in alone.axes[0].texts] == ["chance"]
