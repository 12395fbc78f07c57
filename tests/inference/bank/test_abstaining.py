"""How far is too far: the distance, the threshold by patients, the reason."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from fewshot_cxr.data.film_marks import FilmMarks
from fewshot_cxr.inference.bank.abstaining import REASONS, Thresholds
from fewshot_cxr.inference.bank.conformal import worst_of_patients
from fewshot_cxr.inference.bank.neighbourhood import Neighbourhood

FRONTAL = FilmMarks(span=200, plain=0.1, chest=0.6, spine=0.9, flat=0.1, detail=0.1, negative_spine=0.2)
SIDE_VIEW = replace(FRONTAL, spine=0.3)
PAGE = replace(FRONTAL, spine=0.0, chest=0.0, detail=0.5)
NEGATIVE = replace(FRONTAL, chest=-0.6, spine=0.2, negative_spine=0.9)
EMPTY = replace(FRONTAL, plain=0.95)


def sample(n_patients=30, dim=8, *, most_films=3, seed=0):
    """Features of films; those of one patient lie close together."""
    numbers = np.random.default_rng(seed)
    films = numbers.integers(1, most_films + 1, n_patients)
    patients = np.repeat(np.arange(n_patients), films)
    features = numbers.normal(size=(n_patients, dim))[patients] + 0.1 * numbers.normal(size=(len(patients), dim))
    return features, patients


def slow_distance(film, features, patients, k):
    """The same by a walk that a child could check."""
    apart = [(np.linalg.norm(film - other), row) for row, other in enumerate(features)]
    nearest = sorted(apart)[:k]
    spacings = []
    for _, row in nearest:
        rest = [np.linalg.norm(features[row] - features[at]) for at in np.flatnonzero(patients != patients[row])]
        spacings.append(sorted(rest)[k - 1])
    return nearest[-1][0] / np.mean(spacings)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_distances_equal_a_slow_walk(k):
    features, patients = sample()
    films = np.random.default_rng(1).normal(size=(7, 8))
    found = Neighbourhood(features, patients, k=k).distances(films)
    np.testing.assert_allclose(found, [slow_distance(film, features, patients, k) for film in films])


def test_an_exemplar_is_asked_of_those_of_other_patients_alone():
    features, patients = sample(n_patients=12)
    found = Neighbourhood(features, patients, k=2).left_out()
    for row, patient in enumerate(patients):
        rest = patients != patient
        assert found[row] == pytest.approx(slow_distance(features[row], features[rest], patients[rest], 2))


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_rows_and_the_names_of_patients_do_not_matter(seed):
    features, patients = sample(n_patients=10, seed=seed)
    order = np.random.default_rng(seed).permutation(len(patients))
    films = np.random.default_rng(seed).normal(size=(4, 8))
    one = Neighbourhood(features, patients)
    other = Neighbourhood(features[order], [f"patient {patient}" for patient in patients[order]])
    np.testing.assert_allclose(other.distances(films), one.distances(films))
    np.testing.assert_allclose(other.left_out(), one.left_out()[order])
    assert Thresholds.fit(one).unknown_above == pytest.approx(Thresholds.fit(other).unknown_above)


def test_scale_and_place_of_the_features_do_not_matter():
    features, patients = sample()
    films = np.random.default_rng(1).normal(size=(7, 8))
    plain = Neighbourhood(features, patients).distances(films)
    np.testing.assert_allclose(Neighbourhood(7 * features + 3, patients).distances(7 * films + 3), plain, rtol=1e-6)


def test_films_such_as_the_exemplars_lie_at_about_one_and_strangers_farther():
    features, patients = sample(n_patients=200)
    neighbourhood = Neighbourhood(features, patients)
    alike, _ = sample(n_patients=200, seed=1)
    assert np.median(neighbourhood.distances(alike)) == pytest.approx(1, abs=0.1)
    assert (neighbourhood.distances(alike + 8) > 3).all()


def test_many_exemplars_and_films_are_taken_in_parts():
    features, patients = sample(n_patients=700, most_films=2)
    assert 1000 < len(features) < 2000
    films = np.random.default_rng(1).normal(size=(1030, 8))
    whole = Neighbourhood(features, patients).distances(films)
    assert whole.shape == (1030,)
    np.testing.assert_allclose(
        whole[[0, 600, 1029]], Neighbourhood(features, patients).distances(films[[0, 600, 1029]])
    )


def test_of_many_exemplars_some_patients_are_taken_whatever_the_order():
    features, patients = sample(n_patients=1500, most_films=2)
    order = np.random.default_rng(0).permutation(len(patients))
    films = np.random.default_rng(1).normal(size=(5, 8))
    one, other = Neighbourhood(features, patients), Neighbourhood(features[order], patients[order])
    assert len(one.patients) == len(one.spacings) == 2000 < len(features)
    np.testing.assert_allclose(one.distances(films), other.distances(films))
    assert Thresholds.fit(one).unknown_above == pytest.approx(Thresholds.fit(other).unknown_above)


def test_no_film_has_no_distance():
    assert Neighbourhood(*sample()).distances(np.empty((0, 8))).shape == (0,)


def test_few_exemplars_take_a_nearer_neighbour():
    features = np.random.default_rng(0).normal(size=(5, 4))
    assert Neighbourhood(features, [0, 1, 2, 3, 4]).k == 3
    assert Neighbourhood(features, ["a", "a", "b", "b", "c"]).k == 1
    assert Neighbourhood(*sample()).k == 5


def test_two_patients_are_too_few():
    with pytest.raises(ValueError, match=r"^exemplars of three patients or more are needed to abstain, got 2$"):
        Neighbourhood(np.eye(4), [0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"^k must be at most 2 with these 4 exemplars, got 3$"):
        Neighbourhood(np.eye(4), [0, 1, 2, 3], k=3)


def test_copies_of_each_other_are_no_measure():
    neighbourhood = Neighbourhood(np.ones((6, 3)), np.arange(6))
    assert neighbourhood.distances(np.array([[1.0, 1, 1], [2, 2, 2]])).tolist() == [1.0, np.inf]
    assert Thresholds.fit(neighbourhood).unknown_above == 1.0
    features = np.r_[np.ones((6, 3)), [[2.0, 2, 2]]]
    with pytest.raises(ValueError, match=r"^the exemplars are copies of each other: no distance can be called far$"):
        Thresholds.fit(Neighbourhood(features, np.arange(7)))


def test_the_threshold_is_the_quantile_over_patients():
    features, patients = sample(n_patients=39)
    neighbourhood = Neighbourhood(features, patients)
    worst = np.sort(worst_of_patients(neighbourhood.left_out(), neighbourhood.patients))
    found = Thresholds.fit(neighbourhood, false_reject_rate=0.05)
    assert found.unknown_above == worst[37]  # 38th of 39: of 40 patients, two lie above it on the mean
    assert found.caution is None
    assert (found.n_patients, found.k) == (39, 5)


def test_the_rate_is_kept_on_the_mean_over_many_worlds():
    rejected = []
    for seed in range(150):
        features, patients = sample(n_patients=31, dim=4, seed=seed)
        known, new = patients < 30, patients == 30
        neighbourhood = Neighbourhood(features[known], patients[known])
        threshold = Thresholds.fit(neighbourhood, false_reject_rate=0.2).unknown_above
        rejected.append(neighbourhood.distances(features[new]).max() > threshold)
    assert 0.1 < np.mean(rejected) < 0.3


def test_what_is_achieved_is_counted_by_thresholds_of_the_others():
    features, patients = sample(n_patients=40)
    achieved = Thresholds.fit(Neighbourhood(features, patients), false_reject_rate=0.1).achieved
    assert 0.05 <= achieved.value <= 0.15
    low, high = achieved.ci95
    assert 0 < low < achieved.value < high < 0.3


def test_too_few_patients_take_the_largest_distance_and_say_so():
    neighbourhood = Neighbourhood(*sample(n_patients=14))
    found = Thresholds.fit(neighbourhood)
    assert found.unknown_above == neighbourhood.left_out().max()
    assert found.caution == (
        "14 patients carry a false-reject rate of 6.7 % at best, not 5 %: the largest distance is taken; 5 patients "
        "more are needed"
    )
    one_less = Thresholds.fit(Neighbourhood(*sample(n_patients=18))).caution
    assert one_less.endswith("the largest distance is taken; 1 patient more is needed")
    assert Thresholds.fit(Neighbourhood(*sample(n_patients=19))).caution is None


def test_films_kept_apart_measure_what_is_achieved_and_move_no_threshold():
    found = Thresholds.fit(Neighbourhood(*sample()))
    far = found.unknown_above + 1
    measured = found.measured(np.array([0.5, far, 0.5, 0.5, 0.5]), ["a", "a", "b", "c", "d"])
    assert measured.achieved.value == 0.25
    assert measured.unknown_above == found.unknown_above


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_a_rate_outside_its_range_is_refused(rate):
    with pytest.raises(ValueError, match=rf"^false_reject_rate must be above 0 and below 1, got {rate}$"):
        Thresholds.fit(Neighbourhood(*sample()), false_reject_rate=rate)


@pytest.mark.parametrize(
    ("marks", "near", "far"),
    [
        (FRONTAL, None, "unknown"),
        (SIDE_VIEW, None, "not_a_frontal_chest_film"),
        (PAGE, "not_a_frontal_chest_film", "not_a_frontal_chest_film"),
        (NEGATIVE, "inverted", "inverted"),
        (EMPTY, "negative space", "negative space"),
    ],
)
def test_each_reason_is_given_for_what_it_names(marks, near, far):
    found = Thresholds.fit(Neighbourhood(*sample()))
    assert found.reason(found.unknown_above, marks) == near
    assert found.reason(found.unknown_above * 1.01, marks) == far
    assert {near, far} <= {None, *REASONS}


def test_thresholds_outlive_a_file():
    found = Thresholds.fit(Neighbourhood(*sample()))
    assert Thresholds.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"k": 2.5}, "thresholds.k must be a whole number, got 2.5"),
        ({"unknown_above": None}, "thresholds.unknown_above must be a finite number, got None"),
        ({"achieved": {"mean": 0.1}}, "thresholds.achieved lacks 'ci95'"),
        ({"achieved": {"mean": 0.1, "ci95": [0.1]}}, "thresholds.achieved.ci95 must be two numbers, got [0.1]"),
    ],
)
def test_wrong_content_of_a_file_is_refused_by_name(change, text):
    value = Thresholds.fit(Neighbourhood(*sample())).to_json() | change
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Thresholds.from_json(value)
