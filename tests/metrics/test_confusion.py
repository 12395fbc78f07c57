import numpy as np
import torch
from sklearn.metrics import confusion_matrix

from fewshot_cxr.metrics import confusion_counts, tie_credits


def test_confusion_equals_scikit_learns():
    draw = np.random.default_rng(0)
    true, predicted = draw.integers(0, 4, (2, 10, 30))
    got = confusion_counts(true, predicted, np.ones((10, 30)), 4)
    assert (got == confusion_matrix(true.ravel(), predicted.ravel())).all()


def test_ids_of_few_bits_do_not_wrap():
    ids = np.arange(40, dtype=np.uint8)
    assert np.array_equal(confusion_counts(ids, ids, np.ones(40), 40), np.eye(40))


def test_ties_share_one_credit():
    credits = tie_credits(torch.tensor([[0.5, 0.5, 1.0], [2.0, 1.0, 3.0], [1.0, 1.0, 1.0]]))
    torch.testing.assert_close(credits, torch.tensor([[0.5, 0.5, 0], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3]]))
