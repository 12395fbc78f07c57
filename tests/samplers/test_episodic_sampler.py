import numpy as np
import pytest

from fewshot_cxr.episodes import Episodes
from fewshot_cxr.episodes.films import EpisodeFilms
from fewshot_cxr.samplers import EpisodicBatchSampler
from fewshot_cxr.seeding import torch_seed

NAMES = ("normal", "pneumonia", "effusion", "cardiomegaly")


def films(sizes=(30, 40, 24, 50), films_per_patient=2):
    class_ids = np.repeat(np.arange(len(sizes)), sizes)
    group_ids = np.arange(len(class_ids)) // films_per_patient
    order = np.random.default_rng(0).permutation(len(class_ids))
    return class_ids[order], group_ids[order]


def make(sizes=(30, 40, 24, 50), *, n_way=3, n_shot=2, n_query=4, n_batches=20, **options):
    class_ids, group_ids = films(sizes)
    sampler = EpisodicBatchSampler(
        class_ids, group_ids, NAMES, n_way=n_way, n_shot=n_shot, n_query=n_query, n_batches=n_batches, **options
    )
    return sampler, class_ids, group_ids


@pytest.mark.parametrize(("n_way", "n_shot", "n_query"), [(3, 2, 4), (2, 1, 1), (4, 5, 6), (4, 1, 10)])
def test_batches_are_support_then_query_class_by_class(n_way, n_shot, n_query):
    sampler, class_ids, _ = make(n_way=n_way, n_shot=n_shot, n_query=n_query)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 20
    for batch in batches:
        assert len(set(batch)) == len(batch) == n_way * (n_shot + n_query)
        support, query = np.split(class_ids[batch], [n_way * n_shot])
        classes = support.reshape(n_way, n_shot)[:, 0]
        assert len(set(classes.tolist())) == n_way
        assert np.array_equal(support, np.repeat(classes, n_shot))
        assert np.array_equal(query, np.repeat(classes, n_query))


@pytest.mark.parametrize("films_per_patient", [1, 2, 3])
def test_no_patient_is_on_both_sides(films_per_patient):
    class_ids, group_ids = films(films_per_patient=films_per_patient)  # some patients have films of two findings
    sampler = EpisodicBatchSampler(class_ids, group_ids, NAMES, n_way=4, n_shot=3, n_query=4, n_batches=200)
    for batch in sampler:
        support, query = group_ids[batch[:12]], group_ids[batch[12:]]
        assert not set(support.tolist()) & set(query.tolist())


def test_all_classes_and_all_films_have_their_turn():
    sampler, class_ids, _ = make(n_way=2, n_batches=400)
    rows = np.array(list(sampler))
    assert set(rows.ravel().tolist()) == set(range(len(class_ids)))
    assert len({tuple(sorted(set(class_ids[batch].tolist()))) for batch in rows}) == 6


def test_epochs_are_planned_once_and_are_those_of_their_seed(monkeypatch):
    sampler, class_ids, group_ids = make()
    epochs = [list(sampler), list(sampler)]
    planned = make()[0]
    monkeypatch.setattr(EpisodeFilms, "pool", None)  # to look through the films again would end in an error
    assert [list(planned), list(planned)] == epochs
    monkeypatch.undo()
    for number, batches in enumerate(epochs):
        seed, shape = torch_seed(0, "episodes", number), {"n_way": 3, "n_shot": 2, "n_query": 4, "n_episodes": 20}
        anew = Episodes(class_ids=class_ids, group_ids=group_ids, class_names=NAMES, seed=seed, **shape)
        (block,) = anew.blocks()
        sides = [side.reshape(20, -1) for side in (block.support, block.query)]
        assert np.concatenate(sides, axis=1).tolist() == batches


def test_a_class_with_too_few_films_is_named():
    with pytest.raises(ValueError, match="too few films for 5-shot episodes with 6 queries per class") as error:
        make((30, 40, 4, 50), n_shot=5, n_query=6)
    message = str(error.value)
    assert "effusion" in message
    assert not any(name in message for name in ("normal", "pneumonia", "cardiomegaly"))
    assert message.endswith("Take fewer shots (n_shot) or queries (n_query), or drop the class")


def test_more_ways_than_classes_are_refused():
    with pytest.raises(ValueError, match="^n_way is 5, but only 4 findings have films: .*normal"):
        make(n_way=5)


@pytest.mark.parametrize("name", ["n_way", "n_shot", "n_query"])
def test_empty_episodes_are_refused(name):
    with pytest.raises(ValueError, match=f"^{name} must be at least"):
        make(**{name: 0})


def test_no_batches_are_refused():
    with pytest.raises(ValueError, match="^n_batches must be at least 1, got 0$"):
        make(n_batches=0)
