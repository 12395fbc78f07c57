"""One film of each patient before a second one of any."""

from itertools import product

import numpy as np
import pytest

from fewshot_cxr.inference.bank.turns import Turns, draw_in_turns, may_swap, smallest_keys
from fewshot_cxr.seeding import hashed_bits


def test_the_smallest_key_of_each_patient():
    largest = 2**64 - 1
    assert smallest_keys([5, 7, 5, 7, 9, 9], [3, 8, 1, largest, largest, largest]) == [1, 8, 1, 8, largest, largest]
    with pytest.raises(ValueError, match="zip"):
        smallest_keys([5, 7], [3])


def slow_draw(keys, patient_keys, n, seed):
    """Go round the patients in the order of their bits, and take of each the next film."""
    own = {}
    for film in sorted(range(len(keys)), key=lambda film: int(hashed_bits(seed, keys[film]))):
        own.setdefault(int(hashed_bits(seed, patient_keys[film])), []).append(film)
    drawn = []
    while any(own.values()):
        drawn += [films.pop(0) for _, films in sorted(own.items()) if films]
    return drawn[:n]


@pytest.mark.parametrize("seed", range(5))
def test_a_draw_goes_round_the_patients(seed):
    keys, patient_keys = [11, 12, 13, 14, 15, 16, 17], [3, 3, 3, 4, 4, 5, 3]
    for n in (0, 1, 3, 4, 6, 7, 100):
        assert draw_in_turns(keys, patient_keys, n, seed=seed) == slow_draw(keys, patient_keys, n, seed)
    with pytest.raises(ValueError, match="zip"):
        draw_in_turns(keys, patient_keys[1:], 2, seed=seed)


def test_draws_stay_what_they_were():
    drawn = [draw_in_turns(range(9), [0, 0, 0, 0, 1, 1, 1, 2, 2], 5, seed=seed) for seed in range(3)]
    assert drawn == [[4, 1, 7, 5, 0], [0, 8, 6, 3, 7], [0, 7, 5, 2, 8]]


def test_copies_of_a_film_are_drawn_in_their_order():
    assert draw_in_turns([7, 7, 7], [1, 1, 1], 3, seed=0) == [0, 1, 2]


def test_turns_are_open_to_patients_with_the_fewest_taken():
    turns = Turns(np.array([0, 0, 0, 1, 1, 2]))
    assert turns.is_open.tolist() == [True] * 6
    assert turns.take(1) == 1
    assert turns.is_open.tolist() == [False, False, False, True, True, True]
    assert [turns.take(film) for film in (5, 3)] == [5, 3]
    # Patient 2 has no film left and holds nobody up.
    assert turns.is_open.tolist() == [True, False, True, False, True, False]
    turns.take(0)
    assert turns.is_open.tolist() == [False, False, False, False, True, False]
    turns.take(4)
    assert turns.is_open.tolist() == [False, False, True, False, False, False]
    assert turns.taken == [1, 5, 3, 0, 4]


@pytest.mark.parametrize("taken", [[0], [0, 3], [1, 3, 5], [0, 1, 3, 4, 5], [2, 4]])
def test_an_exchange_leaves_patients_as_evenly_used(taken):
    patients = np.array([0, 0, 0, 1, 1, 2])
    allowed = may_swap(patients, taken)
    assert allowed.shape == (len(taken), 6)
    before = np.bincount(patients[taken], minlength=3)
    for place, film in product(range(len(taken)), range(6)):
        after = np.bincount(patients[[film if one == taken[place] else one for one in taken]], minlength=3)
        is_even = film not in taken and sorted(after) == sorted(before)
        assert allowed[place, film] == is_even, (taken[place], film)
