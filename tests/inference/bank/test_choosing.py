from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_cxr.data import patient_ids
from fewshot_cxr.distances import DISTANCES, pairwise_distances
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference import sample_exemplars
from fewshot_cxr.inference.bank import CHOICES, choose
from fewshot_cxr.inference.bank import choosing as choosing_module
from fewshot_cxr.records import Record, Records


def draw(n_films=24, dim=3, *, n_patients=None, n_findings=2, seed=0):
    """Films of some findings; a patient may have films of both."""
    numbers = np.random.default_rng(seed)
    patients = numbers.integers(0, n_patients, n_films) if n_patients else np.arange(n_films)
    findings = [f"finding {code}" for code in numbers.integers(0, n_findings, n_films)]
    paths = [f"{numbers.integers(10**9)}.png" for _ in range(n_films)]
    return Embeddings(numbers.standard_normal((n_films, dim)), findings, patients, paths=paths)


def chosen_paths(support, *arguments, **options):
    return [support.paths[row] for row in choose(support, *arguments, **options)]


def rows_of(support, code):
    """Rows of a finding in the order of their paths."""
    return sorted(np.flatnonzero(support.class_ids == code).tolist(), key=lambda row: support.paths[row])


def matrix(support, rows, distance="euclidean"):
    vectors = torch.from_numpy(support.vectors[rows]).double()
    return pairwise_distances(vectors, vectors, distance).numpy()


@pytest.mark.parametrize("how", CHOICES)
@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_choice_spreads_over_patients_and_does_not_see_the_order_of_rows(how, data):
    numbers = {name: data.draw(st.integers(1, most), label=name) for name, most in (("films", 30), ("patients", 12))}
    support = draw(numbers["films"], n_patients=numbers["patients"], seed=data.draw(st.integers(0, 999)))
    n, distance = data.draw(st.integers(1, 32)), data.draw(st.sampled_from(sorted(DISTANCES)))
    rows = choose(support, n, how=how, distance=distance, seed=3)
    assert rows.tolist() == sorted(set(rows.tolist()))
    for code in range(len(support.class_names)):
        all_of = np.bincount(support.patient_ids[support.class_ids == code], minlength=len(support))
        taken = np.bincount(support.patient_ids[rows][support.class_ids[rows] == code], minlength=len(support))
        assert taken.sum() == (all_of.sum() if how == "all" else min(n, all_of.sum()))
        if (taken < all_of).any():
            assert taken.max() <= 1 + taken[taken < all_of].min()
    order = np.array(data.draw(st.permutations(range(len(support)))))
    shuffled = support.take(order)
    assert sorted(chosen_paths(shuffled, n, how=how, distance=distance, seed=3)) == sorted(
        support.paths[row] for row in rows
    )


@pytest.mark.parametrize("how", CHOICES)
@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_the_unit_of_the_embedding_does_not_matter(how, distance):
    support = draw(40, n_patients=15)
    larger = Embeddings(8 * support.vectors, support.class_ids, support.patient_ids, paths=support.paths)
    assert np.array_equal(choose(support, 6, how=how, distance=distance), choose(larger, 6, how=how, distance=distance))


@pytest.mark.parametrize("how", CHOICES)
def test_films_without_paths_are_known_by_their_vectors(how):
    support = draw(30)
    nameless = Embeddings(support.vectors, support.class_ids, support.patient_ids)
    order = np.random.default_rng(1).permutation(len(support))
    shuffled = Embeddings(support.vectors[order], support.class_ids[order], support.patient_ids[order])
    same = [set(map(tuple, some.vectors[choose(some, 4, how=how)])) for some in (nameless, shuffled)]
    assert same[0] == same[1]


@pytest.mark.parametrize("seed", range(5))
def test_random_draws_the_films_that_sample_exemplars_draws(seed):
    numbers = np.random.default_rng(seed)
    films = tuple(
        Record(
            f"{row}.png", (f"finding {numbers.integers(3)}",), f"patient {numbers.integers(20)}" if row % 5 else None
        )
        for row in range(60)
    )
    records = Records(films, ".")
    support = Embeddings(
        numbers.standard_normal((60, 2)),
        [film.finding for film in films],
        patient_ids(records),
        paths=[film.path for film in films],
    )
    drawn = sample_exemplars(records, 4, seed=seed)
    assert [film.path for film in drawn] == chosen_paths(support, 4, seed=seed)
    assert chosen_paths(support, 4, seed=seed) != chosen_paths(support, 4, seed=seed + 1)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_herding_is_the_slow_loop(distance):
    support = draw(20, n_findings=1)
    left, taken = rows_of(support, 0), []
    vectors = support.vectors.astype(np.float64)
    if distance == "cosine":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    while len(taken) < 7:
        best = min(left, key=lambda row: np.linalg.norm(vectors.mean(axis=0) - vectors[[*taken, row]].mean(axis=0)))
        taken.append(best)
        left.remove(best)
    assert choose(support, 7, how="herding", distance=distance).tolist() == sorted(taken)


