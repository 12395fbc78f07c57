"""Every film and every patient of a class is equally likely, however the draw goes about it."""

import numpy as np
import pytest
from scipy.stats import chi2

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes

N_EPISODES = 6000


def uniformity(counts, n_drawn):
    """p-value of the chi-square test for draws of n_drawn different items out of len(counts), repeated."""
    n_items = len(counts)
    expected = counts.sum() / n_items
    # without replacement a count varies less than a Poisson number, by the finite population correction
    statistic = ((counts - expected) ** 2).sum() / expected / (1 - n_drawn / n_items) * (n_items - 1) / n_items
    return chi2.sf(statistic, n_items - 1)


def drawn(class_ids, patient_ids, **settings):
    films = Embeddings(
        np.zeros((len(class_ids), 1)), class_ids, patient_ids, paths=list(map(str, range(len(class_ids))))
    )
    return films, Episodes.draw(films, n_episodes=N_EPISODES, **settings).block(0, N_EPISODES)


# of so many patients per class: the small classes are put in order, the large ones drawn by candidates
@pytest.mark.parametrize("n_patients", [20, 39, 40, 75, 300])
@pytest.mark.parametrize("side", ["support", "query"])
def test_every_patient_is_equally_likely(n_patients, side):
    _, block = drawn([0] * n_patients + [1] * n_patients, range(2 * n_patients), n_shot=5, n_query=15, seed=1)
    for way in (0, 1):
        rows = getattr(block, side)[:, way]
        counts = np.bincount(rows.ravel() - way * n_patients, minlength=n_patients)
        assert uniformity(counts, rows.shape[1]) > 0.001


@pytest.mark.parametrize("n_patients", [30, 400])
def test_every_film_of_a_patient_is_equally_likely(n_patients):
    # patients of one, two and three films
    sizes = np.tile([1, 2, 3], n_patients // 3 + 1)[:n_patients]
    patients = np.repeat(np.arange(n_patients), sizes)
    films, block = drawn(
        [0] * len(patients) + [1] * len(patients), [*patients, *(patients + n_patients)], n_shot=3, n_query=6
    )
    for rows in (block.support[:, 0], block.query[:, 0]):
        by_patient = np.bincount(films.patient_ids[rows].ravel(), minlength=n_patients)[:n_patients]
        assert uniformity(by_patient, rows.shape[1]) > 0.001
        by_film = np.bincount(rows.ravel(), minlength=len(patients))[: len(patients)]
        expected = by_patient[patients] / sizes[patients]
        statistic = ((by_film - expected) ** 2 / expected)[sizes[patients] > 1].sum()
        assert chi2.sf(statistic, (sizes - 1).sum()) > 0.001


@pytest.mark.parametrize("n_patients", [30, 400])
def test_pairs_of_films_meet_as_often_as_chance_has_it(n_patients):
    _, block = drawn([0] * n_patients + [1] * n_patients, range(2 * n_patients), n_shot=2, n_query=2, seed=5)
    together = block.support[:, 0] % 2
    share = (together[:, 0] == together[:, 1]).mean()
    expected = (n_patients / 2 - 1) / (n_patients - 1)
    assert abs(share - expected) < 4 * (expected * (1 - expected) / N_EPISODES) ** 0.5
    first = block.support[:, :, 0] % n_patients % 2
    assert abs((first[:, 0] == first[:, 1]).mean() - 0.5) < 4 * (0.25 / N_EPISODES) ** 0.5


def test_every_set_of_classes_is_equally_likely():
    class_ids = np.repeat(np.arange(6), 80)
    _, block = drawn(class_ids, range(480), n_way=2, n_shot=1, n_query=1)
    _, counts = np.unique(block.class_ids @ [10, 1], return_counts=True)
    assert len(counts) == 15
    assert chi2.sf(((counts - N_EPISODES / 15) ** 2).sum() / (N_EPISODES / 15), 14) > 0.001
    outside = class_ids[block.outside[:, 0]]
    assert chi2.sf(((np.bincount(outside) - N_EPISODES / 6) ** 2).sum() / (N_EPISODES / 6), 5) > 0.001
