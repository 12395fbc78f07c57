import re

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fewshot_cxr.distances import DISTANCES, pairwise_distances
from fewshot_cxr.objectives import LOSSES, MINERS, build_loss, build_miner
from fewshot_cxr.objectives.miners import SimilarityPairMiner

TRIPLET_MINERS = ("all", "hard", "semihard")


def make(name, distance="euclidean", margin=None, seed=0):
    if name == "multi_similarity":
        return build_miner(name, loss=build_loss(name, n_classes=3, embedding_dim=8, distance="cosine"), seed=seed)
    loss = build_loss("triplet", n_classes=3, embedding_dim=8, distance=distance, margin=margin)
    return build_miner(name, loss=loss, seed=seed)


def distance_of(loss):
    return "l1" if loss == "pair_bce" else "cosine"


def batch(n=24, n_classes=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    class_ids = torch.arange(n) % n_classes
    return torch.randn(n, 8, generator=random) + class_ids[:, None], class_ids


def rows_of(mined):
    return set(zip(*(side.tolist() for side in mined), strict=True))


def brute_force(kind, distances, class_ids, margin):
    n, found = len(class_ids), set()
    for a in range(n):
        positives = [b for b in range(n) if b != a and class_ids[b] == class_ids[a]]
        negatives = [b for b in range(n) if class_ids[b] != class_ids[a]]
        if kind == "hard" and positives and negatives:
            found.add((a, max(positives, key=lambda b: distances[a, b]), min(negatives, key=lambda b: distances[a, b])))
        for p in positives if kind != "hard" else []:
            for q in negatives:
                gap = distances[a, q] - distances[a, p]
                if kind == "all" or 0 < gap < margin:
                    found.add((a, p, q))
    return found


@pytest.mark.parametrize("name", sorted(MINERS))
def test_miner_keeps_the_contract(name):
    embeddings, class_ids = batch()
    anchors, positives, *others, negatives = make(name)(embeddings.requires_grad_(), class_ids, step=0)
    sides = (anchors, positives, *others, negatives)
    assert all(side.dtype == torch.int64 and side.ndim == 1 and len(side) > 0 for side in sides)
    assert len(anchors) == len(positives)
    assert (anchors != positives).all()
    assert (class_ids[anchors] == class_ids[positives]).all()
    assert (class_ids[others[0] if others else anchors] != class_ids[negatives]).all()


@pytest.mark.parametrize("name", sorted(MINERS))
@pytest.mark.parametrize("class_ids", [[1, 1, 1, 1], [0, 1, 2, 3]], ids=["one class", "no positive"])
def test_a_batch_without_triplets_gives_none(name, class_ids):
    mined = make(name)(torch.randn(4, 8), torch.tensor(class_ids), step=0)
    assert [len(side) for side in mined] == [0] * len(mined)
    assert all(side.dtype == torch.int64 for side in mined)


@pytest.mark.parametrize("name", TRIPLET_MINERS)
@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_triplets_equal_a_slow_loop(name, distance):
    embeddings, class_ids = batch()
    margin = {"cosine": 0.2, "squared_euclidean": 5.0}.get(distance, 1.0)
    distances = pairwise_distances(embeddings, embeddings, distance)
    expected = brute_force(name, distances, class_ids, margin)
    mined = make(name, distance, margin)(embeddings, class_ids, step=0)
    assert rows_of(mined) == expected
    assert len(mined[0]) == len(expected)


@pytest.mark.parametrize("name", TRIPLET_MINERS)
def test_a_class_of_one_film_is_only_a_negative(name):
    embeddings = torch.randn(5, 8)
    class_ids = torch.tensor([0, 0, 1, 1, 2])
    mined = make(name, margin=100.0)(embeddings, class_ids, step=0)
    distances = pairwise_distances(embeddings, embeddings)
    assert rows_of(mined) == brute_force(name, distances, class_ids, 100.0)
    assert 4 not in mined[0].tolist() + mined[1].tolist()


class LargestTensor(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that any operation makes."""

    n_elements = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        tensors = [tensor for tensor in (made if isinstance(made, tuple) else (made,)) if torch.is_tensor(tensor)]
        self.n_elements = max(self.n_elements, *(tensor.numel() for tensor in tensors), 0)
        return made


@pytest.mark.parametrize("name", TRIPLET_MINERS)
def test_a_large_batch_of_few_classes_stays_bounded(name):
    embeddings, class_ids = batch(384)
    with LargestTensor() as largest:
        anchors, positives, negatives = make(name)(embeddings, class_ids, step=0)
    assert len(anchors) == (384 if name == "hard" else 8192)
    assert 384**2 <= largest.n_elements <= 2 << 20  # the cube has 57 million, of which 12.5 million are triplets
    assert len(rows_of((anchors, positives, negatives))) == len(anchors)
    assert (class_ids[anchors] == class_ids[positives]).all()
    assert (anchors != positives).all()
    assert (class_ids[anchors] != class_ids[negatives]).all()
    assert len(anchors.unique()) > 0.98 * 384
    distances = pairwise_distances(embeddings, embeddings)
    gap = distances[anchors, negatives] - distances[anchors, positives]
    if name == "semihard":
        assert ((gap > 0) & (gap < 1)).all()


def test_thinning_favours_no_class_and_no_anchor():
    embeddings, class_ids = batch(96)
    counts = torch.zeros(96)
    for step in range(20):
        anchors, _, _ = make("all")(embeddings, class_ids, step=step)
        counts += anchors.bincount(minlength=96)
    expected = 20 * 8192 / 96
    assert ((counts - expected).abs() < 6 * expected**0.5).all()


@pytest.mark.parametrize("name", ["all", "semihard"])
def test_draws_follow_from_seed_and_step_alone(name):
    embeddings, class_ids = batch(120)
    first = make(name)(embeddings, class_ids, step=5)
    before = torch.get_rng_state()
    again = make(name)(embeddings, class_ids, step=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert rows_of(make(name)(embeddings, class_ids, step=6)) != rows_of(first)
    assert rows_of(make(name, seed=1)(embeddings, class_ids, step=5)) != rows_of(first)


@pytest.mark.parametrize("name", sorted(MINERS))
def test_films_of_the_same_patient_are_no_positives(name):
    embeddings, class_ids = batch(18)
    group_ids = torch.arange(18) // 6  # with 3 classes: two films of a class for each patient
    mined = make(name, margin=100.0)(embeddings, class_ids, group_ids, step=0)
    without = make(name, margin=100.0)(embeddings, class_ids, step=0)
    assert (group_ids[without[0]] == group_ids[without[1]]).any()
    assert (group_ids[mined[0]] != group_ids[mined[1]]).all()
    assert len(mined[0]) > 0


@pytest.mark.parametrize("name", sorted(MINERS))
def test_a_patient_alone_in_its_class_keeps_its_positives(name):
    embeddings, class_ids = batch(8)[0], torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])
    group_ids = torch.tensor([0, 0, 0, 1, 1, 2, 2, 0])
    embeddings[3] = embeddings[0] + 0.01  # a near negative, so that pairs by cosine are found
    mined = make(name, margin=100.0)(embeddings, class_ids, group_ids, step=0)
    anchors, positives = mined[:2]
    alone = class_ids[anchors] == 0
    assert alone.any()
    assert (group_ids[anchors] == group_ids[positives])[alone].all()
    assert (group_ids[anchors] != group_ids[positives])[~alone].all()


@pytest.mark.parametrize("name", TRIPLET_MINERS)
def test_row_order_does_not_matter(name):
    embeddings, class_ids = batch()
    order = torch.randperm(24)
    shuffled = make(name)(embeddings[order], class_ids[order], step=0)
    assert rows_of(order[side] for side in shuffled) == rows_of(make(name)(embeddings, class_ids, step=0))


def test_similarity_pairs_equal_a_slow_loop():
    embeddings, class_ids = batch()
    distances = pairwise_distances(embeddings, embeddings, "cosine")
    positives, negatives = set(), set()
    for a in range(24):
        near = [b for b in range(24) if b != a and class_ids[b] == class_ids[a]]
        far = [b for b in range(24) if class_ids[b] != class_ids[a]]
        positives |= {(a, b) for b in near if distances[a, b] + 0.1 > distances[a, far].min()}
        negatives |= {(a, b) for b in far if distances[a, b] - 0.1 < distances[a, near].max()}
    mined = make("multi_similarity")(embeddings, class_ids, step=0)
    assert rows_of(mined[:2]) == positives
    assert rows_of(mined[2:]) == negatives
    assert 0 < len(negatives) < 24 * 16


@pytest.mark.parametrize("name", sorted(MINERS))
def test_mixed_precision_changes_nothing(name):
    embeddings, class_ids = batch(48)
    plain = make(name, "cosine")(embeddings, class_ids, step=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = make(name, "cosine")(embeddings, class_ids, step=0)
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))


@pytest.mark.parametrize(
    ("loss", "default"),
    [
        ("triplet", "semihard"),
        ("contrastive", "all"),
        ("multi_similarity", "multi_similarity"),
        ("supcon", None),
        ("proxy_anchor", None),
        ("pair_bce", None),
        ("prototypical", None),
    ],
)
def test_each_loss_has_its_default(loss, default):
    built = build_loss(loss, n_classes=3, embedding_dim=8, distance=distance_of(loss))
    miner = build_miner(None, loss=built)
    assert (built.miners[0] if built.miners else None) == default
    assert (miner is None) == (default is None)
    if default in TRIPLET_MINERS:
        assert (miner.kind, miner.distance, miner.margin) == (default, "cosine", 0.2)


@pytest.mark.parametrize(
    ("loss", "miner", "message"),
    [
        (
            "triplet",
            "multi_similarity",
            "miner 'multi_similarity' does not fit loss 'triplet', which takes semihard, hard, all",
        ),
        (
            "contrastive",
            "multi_similarity",
            "miner 'multi_similarity' does not fit loss 'contrastive', which takes all, semihard, hard",
        ),
        ("multi_similarity", "hard", "miner 'hard' does not fit loss 'multi_similarity', which takes multi_similarity"),
        (
            "supcon",
            "semihard",
            "miner 'semihard' does not fit loss 'supcon', which takes no miner: it weighs all pairs itself",
        ),
        (
            "proxy_anchor",
            "all",
            "miner 'all' does not fit loss 'proxy_anchor', which takes no miner: it weighs all pairs itself",
        ),
        (
            "triplet",
            "semi_hard",
            "unknown miner 'semi_hard' (did you mean 'semihard'?); choose from all, hard, multi_similarity, semihard",
        ),
    ],
)
def test_unfit_pairs_are_refused(loss, miner, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build_miner(miner, loss=build_loss(loss, n_classes=3, embedding_dim=8, distance="cosine"))


def test_every_miner_serves_a_loss():
    built = [build_loss(name, n_classes=3, embedding_dim=8, distance=distance_of(name)) for name in LOSSES]
    assert {miner for loss in built for miner in loss.miners} == set(MINERS)


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("name", sorted(MINERS))
def test_only_the_first_rows_are_anchors(name, distance):
    embeddings, class_ids = batch()
    group_ids = torch.arange(24) // 4
    miner = make(name, distance, margin=100.0)
    mined = miner(embeddings, class_ids, group_ids, step=0)
    first = miner(embeddings, class_ids, group_ids, step=0, n_anchors=5)
    pairs = list(zip(mined[::2], mined[1::2], strict=True)) if len(mined) == 4 else [mined]
    few = list(zip(first[::2], first[1::2], strict=True)) if len(first) == 4 else [first]
    for sides, chosen in zip(pairs, few, strict=True):
        assert rows_of(chosen) == rows_of(side[sides[0] < 5] for side in sides)
        assert len(chosen[0]) > 0


@pytest.mark.parametrize("name", TRIPLET_MINERS)
@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_few_anchors_among_many_rows_stay_bounded(name, distance):
    embeddings, class_ids = batch(4096)
    embeddings[100] = embeddings[200]
    with LargestTensor() as largest:
        mined = make(name, distance)(embeddings, class_ids, step=0, n_anchors=64)
    assert len(mined[0]) == (64 if name == "hard" else 8192)
    assert largest.n_elements <= 3 << 20  # indices of a million cells; a square of all rows has 17 million


@pytest.mark.parametrize("epsilon", [float("nan"), float("inf"), -0.1])
def test_a_width_that_cannot_be_is_refused(epsilon):
    with pytest.raises(ValueError, match=r"^epsilon must be .*, got "):
        SimilarityPairMiner(epsilon)
