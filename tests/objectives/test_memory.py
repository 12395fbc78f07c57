import math
import re

import pytest
import torch
from scipy.spatial.distance import cdist

from fewshot_cxr.objectives import CrossBatchMemory, build_loss, build_miner
from fewshot_cxr.torch_seeding import torch_generator

FITTING = ("contrastive", "multi_similarity", "supcon", "triplet")
BUFFERS = ["class_ids", "embeddings", "group_ids", "n_filled", "position"]


def make(name="triplet", *, size=20, distance="cosine", miner=None, **options):
    loss = build_loss(name, n_classes=3, embedding_dim=8, distance=distance, **options)
    return CrossBatchMemory(loss, build_miner(miner, loss=loss), size=size, embedding_dim=8)


def batch(step, n=6):
    generator = torch_generator(0, "batch", step)
    class_ids = torch.randint(3, (n,), generator=generator)
    group_ids = torch.randint(5, (n,), generator=generator)
    return torch.randn(n, 8, generator=generator) + class_ids[:, None], class_ids, group_ids


def filled(name, **options):
    """A memory after two batches, and the rows that it must hold."""
    memory = make(name, **options)
    for step in (100, 101):
        memory(*batch(step, n=7), step=step)
    return memory, [torch.cat(each) for each in zip(batch(100, n=7), batch(101, n=7), strict=True)]


def partners(class_ids, group_ids, n_anchors):
    """Positives and negatives of each anchor by name: others of its class, not of its patient unless there are none."""
    found = []
    for a in range(n_anchors):
        same = [b for b in range(len(class_ids)) if b != a and class_ids[b] == class_ids[a]]
        strangers = [b for b in same if group_ids[b] != group_ids[a]]
        negatives = [b for b in range(len(class_ids)) if class_ids[b] != class_ids[a]]
        found.append((strangers or same, negatives))
    return found


def mean(values):
    return sum(values) / len(values) if values else 0.0


def slow_triplet(distances, found):
    terms = [distances[a, p] - distances[a, n] + 0.2 for a, (ps, ns) in enumerate(found) for p in ps for n in ns]
    return mean([term for term in terms if term > 0])


def slow_contrastive(distances, found):
    # The miner gives triplets: a pair counts once in each of its own.
    near = [distances[a, p] for a, (ps, ns) in enumerate(found) for p in ps for _ in ns]
    far = [0.2 - distances[a, n] for a, (ps, ns) in enumerate(found) for _ in ps for n in ns]
    return mean([term for term in near if term > 0]) + mean([term for term in far if term > 0])


def slow_supcon(distances, found):
    terms = []
    for a, (positives, negatives) in enumerate(found):
        logits = {b: (1 - distances[a, b]) / 0.1 for b in positives + negatives}
        total = math.log(sum(math.exp(value) for value in logits.values()))
        terms.append(mean([total - logits[p] for p in positives]))
    return mean([term for term in terms if term > 0])


def slow_multi_similarity(distances, found):
    terms = []
    for a, (positives, negatives) in enumerate(found):
        farthest = max((distances[a, p] for p in positives), default=-math.inf)
        nearest = min((distances[a, n] for n in negatives), default=math.inf)
        near = [distances[a, p] for p in positives if distances[a, p] + 0.1 > nearest]
        far = [distances[a, n] for n in negatives if distances[a, n] - 0.1 < farthest]
        pull = math.log(1 + sum(math.exp(-2 * (0.5 - value)) for value in near)) / 2
        terms.append(pull + math.log(1 + sum(math.exp(50 * (0.5 - value)) for value in far)) / 50)
    return mean(terms)


SLOW = {
    "contrastive": slow_contrastive,
    "multi_similarity": slow_multi_similarity,
    "supcon": slow_supcon,
    "triplet": slow_triplet,
}


@pytest.mark.parametrize("name", sorted(SLOW))
def test_memory_equals_a_slow_loop_over_batch_and_memory(name):
    memory, past = filled(name, miner="all" if name in ("triplet", "contrastive") else None)
    embeddings, class_ids, group_ids = batch(0)
    rows, classes, groups = (torch.cat(each) for each in zip(batch(0), past, strict=True))
    found = partners(classes.tolist(), groups.tolist(), n_anchors=6)
    distances = cdist(embeddings.double(), rows.double(), "cosine")
    expected = SLOW[name](distances, found)
    assert memory(embeddings, class_ids, group_ids, step=0).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("distance", ["l1", "euclidean"])
