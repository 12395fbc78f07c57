import numpy as np
import pytest

from fewshot_cxr.episodes import EpisodeBlock


def made_block(counts, *, n_outside=0, seed=0):
    """A block whose episode e has counts[e] = ((shots of each class), (queries of each class)); rows are random."""
    draw = np.random.default_rng(seed)
    n, n_way = len(counts), len(counts[0][0])
    sides = []
    for side in (0, 1):
        rows = np.full((n, n_way, max(max(both[side]) for both in counts)), -1)
        for e, both in enumerate(counts):
            for way, count in enumerate(both[side]):
                rows[e, way, :count] = draw.integers(0, 999, count)
        sides.append(rows)
    class_ids = np.sort(draw.permuted(np.tile(np.arange(9), (n, 1)), axis=1)[:, :n_way], axis=1)
    outside = draw.integers(0, 999, (n, n_outside)) if n_outside else None
    return EpisodeBlock(7, class_ids, *sides, outside)


def check_parts(block):
    """Every episode is in one part, with its films in order, under the labels of its classes."""
    seen = []
    for part in block.parts():
        seen += part.positions.tolist()
        assert len(part) == len(part.positions)
        for i, e in enumerate(part.positions):
            assert np.array_equal(part.class_ids[i], block.class_ids[e])
            for rows, labels, side in (
                (part.support, part.support_labels, block.support),
                (part.query, part.query_labels, block.query),
            ):
                pairs = [(way, row) for way in range(block.class_ids.shape[1]) for row in side[e, way] if row >= 0]
                assert pairs == list(zip(labels.tolist(), rows[i].tolist(), strict=True))
            assert block.outside is None or np.array_equal(part.outside[i], block.outside[e])
        assert (block.outside is None) == (part.outside is None)
    assert sorted(seen) == list(range(len(block)))


def test_alike_episodes_are_one_part_without_a_copy():
    block = made_block([((2, 2, 2), (4, 4, 4))] * 5, n_outside=3)
    parts = list(block.parts())
    assert len(parts) == 1
    assert np.shares_memory(parts[0].support, block.support)
    assert np.shares_memory(parts[0].query, block.query)
    assert parts[0].outside is block.outside
    check_parts(block)


def test_classes_that_differ_alike_in_all_episodes_are_one_part():
    block = made_block([((2, 1, 3), (4, 5, 1))] * 4)
    assert len(list(block.parts())) == 1
    check_parts(block)


@pytest.mark.parametrize("seed", range(10))
def test_ragged_episodes_are_grouped_by_shape(seed):
    draw = np.random.default_rng(seed)
    shapes = [tuple(map(tuple, draw.integers(1, 4, (2, 3)).tolist())) for _ in range(3)]
    counts = [shapes[i] for i in draw.integers(0, 3, 20)]
    block = made_block(counts, n_outside=int(draw.integers(0, 2)), seed=seed)
    assert len(list(block.parts())) == len(set(counts))
    check_parts(block)


def test_one_episode_is_one_part():
    check_parts(made_block([((1, 2), (2, 1))]))
