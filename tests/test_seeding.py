import random

import numpy as np
import torch
from scipy import stats

from fewshot_cxr.seeding import generator, hashed_bits, text_key
from fewshot_cxr.torch_seeding import seeded_torch, torch_generator


def test_draws_follow_from_their_key():
    assert generator(3, "epoch", 1).integers(2**40) == generator(3, "epoch", 1).integers(2**40)
    assert generator(3, "epoch", 1).integers(2**40) != generator(3, "epoch", 2).integers(2**40)
    first, second = (torch.rand(4, generator=torch_generator(1, "step", 5)) for _ in range(2))
    assert torch.equal(first, second)
    assert text_key("COVID-19") == 13455277712084634651


def test_global_generators_are_left_alone():
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    with seeded_torch(0, "x"):
        first = torch.rand(3)
    with seeded_torch(0, "x"):
        assert torch.equal(first, torch.rand(3))
    assert before[0] == random.getstate()
    assert (before[1] == np.random.get_state()[1]).all()
    assert torch.equal(before[2], torch.get_rng_state())


def test_hashed_bits_are_uniform_and_independent_across_neighbouring_keys():
    bits = hashed_bits(7, np.arange(2000, dtype=np.uint64)[:, None], np.arange(50, dtype=np.uint64)[None, :])
    share = bits.astype(np.float64) / 2**64
    assert stats.kstest(share.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(share[:-1].ravel(), share[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(share[:, 0], share[:, 1])[0, 1]) < 0.1
    assert len(np.unique(bits)) == bits.size
