import math

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


def test_a_row_of_one_thing_counts():
    counts = [[1, 0], [5, 9], [7, 2]]
    assert cramers_v(counts) == pytest.approx(association(np.array(counts), method="cramer"))


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


def slow_corrected(table):
    """Bergsma 2013, section 3, written out."""
    n = table.sum()
    expected = np.outer(table.sum(1), table.sum(0)) / n
    phi2 = ((table - expected) ** 2 / expected).sum() / n
    r, k = table.shape
    phi2 = max(0, phi2 - (r - 1) * (k - 1) / (n - 1))
    r, k = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    return math.sqrt(phi2 / min(r - 1, k - 1))


@pytest.mark.parametrize("shape", [(2, 2), (3, 4), (5, 6)])
@pytest.mark.parametrize("seed", range(10))
def test_the_correction_is_that_of_the_paper(seed, shape):
    table = np.random.default_rng(seed).integers(1, 30, shape)
    assert cramers_v(table, is_corrected=True) == pytest.approx(slow_corrected(table))


def test_chance_alone_is_taken_off():
    rng = np.random.default_rng(0)
    plain, corrected = [], []
    for _ in range(50):
        table = np.zeros((3, 60), dtype=int)
        np.add.at(table, (rng.integers(0, 3, 200), rng.integers(0, 60, 200)), 1)
        plain.append(cramers_v(table))
        corrected.append(cramers_v(table, is_corrected=True))
    assert np.mean(plain) > 0.5
    assert np.mean(corrected) < 0.1


def test_columns_of_one_thing_each_tell_nothing_and_complete_ones_all():
    assert cramers_v(np.eye(2).repeat(50, axis=1), is_corrected=True) == 0
    assert cramers_v([[500, 0], [500, 0], [0, 124]], is_corrected=True) == pytest.approx(1, abs=0.01)