def test_herding_comes_nearer_to_the_mean_than_a_draw():
    support = draw(200, 8, n_findings=1)
    mean = support.vectors.mean(axis=0)
    misses = {how: np.linalg.norm(support.vectors[choose(support, 10, how=how)].mean(axis=0) - mean) for how in CHOICES}
    assert misses["herding"] < 0.2 * misses["random"]


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_k_center_is_the_slow_loop(distance):
    support = draw(20, n_findings=1, seed=1)
    rows = rows_of(support, 0)
    vectors = torch.from_numpy(support.vectors[rows]).double()
    to_mean = pairwise_distances(vectors, vectors.mean(dim=0, keepdim=True), distance)[:, 0].tolist()
    gaps, taken = matrix(support, rows, distance), [min(range(20), key=to_mean.__getitem__)]
    while len(taken) < 6:
        taken.append(max(range(20), key=lambda film: min(gaps[film][other] for other in taken)))
    assert choose(support, 6, how="k_center", distance=distance).tolist() == sorted(rows[film] for film in taken)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 4), distance=st.sampled_from(["euclidean", "l1"]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_k_center_is_at_most_twice_as_wide_as_the_best_choice(seed, n, distance):
    support = draw(9, 2, n_findings=1, seed=seed)
    rows = rows_of(support, 0)
    gaps = matrix(support, rows, distance)
    taken = [rows.index(row) for row in choose(support, n, how="k_center", distance=distance)]
    best = min(gaps[:, some].min(axis=1).max() for some in combinations(range(9), n))
    assert best <= gaps[:, taken].min(axis=1).max() + 1e-12 <= 2 * best + 1e-9


@given(seed=st.integers(0, 10_000), n=st.integers(1, 4), distance=st.sampled_from(sorted(DISTANCES)))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_no_exchange_betters_the_medoids_and_they_are_near_the_best_choice(seed, n, distance):
    support = draw(10, 2, n_findings=1, seed=seed)
    rows = rows_of(support, 0)
    gaps = matrix(support, rows, distance)

    def cost(some):
        return gaps[:, list(some)].min(axis=1).sum()

    taken = [rows.index(row) for row in choose(support, n, how="medoids", distance=distance)]
    others = [film for film in range(10) if film not in taken]
    swapped = [[*(one for one in taken if one != gone), new] for gone in taken for new in others]
    assert cost(taken) <= min(map(cost, swapped)) + 1e-9
    best = min(map(cost, combinations(range(10), n)))
    assert best - 1e-9 <= cost(taken) <= (2 * best + 1e-9 if n > 1 else best + 1e-9)


def test_medoids_are_the_best_choice_where_films_lie_in_heaps():
    numbers = np.random.default_rng(0)
    heaps = np.repeat([[0.0, 0], [9, 0], [0, 9]], 4, axis=0)
    support = Embeddings(heaps + 0.1 * numbers.standard_normal((12, 2)), ["a"] * 12, paths=list("abcdefghijkl"))
    gaps = matrix(support, list(range(12)))
    best = min(combinations(range(12), 3), key=lambda some: gaps[:, some].min(axis=1).sum())
    assert tuple(choose(support, 3, how="medoids")) == best


def test_medoids_of_many_films_compare_a_draw_of_them(monkeypatch):
    support = draw(60, n_findings=1, n_patients=30)
    whole = chosen_paths(support, 5, how="medoids")
    monkeypatch.setattr(choosing_module, "_MOST_COMPARED", 20)
    drawn = support.take(choose(support, 20, seed=4))
    assert sorted(chosen_paths(support, 5, how="medoids", seed=4)) == sorted(chosen_paths(drawn, 5, how="medoids"))
    assert chosen_paths(support, 5, how="medoids", seed=4) != whole


def test_copies_tie_and_the_first_name_is_taken():
    support = Embeddings(np.ones((5, 2)), ["a"] * 5, paths=["e", "d", "c", "b", "a"])
    for how in ("herding", "k_center", "medoids"):
        assert chosen_paths(support, 2, how=how) == ["b", "a"], how


def test_wrong_input_is_refused():
    support = draw()
    with pytest.raises(ValueError, match=r"unknown choice 'herd' \(did you mean 'herding'\?\); choose from all"):
        choose(support, 3, how="herd")
    with pytest.raises(ValueError, match="unknown distance"):
        choose(support, 3, distance="manhattan")
    with pytest.raises(ValueError, match="n_exemplars must be at least 1, got 0"):
        choose(support, 0)
    with pytest.raises(TypeError, match="n_exemplars must be a whole number"):
        choose(support, 2.0)
    several = Embeddings(np.eye(2), np.array([[1.0, 0], [1, 1]]), class_names=["a", "b"])
    with pytest.raises(ValueError, match="films of one finding each"):
        choose(several, 1)
