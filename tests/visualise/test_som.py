from itertools import combinations

import numpy as np
import pytest
from minisom import MiniSom

from fewshot_cxr.seeding import generator
from fewshot_cxr.visualise.som import Som, cell_distances, class_proximity, train_som


def films(n_films=60, dim=7, seed=0):
    return np.random.default_rng(seed).standard_normal((n_films, dim)) * np.linspace(3, 1, dim) + 5


def on_a_line(n_each=40):
    draw = np.random.default_rng(0)
    groups = ["near"] * n_each + ["middle"] * n_each + ["far"] * n_each
    places = {"near": 0.0, "middle": 10.0, "far": 20.0}
    vectors = draw.standard_normal((len(groups), 6))
    vectors[:, 0] += [places[group] for group in groups]
    return vectors, groups


def made(winners, shape=(3, 4)):
    return Som(np.zeros((*shape, 2)), np.array(winners, dtype=np.int64), 0.0, 0.0, {})


def neighbourhood(distance, radius):
    return np.exp(-(distance**2) / (2 * radius**2))


@pytest.mark.parametrize("radius", [1.0, 3.0, 10.0])
def test_the_neighbourhood_is_one_at_the_winner_and_falls(radius):
    """The published code multiplied by the square of the radius: h(1) was 2e-22 at radius 10."""
    row = MiniSom(30, 30, 2, sigma=radius, neighborhood_function="gaussian").neighborhood((0, 0), radius)[0]
    assert row[0] == 1
    assert (np.diff(row) < 0).all()
    assert row == pytest.approx(neighbourhood(np.arange(30), radius))
    if radius == 10:
        assert row[1] == pytest.approx(0.995, abs=1e-4)


def test_training_is_kohonens_rule_film_by_film():
    rows, grid, n_epochs = films(9, 4), (3, 2), 4
    som = train_som(rows, grid=grid, n_epochs=n_epochs, seed=5)
    start = train_som(rows, grid=grid, n_epochs=1, seed=5)
    # The grid before the first film: along the two principal axes, two standard deviations to either side.
    _, singular, axes = np.linalg.svd(rows - rows.mean(axis=0))
    spreads = singular / np.sqrt(len(rows) - 1)
    found = []
    for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        weights = np.empty((*grid, 4))
        for row in range(3):
            for column in range(2):
                along, across = 2 * (row - 1) * spreads[0], (4 * column - 2) * spreads[1]
                weights[row, column] = rows.mean(axis=0) + signs[0] * along * axes[0] + signs[1] * across * axes[1]
        found.append([slowly(weights.copy(), rows, n, 5) for n in (1, n_epochs)])
    assert any(np.allclose(one, start.weights) and np.allclose(all_, som.weights) for one, all_ in found)


def slowly(weights, rows, n_epochs, seed):
    n_steps, step = n_epochs * len(rows), 0
    radius_0 = max(1.0, max(weights.shape[:2]) / 2)
    for epoch in range(n_epochs):
        for film in generator(seed, "som", epoch).permutation(len(rows)):
            rate = 0.5 * (1 - step / n_steps)
            radius = radius_0 + (1 - radius_0) * step / n_steps
            cells = list(np.ndindex(weights.shape[:2]))
            winner = min(cells, key=lambda cell: np.linalg.norm(weights[cell] - rows[film]))
            for cell in cells:
                apart = np.hypot(cell[0] - winner[0], cell[1] - winner[1])
                weights[cell] += rate * neighbourhood(apart, radius) * (rows[film] - weights[cell])
            step += 1
    return weights


@pytest.mark.parametrize("grid", [(5, 4), (2, 9), (1, 6), (6, 1)])
def test_errors_and_winners_are_those_of_a_slow_loop(grid):
    rows = films()
    som = train_som(rows, grid=grid, n_epochs=3)
    nearest, torn = [], 0
    for film, winner in zip(rows, som.winners.tolist(), strict=True):
        by_distance = sorted(np.ndindex(*grid), key=lambda cell: np.linalg.norm(som.weights[cell] - film))
        assert tuple(winner) == by_distance[0]
        nearest.append(np.linalg.norm(som.weights[by_distance[0]] - film))
        one, other = by_distance[:2]
        torn += max(abs(one[0] - other[0]), abs(one[1] - other[1])) > 1
    assert som.quantisation_error == pytest.approx(np.mean(nearest))
    assert som.topographic_error == pytest.approx(torn / len(rows))


def test_errors_and_u_matrix_are_those_of_minisom():
    rows = films()
    som = train_som(rows, grid=(6, 5), n_epochs=3)
    oracle = MiniSom(6, 5, rows.shape[1])
    oracle.get_weights()[:] = som.weights
    assert som.quantisation_error == pytest.approx(oracle.quantization_error(rows))
    assert som.topographic_error == pytest.approx(oracle.topographic_error(rows))
    u_matrix = cell_distances(som)
    assert u_matrix / u_matrix.max() == pytest.approx(oracle.distance_map(scaling="mean"))


def test_the_u_matrix_is_that_of_a_slow_loop():
    som = train_som(films(), grid=(4, 3), n_epochs=2)
    for row, column in np.ndindex(4, 3):
        around = [
            np.linalg.norm(som.weights[row, column] - som.weights[near])
            for near in np.ndindex(4, 3)
            if near != (row, column) and abs(near[0] - row) <= 1 and abs(near[1] - column) <= 1
        ]
        assert cell_distances(som)[row, column] == pytest.approx(np.mean(around))