@pytest.mark.parametrize("miner", ["hard", "semihard"])
def test_memory_serves_every_miner_and_distance(miner, distance):
    memory, past = filled("triplet", miner=miner, distance=distance)
    rows, classes, groups = (torch.cat(each) for each in zip(batch(0), past, strict=True))
    distances = cdist(rows[:6].double(), rows.double(), {"l1": "cityblock"}.get(distance, distance))
    terms = []
    for a, (positives, negatives) in enumerate(partners(classes.tolist(), groups.tolist(), n_anchors=6)):
        gaps = [distances[a, n] - distances[a, p] for p in positives for n in negatives]
        if miner == "hard" and gaps:
            gaps = [min(gaps)]
        elif miner == "semihard":
            gaps = [gap for gap in gaps if 0 < gap < 1]
        terms += [1 - gap for gap in gaps if gap < 1]
    assert memory(*batch(0), step=0).item() == pytest.approx(mean(terms), rel=1e-4)


@pytest.mark.parametrize("name", FITTING)
def test_memory_keeps_the_contract(name):
    memory, _ = filled(name)
    embeddings, class_ids, group_ids = batch(0)
    before = {key: value.clone() for key, value in memory.state_dict().items()}
    embeddings.requires_grad_()
    value = memory(embeddings, class_ids, group_ids, step=0)
    assert (value.shape, value.dtype) == ((), torch.float32)
    assert value > 0
    value.backward()
    assert embeddings.grad.isfinite().all()
    assert embeddings.grad.abs().sum() > 0
    assert not memory.embeddings.requires_grad
    assert sorted(memory.state_dict()) == BUFFERS
    memory.load_state_dict(before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(memory(embeddings, class_ids, group_ids, step=0), value)
        assert memory(embeddings.bfloat16(), class_ids, group_ids, step=1).dtype == torch.float32
    assert memory.embeddings.dtype == torch.float32


@pytest.mark.parametrize("name", ["contrastive", "multi_similarity", "triplet"])
def test_an_empty_memory_changes_nothing(name):
    memory = make(name)
    embeddings, class_ids, group_ids = batch(0)
    mined = memory.miner(embeddings, class_ids, group_ids, step=0)
    assert torch.equal(memory(embeddings, class_ids, group_ids, step=0), memory.loss(embeddings, class_ids, mined))


@pytest.mark.parametrize("sizes", [[3, 3, 3], [5, 4, 6, 1, 8], [30], [4, 30, 3]])
def test_the_ring_holds_the_last_films(sizes):
    memory = make(size=10)
    seen = []
    for step, n in enumerate(sizes):
        rows = batch(step, n=n)
        memory(*rows, step=step)
        seen += list(zip(*(each.tolist() for each in rows), strict=True))
        n_filled = int(memory.n_filled)
        held = [each[:n_filled].tolist() for each in (memory.embeddings, memory.class_ids, memory.group_ids)]
        assert n_filled == min(len(seen), 10)
        assert sorted(zip(*held, strict=True)) == sorted(seen[-10:])


@pytest.mark.parametrize("name", FITTING)
def test_a_resumed_memory_goes_on_exactly(name):
    straight, first, second = make(name), make(name), make(name)
    expected = [straight(*batch(step), step=step) for step in range(9)]
    got = [first(*batch(step), step=step) for step in range(5)]
    second.load_state_dict(first.state_dict())
    got += [second(*batch(step), step=step) for step in range(5, 9)]
    assert torch.equal(torch.stack(got), torch.stack(expected))


@pytest.mark.parametrize("name", FITTING)
def test_a_memory_of_one_class_gives_zero_and_a_working_backward(name):
    memory = make(name)
    class_ids, group_ids = torch.ones(4, dtype=torch.int64), torch.arange(4)
    for step in range(2):
        embeddings = torch.randn(4, 8, requires_grad=True)
        value = memory(embeddings, class_ids, group_ids, step=step)
        assert value.item() == 0
        value.backward()
        assert torch.equal(embeddings.grad, torch.zeros(4, 8))


def test_a_film_finds_positives_in_memory_that_its_batch_lacks():
    memory = make(miner="all", distance="euclidean")
    memory(torch.ones(1, 8), torch.tensor([0]), torch.tensor([7]), step=0)
    embeddings = torch.zeros(2, 8, requires_grad=True)
    memory(embeddings, torch.tensor([0, 1]), torch.tensor([1, 2]), step=1).backward()
    assert embeddings.grad[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        *(
            (
                lambda name=name: make(name, distance="l1" if name == "pair_bce" else "cosine"),
                f"loss '{name}' cannot use a memory: leave it out (--memory), or take triplet, contrastive, supcon, "
                "multi_similarity",
            )
            for name in ("pair_bce", "prototypical", "proxy_anchor")
        ),
        (lambda: make(size=0), "size of the memory must be at least 1, got 0"),
        (
            lambda: CrossBatchMemory(make().loss, None, size=4, embedding_dim=8),
            "loss 'triplet' with a memory needs a miner: take semihard, hard, all",
        ),
        (
            lambda: make(swap=True),
            "loss option swap compares positives with negatives, and a memory does not: leave it out",
        ),
    ],
)
def test_the_memorys_door_is_guarded(make_it, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_it()
