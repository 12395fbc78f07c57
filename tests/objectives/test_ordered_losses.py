import re

import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import expit, logsumexp
from sklearn.metrics import log_loss

from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.objectives import LOSSES, WeightedL1Head, build_loss

SCIPY = {"euclidean": "euclidean", "squared_euclidean": "sqeuclidean", "cosine": "cosine", "l1": "cityblock"}


def make(name, distance, **options):
    return build_loss(name, n_classes=3, embedding_dim=8, distance=distance, **options)


def rows(n=12, seed=0):
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def test_each_loss_says_which_order_of_batch_it_reads():
    batches = {name: make(name, "l1" if name == "pair_bce" else "cosine").batches for name in LOSSES}
    assert {name: order for name, order in batches.items() if order != "balanced"} == {
        "pair_bce": "pairs",
        "prototypical": "episodic",
    }


def test_only_pair_bce_has_a_head():
    heads = {name: make(name, "l1" if name == "pair_bce" else "cosine").head for name in LOSSES}
    assert [name for name, head in heads.items() if head is not None] == ["pair_bce"]
    assert isinstance(heads["pair_bce"], WeightedL1Head)


@pytest.mark.parametrize("is_nonnegative", [False, True])
def test_pair_bce_equals_the_log_loss_of_scikit_learn(is_nonnegative):
    embeddings, class_ids = rows(), torch.tensor([0, 0, 1, 1, 2, 2, 0, 1, 1, 2, 2, 0])
    loss = make("pair_bce", "l1", is_nonnegative=is_nonnegative)
    with torch.no_grad():
        loss.head.alpha.copy_(torch.linspace(-0.5, 1, 8))
        loss.head.bias.fill_(-1.0)
    weights = loss.head.weights.detach().double().numpy()
    points = embeddings.detach().double().numpy()
    logits = [(weights * abs(points[i] - points[i + 6])).sum() - 1 for i in range(6)]
    is_different = [0, 1, 0, 1, 0, 1]
    expected = log_loss(is_different, expit(logits))
    assert loss(embeddings, class_ids).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("class_ids", [[0, 0, 1, 1, 2, 2, 0], [0, 0, 0], [0, 1, 2], [0]])
def test_pair_bce_of_all_pairs_equals_a_slow_loop_with_both_kinds_alike(class_ids):
    embeddings, class_ids = rows(len(class_ids)), torch.tensor(class_ids)
    loss = make("pair_bce", "l1", all_pairs=True)
    assert loss.batches == "balanced"
    losses = {True: [], False: []}
    for i in range(len(class_ids)):
        for j in range(i):
            different = bool(class_ids[i] != class_ids[j])
            logit = loss.head(embeddings[i], embeddings[j]).item()
            losses[different].append(log_loss([different], [expit(logit)], labels=[False, True]))
    means = [sum(values) / len(values) for values in losses.values() if values]
    value = loss(embeddings, class_ids)
    assert value.item() == pytest.approx(sum(means) / len(means) if means else 0.0, rel=1e-5)
    value.backward()
    assert embeddings.grad.isfinite().all()


def test_pair_bce_looks_neither_at_the_order_of_the_pairs_nor_at_that_within_a_pair():
    embeddings, class_ids = rows(), torch.tensor([0, 0, 1, 1, 2, 2, 0, 1, 1, 2, 2, 0])
    loss = make("pair_bce", "l1")
    expected = loss(embeddings, class_ids)
    pairs = torch.randperm(6)
    for order in (torch.cat([pairs, pairs + 6]), torch.arange(12).roll(6)):
        torch.testing.assert_close(loss(embeddings[order], class_ids[order]), expected)


def test_pair_bce_trains_its_head():
    embeddings, class_ids = rows(), torch.arange(12) // 3
    loss = make("pair_bce", "l1", seed=3)
    assert sorted(loss.state_dict()) == ["inner.head.alpha", "inner.head.bias"]
    assert torch.equal(loss.head.alpha, make("pair_bce", "l1", seed=3).head.alpha)
    assert not torch.equal(loss.head.alpha, make("pair_bce", "l1", seed=4).head.alpha)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(embeddings.detach(), class_ids)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_pair_bce_refuses_a_film_without_a_partner(n):
    message = (
        "loss 'pair_bce' compares the first half of a batch with its second half, and needs an even number of films, "
        f"got {n}: take batches of PairBatchSampler, or an even batch size"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make("pair_bce", "l1")(torch.randn(n, 8), torch.zeros(n, dtype=torch.int64))


def slow_prototypical(points, class_ids, distance, n_shot, temperature):
    classes = sorted(set(class_ids))
    of_class = {c: [i for i, each in enumerate(class_ids) if each == c] for c in classes}
    prototypes = [points[of_class[c][:n_shot]].mean(axis=0) for c in classes]
    terms = []
    for c in classes:
        for query in of_class[c][n_shot:]:
            logits = -cdist(points[[query]], prototypes, SCIPY[distance])[0] / temperature
            terms.append(logsumexp(logits) - logits[classes.index(c)])
    return sum(terms) / len(terms)


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize(("n_shot", "temperature"), [(1, 1.0), (2, 0.3)])
@pytest.mark.parametrize(
    "class_ids",
    [[4, 4, 7, 7, 0, 0, 4, 4, 7, 7, 0, 0], [4, 0, 4, 4, 7, 0, 0, 7, 7, 4, 7, 4]],
    ids=["as the sampler sets it", "mixed"],
)
def test_prototypical_equals_a_slow_loop(distance, n_shot, temperature, class_ids):
    embeddings = rows()
    loss = make("prototypical", distance, n_shot=n_shot, temperature=temperature)
    expected = slow_prototypical(embeddings.detach().double().numpy(), class_ids, distance, n_shot, temperature)
    assert loss(embeddings, torch.tensor(class_ids)).item() == pytest.approx(expected, rel=1e-4)


def test_prototypical_looks_at_no_order_beyond_the_support():
    embeddings, class_ids = rows(), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
    loss = make("prototypical", "euclidean", n_shot=2)
    expected = loss(embeddings, class_ids)
    order = torch.cat([torch.randperm(6), 6 + torch.randperm(6)])
    torch.testing.assert_close(loss(embeddings[order], class_ids[order]), expected)


def test_a_class_without_a_query_still_has_a_prototype():
    embeddings = rows(5)
    loss = make("prototypical", "l1")
    with_it = loss(embeddings, torch.tensor([0, 1, 2, 0, 1]))
    without = loss(embeddings[[0, 1, 3, 4]], torch.tensor([0, 1, 0, 1]))
    assert with_it > without
