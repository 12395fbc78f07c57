import numpy as np
import pytest
from scipy.stats.contingency import association, crosstab

from fewshot_cxr.metrics.association import cramers_v, cross_table


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (2, 5), (4, 4)])
def test_v_equals_scipys(shape):
    draw = np.random.default_rng(sum(shape))
    counts = draw.integers(1, 60, shape)
    assert cramers_v(counts) == pytest.approx(association(counts, method="cramer"), abs=1e-12)
    assert cramers_v(counts.T) == pytest.approx(cramers_v(counts), abs=1e-12)
    assert cramers_v(7 * counts) == pytest.approx(cramers_v(counts), abs=1e-12)


def test_v_is_one_where_one_column_tells_the_other_and_none_where_not():
    assert cramers_v([[500, 0], [500, 0], [0, 124]]) == 1
    assert cramers_v(10 * np.eye(3)) == 1
    assert cramers_v([[10, 20], [30, 60]]) == 0


def test_empty_rows_and_columns_do_not_matter():
    assert cramers_v([[3, 0, 1], [0, 0, 0], [1, 0, 4]]) == cramers_v([[3, 1], [1, 4]])


@pytest.mark.parametrize("counts", [[[3, 4]], [[3], [4]], [[0, 0], [3, 4]], [[0, 0], [0, 0]]])
def test_one_row_has_no_association(counts):
    with pytest.raises(ValueError, match=r"^counts must have two rows and two columns that hold.*, got [012] x "):
        cramers_v(counts)


def test_the_cross_table_equals_scipys():
    draw = np.random.default_rng(0)
    rows, columns = draw.choice(list("abc"), 50), draw.choice(["x", "y"], 50)
    (row_names, column_names), counts = crosstab(rows, columns)
    table = cross_table(rows.tolist(), columns.tolist())
    assert [list(line.values()) for line in table.values()] == counts.tolist()
    assert (list(table), list(table["a"])) == (row_names.tolist(), column_names.tolist())
    assert cross_table([], []) == {}
