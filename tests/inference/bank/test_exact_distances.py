"""The float64 distances of a bank's sets: those of `distances`, whatever the shape, and copies tie."""

import numpy as np
import pytest
import torch

from fewshot_cxr.distances import DISTANCES, pairwise_distances
from fewshot_cxr.inference.bank.exact_distances import exact_distances

DRAW = np.random.default_rng(0)
ROWS, COLUMNS, GROUPS = DRAW.normal(size=(4, 6)), DRAW.normal(size=(5, 6)), DRAW.normal(size=(4, 3, 6))
ROWS[1] = COLUMNS[2] = 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_they_are_those_that_rules_take(distance):
    expected = pairwise_distances(torch.from_numpy(ROWS), torch.from_numpy(COLUMNS), distance)
    np.testing.assert_allclose(exact_distances(ROWS, COLUMNS, distance), expected, rtol=1e-9, atol=1e-12)
    single = ROWS.astype(np.float32), COLUMNS.astype(np.float32)
    assert exact_distances(*single, distance).dtype == np.float64


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_row_may_have_columns_of_its_own(distance):
    slow = [exact_distances(row[None], own, distance)[0] for row, own in zip(ROWS, GROUPS, strict=True)]
    np.testing.assert_allclose(exact_distances(ROWS, GROUPS, distance), slow, rtol=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
def test_copies_tie_and_company_changes_no_digit(distance):
    twice = np.concatenate([COLUMNS, COLUMNS[:2]])
    found = exact_distances(ROWS, twice, distance)
    np.testing.assert_array_equal(found[:, :2], found[:, 5:])
    np.testing.assert_array_equal(exact_distances(ROWS[2:3], twice[3:], distance), found[2:3, 3:])


def test_an_unknown_distance_is_refused():
    with pytest.raises(ValueError, match="unknown distance 'cosin'"):
        exact_distances(ROWS, COLUMNS, "cosin")
