import math
import re

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch.nn import functional

from fewshot_cxr.distances import DISTANCES, pairwise_distances
from fewshot_cxr.objectives import LOSSES, build_loss, build_miner

SCIPY = {"euclidean": "euclidean", "squared_euclidean": "sqeuclidean", "cosine": "cosine", "l1": "cityblock"}
WITH_MARGIN = ("triplet", "contrastive")
ANY_DISTANCE = (*WITH_MARGIN, "prototypical")
ONLY = {name: "l1" if name == "pair_bce" else "cosine" for name in LOSSES if name not in ANY_DISTANCE}
COMBINATIONS = [(name, d) for name in sorted(LOSSES) for d in sorted(DISTANCES) if ONLY.get(name, d) == d]
ORDERED = ("pair_bce", "prototypical")
MARGINS = {"euclidean": 1.0, "squared_euclidean": 4.0, "l1": 2.0, "cosine": 0.3}


def make(name, distance=None, **options):
    distance = distance or ONLY.get(name, "euclidean")
    return build_loss(name, n_classes=3, embedding_dim=8, distance=distance, **options)


def batch(n=12, seed=0):
    random = torch.Generator().manual_seed(seed)
    class_ids = torch.arange(n) % 3
    return (torch.randn(n, 8, generator=random) + class_ids[:, None]).requires_grad_(), class_ids


def matrix(embeddings, distance):
    rows = embeddings.detach().double().numpy()
    return cdist(rows, rows, SCIPY[distance])


def similarities(embeddings):
    return 1 - matrix(embeddings, "cosine")


def mean_above_zero(values):
    values = [value for value in values if value > 0]
    return sum(values) / len(values) if values else 0.0


def all_triplets(class_ids):
    n = len(class_ids)
    rows = [(a, p, q) for a in range(n) for p in range(n) for q in range(n)]
    return [(a, p, q) for a, p, q in rows if a != p and class_ids[a] == class_ids[p] and class_ids[a] != class_ids[q]]


@pytest.mark.parametrize(("name", "distance"), COMBINATIONS)
def test_loss_keeps_the_contract(name, distance):
    embeddings, class_ids = batch()
    loss = make(name, distance)
    assert (loss.name, loss.distance) == (name, distance)
    value = loss(embeddings, class_ids)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert value > 0
    value.backward()
    assert embeddings.grad.isfinite().all()
    assert embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_triplet_equals_a_slow_loop(distance):
    embeddings, class_ids = batch()
    distances, margin = matrix(embeddings, distance), MARGINS[distance]
    triplets = all_triplets(class_ids)
    expected = mean_above_zero([distances[a, p] - distances[a, n] + margin for a, p, n in triplets])
    assert make("triplet", distance, margin=margin)(embeddings, class_ids).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("kind", ["all", "hard", "semihard"])
def test_mined_triplets_measure_as_the_loss_and_the_rules_do(kind, distance):
    embeddings, class_ids = batch()
    margin, ours = MARGINS[distance], pairwise_distances(embeddings, embeddings, distance)
    loss = make("triplet", distance, margin=margin)
    mined = build_miner(kind, loss=loss)(embeddings.detach(), class_ids, step=0)
    violations = [ours[a, p] - ours[a, n] + margin for a, p, n in zip(*mined, strict=True)]
    expected = mean_above_zero([value.item() for value in violations])
    assert loss(embeddings, class_ids, mined).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("distance", ["l1", "euclidean"])
