"""p-values by a slow loop that decides anew for each film, finding and patient; invariances; coverage."""

import numpy as np
import pytest
import torch

from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.inference.bank.conformal import SUPPORT_RULES, SupportConformal, share_as_strange, worst_of_patients
from fewshot_cxr.inference.rules import RULES

N_WAY, DIM = 3, 5
LABELS = torch.tensor([0, 1, 2] * 6 + [0, 0, 1, 2])
PATIENTS = torch.tensor([0, 1, 2, 3, 4, 5, 6, 1, 7, 8, 9, 10, 8, 11, 12, 12, 13, 14, 0, 6, 4, 5])  # 12 has two findings


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


EXEMPLARS = draw(len(LABELS), DIM) + 1.5 * torch.eye(N_WAY, DIM, dtype=torch.float64)[LABELS]
QUERIES = draw(7, DIM, seed=1) + torch.eye(N_WAY, DIM, dtype=torch.float64)[torch.tensor([0, 1, 2, 0, 1, 2, 0])]


def conformal(vectors, labels, patients, *, rule, distance="euclidean"):
    known = (one.numpy() for one in (vectors, labels, patients))
    return SupportConformal(*known, rule=rule, distance=distance)


def slow_p_value(query, finding, fewest, rule, distance):
    """Return the share of patients as strange as the film, each of them decided anew."""
    vectors = torch.cat([EXEMPLARS, query[None]])
    labels, patients = torch.cat([LABELS, torch.tensor([finding])]), torch.cat([PATIENTS, torch.tensor([99])])
    worst = {}
    for row, (label, patient) in enumerate(zip(labels.tolist(), patients.tolist(), strict=True)):
        others = patients != patient
        found = RULES[rule](vectors[others], labels[others], vectors[[row]], distance=distance)[0].tolist()
        score = found[label] - min(found[:label] + found[label + 1 :])
        n_patients = len({own for own, of in zip(PATIENTS.tolist(), LABELS.tolist(), strict=True) if of == finding})
        if label == finding or n_patients < fewest:
            worst[patient] = max(score, worst.get(patient, -np.inf))
    return np.mean([score >= worst[99] - 1e-9 for score in worst.values()])


@pytest.mark.parametrize("rule", SUPPORT_RULES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("fewest", [1, 6, 99])  # own thresholds, some of the one kind and some of the other, pooled
def test_p_values_are_those_of_deciding_anew(rule, distance, fewest):
    found = conformal(EXEMPLARS, LABELS, PATIENTS, rule=rule, distance=distance).p_values(QUERIES.numpy(), fewest)
    slow = [[slow_p_value(query, finding, fewest, rule, distance) for finding in range(N_WAY)] for query in QUERIES]
    np.testing.assert_allclose(found, slow)
    assert (found > 0).all()
    assert (found <= 1).all()
    assert len(np.unique(found)) > 4


@pytest.mark.parametrize("rule", SUPPORT_RULES)
def test_neither_order_nor_names_nor_company_matter(rule):
    def p_values(rows, names, films):
        known = EXEMPLARS[rows], LABELS[rows], names[PATIENTS[rows]]
        return conformal(*known, rule=rule).p_values(films.numpy(), 6)

    plain = p_values(torch.arange(len(LABELS)), torch.arange(20), QUERIES)
    order = torch.from_numpy(np.random.default_rng(2).permutation(len(LABELS)))
    names = torch.from_numpy(np.random.default_rng(3).permutation(1000)[:20])
    np.testing.assert_array_equal(p_values(order, names, QUERIES.flip(0))[::-1], plain)
    np.testing.assert_array_equal(np.concatenate([p_values(order, names, film[None]) for film in QUERIES]), plain)


@pytest.mark.parametrize("rule", SUPPORT_RULES)
def test_renaming_the_findings_renames_the_columns(rule):
    renamed = torch.tensor([2, 0, 1])
    plain, other = (
        conformal(EXEMPLARS, labels, PATIENTS, rule=rule, distance="cosine").p_values(QUERIES.numpy(), 6)
        for labels in (LABELS, renamed[LABELS])
    )
    np.testing.assert_array_equal(other[:, renamed], plain)


@pytest.mark.parametrize("rule", SUPPORT_RULES)
def test_a_finding_that_one_patient_holds_alone_is_never_left_out_for_it(rule):
    """Without that patient nothing tells how near its finding is: each of its films counts as the strangest."""
    vectors, labels = torch.tensor([[0.0], [0.1], [5.0], [5.1]]).double(), torch.tensor([0, 0, 1, 1])
    found = conformal(vectors, labels, torch.tensor([0, 1, 2, 2]), rule=rule).p_values(np.array([[4.0]]), 99)
    # As one of finding 0 the film is stranger than patients 0 and 1; nobody but patient 2 has finding 1.
    assert found.tolist() == [[2 / 4, 1 / 4]]


def test_the_worst_film_of_a_patient_counts():
    scores, patients = np.array([3.0, 1.0, 2.0, 7.0]), np.array([5, 2, 5, 2])
    assert worst_of_patients(scores, patients).tolist() == [7.0, 3.0]
    both = np.stack([scores, -scores], axis=1)
    assert worst_of_patients(both, patients).tolist() == [[7.0, -1.0], [3.0, -2.0]]


def test_a_share_counts_ties_and_the_film_itself():
    worst = np.array([1.0, 2.0, 2.0, 3.0])
    found = share_as_strange(worst, np.array([0.0, 1.0, 2.0, 2.5, 3.0, 9.0, 2.0 + 1e-12]))
    assert found.tolist() == pytest.approx([1.0, 1.0, 0.8, 0.4, 0.4, 0.2, 0.8])
    assert share_as_strange(np.empty(0), np.array([5.0])).tolist() == [1.0]


@pytest.mark.slow
@pytest.mark.parametrize("rule", SUPPORT_RULES)
def test_exchangeable_films_are_covered(rule):
    """At 80 % of 300 worlds of 9 patients a finding: 8 of 10 on average, tested one film a world and finding."""
    covered = []
    for world in range(300):
        films = draw(3 * 10, 4, seed=world).view(3, 10, 4) + 2 * torch.eye(3, 4, dtype=torch.float64)[:, None]
        known, asked = films[:, :9].reshape(-1, 4), films[:, 9]
        labels = torch.arange(3).repeat_interleave(9)
        found = conformal(known, labels, torch.arange(27), rule=rule).p_values(asked.numpy(), 9)
        covered += (found.diagonal() > 0.2 + 1e-9).tolist()
    error = (0.8 * 0.2 / len(covered)) ** 0.5
    assert abs(np.mean(covered) - 0.8) < 3.5 * error
