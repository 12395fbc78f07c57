import pytest

from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report import Table
from fewshot_cxr.report.tables import interval_text, number_text, value_text


def test_a_short_row_is_refused():
    with pytest.raises(ValueError, match=r"a row has 1 cells under 2 columns: \('a',\)"):
        Table(("x", "y"), (("a",),))


def test_shares_are_per_cent_and_other_numbers_are_plain():
    assert value_text(Estimate(0.8123)) == "81.2 %"
    assert value_text(Estimate(-0.1), "plain") == "-0.100"
    assert interval_text((0.805, 0.8199)) == "80.5 to 82.0 %"
    assert interval_text((-0.1, 0.25), "plain") == "-0.100 to 0.250"
    assert [number_text(gap, "points") for gap in (0.1873, -0.02)] == ["+18.7", "-2.0"]


def test_what_is_not_there_is_said():
    assert value_text(Estimate(None, reason="no query")) == "unknown"
    assert interval_text(None) == "unknown"