def test_triplet_is_not_the_published_mean_over_the_cube(distance):
    embeddings, class_ids = batch()
    distances, margin, n = matrix(embeddings, distance), MARGINS[distance], len(class_ids)
    violations = [distances[a, p] - distances[a, q] + margin for a, p, q in all_triplets(class_ids)]
    active = [value for value in violations if value > 0]
    published = sum(active) / n**3  # fades as triplets fall silent, and with every triplet that cannot be
    got = make("triplet", distance, margin=margin)(embeddings, class_ids).item()
    assert got == pytest.approx(published * n**3 / len(active), rel=1e-5)
    assert got > 3 * published


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_contrastive_equals_a_slow_loop(distance):
    embeddings, class_ids = batch()
    distances, margin = matrix(embeddings, distance), MARGINS[distance]
    near, far = [], []
    for a in range(len(class_ids)):
        for b in range(len(class_ids)):
            if a != b and class_ids[a] == class_ids[b]:
                near.append(distances[a, b])
            elif a != b:
                far.append(margin - distances[a, b])
    expected = mean_above_zero(near) + mean_above_zero(far)
    got = make("contrastive", distance, margin=margin)(embeddings, class_ids).item()
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", WITH_MARGIN)
@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_loss_of_chosen_triplets_equals_a_slow_loop(name, distance):
    embeddings, class_ids = batch()
    distances, margin = matrix(embeddings, distance), MARGINS[distance]
    chosen = [(0, 3, 1), (0, 3, 2), (4, 1, 6), (5, 8, 7)]
    if name == "triplet":
        expected = mean_above_zero([distances[a, p] - distances[a, n] + margin for a, p, n in chosen])
    else:
        expected = mean_above_zero([distances[a, p] for a, p, _ in chosen])
        expected += mean_above_zero([margin - distances[a, n] for a, _, n in chosen])
    mined = tuple(torch.tensor(chosen).T)
    assert make(name, distance, margin=margin)(embeddings, class_ids, mined).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_supcon_equals_its_formula(temperature):
    embeddings, class_ids = batch()
    similarity = similarities(embeddings) / temperature
    terms = []
    for a in range(len(class_ids)):
        others = [b for b in range(len(class_ids)) if b != a]
        total = math.log(sum(math.exp(similarity[a, b]) for b in others))
        positives = [b for b in others if class_ids[b] == class_ids[a]]
        terms.append(-sum(similarity[a, p] - total for p in positives) / len(positives))
    got = make("supcon", temperature=temperature)(embeddings, class_ids).item()
    assert got == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def multi_similarity(similarity, positives, negatives, *, alpha=2.0, beta=50.0, base=0.5):
    terms = []
    for a in range(len(similarity)):
        near = sum(math.exp(-alpha * (similarity[a, b] - base)) for b in positives[a])
        far = sum(math.exp(beta * (similarity[a, b] - base)) for b in negatives[a])
        terms.append(math.log(1 + near) / alpha + math.log(1 + far) / beta)
    return sum(terms) / len(terms)


def test_multi_similarity_equals_its_formula():
    embeddings, class_ids = batch()
    rows = range(len(class_ids))
    positives = [[b for b in rows if b != a and class_ids[b] == class_ids[a]] for a in rows]
    negatives = [[b for b in rows if class_ids[b] != class_ids[a]] for a in rows]
    expected = multi_similarity(similarities(embeddings), positives, negatives)
    assert make("multi_similarity")(embeddings, class_ids).item() == pytest.approx(expected, rel=1e-5)


def test_multi_similarity_with_its_miner_equals_its_formula():
    embeddings, class_ids = batch()
    loss = make("multi_similarity")
    mined = build_miner(None, loss=loss)(embeddings, class_ids, step=0)
    rows = range(len(class_ids))
    positives = [mined[1][mined[0] == a].tolist() for a in rows]
    negatives = [mined[3][mined[2] == a].tolist() for a in rows]
    expected = multi_similarity(similarities(embeddings), positives, negatives)
    assert loss(embeddings, class_ids, mined).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("margin", [None, 0.3])
def test_proxy_anchor_equals_its_formula(margin):
    embeddings, class_ids = batch(n=8)
    class_ids = class_ids % 2  # the third class has no film here, only a proxy
    loss = make("proxy_anchor", margin=margin)
    delta, alpha = (0.1 if margin is None else margin), 32.0
    assert loss.margin == delta
    proxies = functional.normalize(loss.state_dict()["inner.proxies"].double(), dim=1)
    cosines = functional.normalize(embeddings.detach().double(), dim=1) @ proxies.T
    pull = push = 0.0
    for c in range(3):
        own = [float(cosines[i, c]) for i in range(8) if class_ids[i] == c]
        others = [float(cosines[i, c]) for i in range(8) if class_ids[i] != c]
        pull += math.log(1 + sum(math.exp(-alpha * (value - delta)) for value in own))
        push += math.log(1 + sum(math.exp(alpha * (value + delta)) for value in others))
    assert loss(embeddings, class_ids).item() == pytest.approx(pull / 2 + push / 3, rel=1e-5)


@pytest.mark.parametrize(("name", "distance"), COMBINATIONS)
@pytest.mark.parametrize("is_one_point", [False, True])
def test_gradients_are_finite_with_duplicate_embeddings(name, distance, is_one_point):
    rows = torch.zeros(6, 8) if is_one_point else torch.randn(3, 8).repeat(2, 1)
    embeddings = rows.requires_grad_()
    loss = make(name, distance)
    value = loss(embeddings, torch.tensor([0, 1, 2, 0, 1, 2]))
    value.backward()
    assert value.isfinite()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize(("name", "distance"), COMBINATIONS)
