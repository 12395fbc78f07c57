"""Ranks take the batches of one sampler in turn: each batch whole, none twice."""

import numpy as np
import pytest

from fewshot_cxr.samplers import BalancedBatchSampler, ClassBatchSampler, RankSampler

CLASSES = np.arange(66) % 3


def balanced():
    return BalancedBatchSampler(CLASSES, np.arange(66), batch_size=6, seed=3)


def test_ranks_take_the_batches_of_one_process_in_turn_epoch_after_epoch():
    alone, of_ranks = balanced(), [RankSampler(balanced(), rank=rank, n_ranks=2) for rank in range(2)]
    for _ in range(3):
        batches = list(alone)
        taken = [list(sampler) for sampler in of_ranks]
        assert [len(sampler) for sampler in of_ranks] == [5, 5]  # of 11
        assert taken == [batches[0:10:2], batches[1:10:2]]
        rows = np.concatenate([batch for own in taken for batch in own])
        assert len(set(rows.tolist())) == len(rows) == 60  # no film twice in an epoch
        assert all(np.bincount(CLASSES[batch]).tolist() == [2, 2, 2] for own in taken for batch in own)
    of_ranks[1].set_epoch(0)
    again = balanced()
    assert list(of_ranks[1]) == list(again)[1:10:2]


def test_one_batch_for_each_rank_is_enough():
    assert [len(RankSampler(ClassBatchSampler(CLASSES, batch_size=33), rank=rank, n_ranks=2)) for rank in (0, 1)] == [
        1,
        1,
    ]


def test_fewer_batches_than_ranks_are_refused():
    with pytest.raises(
        ValueError,
        match=r"an epoch has 2 batches, fewer than 3 ranks: take smaller ones "
        r"\(--batch-size\), more of them \(--batches\), or fewer ranks$",
    ):
        RankSampler(ClassBatchSampler(CLASSES, batch_size=33), rank=0, n_ranks=3)