def test_a_map_keeps_the_contract():
    rows, seen, told = films(), np.random.get_state()[1].copy(), []
    som = train_som(rows, grid=(5, 4), n_epochs=4, seed=2, progress=lambda done, total: told.append((done, total)))
    again = train_som(rows, grid=(5, 4), n_epochs=4, seed=2)
    assert som.weights.shape == (5, 4, 7)
    assert som.winners.shape == (60, 2)
    assert np.array_equal(som.weights, again.weights)
    assert not np.array_equal(som.weights, train_som(rows, grid=(5, 4), n_epochs=4, seed=3).weights)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert som.settings["radius"] == "2.5 to 1 cells, linear"
    assert som.settings["variance_kept"] == pytest.approx(1)
    assert (np.random.get_state()[1] == seen).all(), "the global generator was used"


def test_embeddings_of_many_dimensions_are_trained_on_the_principal_ones():
    rows = films(80, 60)
    som = train_som(rows, grid=(4, 4), n_epochs=3)
    assert som.settings["n_dimensions"] == 50
    assert 0.5 < som.settings["variance_kept"] < 1
    assert som.weights.shape == (4, 4, 60)
    slow = np.mean([min(np.linalg.norm(som.weights[cell] - film) for cell in np.ndindex(4, 4)) for film in rows])
    assert som.quantisation_error == pytest.approx(slow)


def test_training_helps_and_the_map_is_hardly_torn():
    rows = films(300)
    short, long = train_som(rows, n_epochs=1), train_som(rows, n_epochs=30)
    assert long.quantisation_error < short.quantisation_error
    assert long.topographic_error < 0.1


def test_cosine_looks_at_directions_only():
    rows = films()
    longer = rows * np.linspace(0.1, 9, len(rows))[:, None]
    one, other = (train_som(each, grid=(3, 3), n_epochs=2, distance="cosine") for each in (rows, longer))
    assert np.allclose(one.weights, other.weights)


@pytest.mark.parametrize("rows", [np.array([[0.0], [1.0]]), np.eye(4)[[0] * 5 + [1]], np.outer(np.arange(5.0), [1, 1])])
def test_strange_embeddings_are_mapped(rows):
    som = train_som(rows, grid=(3, 3), n_epochs=3)
    assert np.isfinite(som.weights).all()
    assert np.isfinite([som.quantisation_error, som.topographic_error]).all()


def test_three_blobs_on_a_line_come_out_in_that_order():
    vectors, groups = on_a_line()
    som = train_som(vectors, grid=(8, 8), n_epochs=10)
    rows = class_proximity(som, groups)
    nearest_first = [(row.finding, row.other, row.rank) for row in rows if row.finding != "middle"]
    assert nearest_first == [("far", "middle", 1), ("far", "near", 2), ("near", "middle", 1), ("near", "far", 2)]
    apart = next(row for row in rows if (row.finding, row.other) == ("near", "far"))
    assert apart.mean_distance > apart.chance95[1] > apart.chance_distance
    assert apart.n_films == apart.n_other == 40


def test_proximity_by_hand():
    som = made([(0, 0), (0, 3), (2, 0), (0, 0)])
    one, other = class_proximity(som, ["b", "b", "a", "a"])
    assert (one.finding, one.other, other.finding, other.other) == ("a", "b", "b", "a")
    between = [2, np.hypot(2, 3), 0, 3]  # (2, 0) and (0, 0) to (0, 0) and (0, 3)
    assert one.mean_distance == pytest.approx(np.mean(between))
    places = [(0, 0), (0, 3), (2, 0), (0, 0)]
    all_pairs = [np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in combinations(places, 2)]
    assert one.chance_distance == pytest.approx(np.mean(all_pairs))


def test_findings_that_mean_nothing_lie_within_chance():
    som = train_som(films(400), n_epochs=3)
    groups = np.random.default_rng(1).choice(["a", "b", "c"], 400).tolist()
    rows = class_proximity(som, groups, seed=4)
    assert rows == class_proximity(som, groups, seed=4)
    assert sum(row.chance95[0] <= row.mean_distance <= row.chance95[1] for row in rows) >= 4
    assert all(row.chance95[0] < row.chance_distance < row.chance95[1] for row in rows)


def test_equal_distances_share_a_rank():
    rows = class_proximity(made([(0, 1), (0, 0), (0, 2), (0, 3)]), ["a", "b", "c", "d"])
    assert [(row.other, row.rank) for row in rows if row.finding == "a"] == [("b", 1), ("c", 1), ("d", 3)]


@pytest.mark.parametrize("grid", [(1, 1), (0, 4), (4,), (2, 2, 2)])
def test_a_grid_that_is_none_is_refused(grid):
    with pytest.raises(ValueError, match=r"^grid must be rows and columns with at least 2 cells, got \("):
        train_som(films(), grid=grid)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"^n_epochs must be at least 1, got 0$"):
        train_som(films(), n_epochs=0)
    with pytest.raises(ValueError, match="row 1 of vectors is not finite"):
        train_som([[0.0], [np.nan]])
    with pytest.raises(ValueError, match="all 3 vectors are the same"):
        train_som(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"^each film needs a group, got 1 groups for 2 films$"):
        class_proximity(made([(0, 0), (0, 1)]), ["a"])
    with pytest.raises(ValueError, match=r"^proximity needs at least 2 findings, got \['a'\]$"):
        class_proximity(made([(0, 0), (0, 1)]), ["a", "a"])