def test_mixed_precision_changes_nothing(name, distance):
    embeddings, class_ids = batch(n=24)
    loss = make(name, distance)
    miner = build_miner(None, loss=loss)

    def mine_and_lose(rows):
        mined = None if miner is None else miner(rows.detach(), class_ids, step=0)
        return loss(rows, class_ids, mined)

    plain = mine_and_lose(embeddings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = mine_and_lose(embeddings)
        half = loss(embeddings.bfloat16(), class_ids)
    assert torch.equal(plain, mixed)
    assert torch.equal(torch.autograd.grad(plain, embeddings)[0], torch.autograd.grad(mixed, embeddings)[0])
    assert half.dtype == torch.float32
    assert torch.equal(half, loss(embeddings.bfloat16().float(), class_ids))


@pytest.mark.parametrize(("name", "distance"), [pair for pair in COMBINATIONS if pair[0] not in ORDERED])
def test_row_order_does_not_matter(name, distance):
    embeddings, class_ids = batch()
    order = torch.randperm(len(class_ids))
    loss = make(name, distance)
    torch.testing.assert_close(loss(embeddings[order], class_ids[order]), loss(embeddings, class_ids))


@pytest.mark.parametrize(
    ("name", "distance"), [pair for pair in COMBINATIONS if pair[0] not in ("proxy_anchor", "pair_bce")]
)
@pytest.mark.parametrize("class_ids", [[1, 1, 1, 1], [0, 1, 2, 3]], ids=["one class", "no positive"])
def test_a_batch_without_triplets_gives_zero_and_a_working_backward(name, distance, class_ids):
    embeddings = torch.randn(4, 8, requires_grad=True)
    loss = make(name, distance)
    miner = build_miner(None, loss=loss)
    class_ids = torch.tensor(class_ids)
    mined = None if miner is None else miner(embeddings.detach(), class_ids, step=0)
    value = loss(embeddings, class_ids, mined)
    assert value.item() == 0
    assert value.dtype == torch.float32
    value.backward()
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


@pytest.mark.parametrize("name", ["triplet", "contrastive", "multi_similarity"])
def test_a_single_pair_counts(name):
    embeddings, class_ids = batch(n=6)
    loss = make(name, margin=50.0 if name in WITH_MARGIN else None)
    one = [torch.tensor([row]) for row in ((0, 3, 1) if name in WITH_MARGIN else (0, 3, 0, 1))]
    twice = [row.repeat(2) for row in one]
    assert loss(embeddings, class_ids, tuple(one)) > 0
    assert torch.equal(loss(embeddings, class_ids, tuple(one)), loss(embeddings, class_ids, tuple(twice)))


def test_proxies_follow_from_their_seed_alone():
    before = torch.get_rng_state()
    first = make("proxy_anchor", seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again, other = make("proxy_anchor", seed=3), make("proxy_anchor", seed=4)
    assert list(first.state_dict()) == ["inner.proxies"]
    assert torch.equal(first.inner.proxies, again.inner.proxies)
    assert not torch.equal(first.inner.proxies, other.inner.proxies)
    other.load_state_dict(first.state_dict())
    embeddings, class_ids = batch()
    assert torch.equal(other(embeddings, class_ids), first(embeddings, class_ids))
    first(embeddings, class_ids).backward()
    assert first.inner.proxies.grad.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_building_leaves_the_global_generators_alone(name):
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    make(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numbers)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_misspelt_option_is_a_type_error(name):
    with pytest.raises(TypeError, match="temprature"):
        make(name, temprature=0.1)


@pytest.mark.parametrize("name", sorted(ONLY))
def test_losses_of_one_distance_refuse_the_others(name):
    other, only = "euclidean", ONLY[name]
    message = f"loss '{name}' compares by {only}, not {other}: take distance '{only}' (--distance {only})"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(name, other)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("supcon", {"margin": 0.1}, "loss 'supcon' has no margin: leave margin out (--margin)"),
        ("multi_similarity", {"margin": 0.1}, "loss 'multi_similarity' has no margin: leave margin out (--margin)"),
        ("pair_bce", {"margin": 0.1}, "loss 'pair_bce' has no margin: leave margin out (--margin)"),
        ("prototypical", {"margin": 0.1}, "loss 'prototypical' has no margin: leave margin out (--margin)"),
        ("prototypical", {"n_shot": 0}, "n_shot must be at least 1, got 0"),
        ("prototypical", {"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ("triplet", {"margin": 0.0}, "margin must be above 0, got 0.0"),
        ("triplet", {"margin": math.nan}, "margin must be above 0, got nan"),
        (
            "tripplet",
            {},
            "unknown loss 'tripplet' (did you mean 'triplet'?); choose from contrastive, multi_similarity, "
            "pair_bce, prototypical, proxy_anchor, supcon, triplet",
        ),
        (
            "triplet",
            {"distance": "cosin"},
            "unknown distance 'cosin' (did you mean 'cosine'?); choose from cosine, euclidean, l1, squared_euclidean",
        ),
    ],
)
def test_the_door_is_guarded(name, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(name, **options)


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_the_usual_margin_follows_the_distance(distance):
    for name in WITH_MARGIN:
        loss = make(name, distance)
        assert loss.margin == (0.2 if distance == "cosine" else 1.0)
        embeddings, class_ids = batch()
        assert torch.equal(loss(embeddings, class_ids), make(name, distance, margin=loss.margin)(embeddings, class_ids))
