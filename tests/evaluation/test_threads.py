import time

import numpy as np
import pytest
import torch
from made_films import make_films

from fewshot_cxr.evaluation import evaluate_episodes
from fewshot_cxr.evaluation.episodic.threads import in_order


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_and_items_are_made_only_a_little_ahead(two_threads):
    made = []

    def items():
        for number in range(8):
            made.append(number)
            yield number

    def work(number):
        time.sleep(0.02 if number % 2 == 0 else 0)
        return number**2, torch.get_num_threads()

    for number, (square, n_threads) in in_order(work, items(), 2):
        assert (square, n_threads) == (number**2, 1)
        assert len(made) <= number + 3
    assert made == list(range(8))
    assert torch.get_num_threads() == 2


def test_an_error_reaches_the_caller_and_the_threads_are_as_before(two_threads):
    def work(number):
        raise ValueError(f"item {number}")

    with pytest.raises(ValueError, match="item 0"):
        list(in_order(work, [0, 1, 2], 2))
    assert torch.get_num_threads() == 2


def test_threads_change_no_digit(two_threads):
    films = make_films()
    shape = {"n_shot": 2, "n_query": 3, "n_episodes": 3000, "device": "cpu"}
    several = evaluate_episodes(films, patient_interval=False, **shape)
    torch.set_num_threads(1)
    alone = evaluate_episodes(films, patient_interval=False, **shape)
    assert several.scores == alone.scores
    assert np.array_equal(several.confusion, alone.confusion)
    assert several.calibration == alone.calibration
