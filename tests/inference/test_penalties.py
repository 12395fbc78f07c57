import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import evaluate_episodes
from fewshot_cxr.evaluation.films.decisions import decide_by_exemplars
from fewshot_cxr.inference.penalties import FACTORS, settled
from fewshot_cxr.inference.predictor import predict
from fewshot_cxr.inference.rules import RULES

LABELS = torch.tensor([2, 0, 1, 0, 1, 0, 2, 1, 0, 2])
PATIENTS = torch.tensor([[4, 7, 9, 7, 3, 2, 1, 3, 8, 4], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]])


def support_of(dim, spread=1.0, seed=0):
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(2, 3, dim, generator=draw)
    return spread * (centres[:, LABELS] + torch.randn(2, len(LABELS), dim, generator=draw))


def slow_losses(rule, rows, patients, penalty):
    """Leave out one patient after the other, by scikit-learn."""
    total = 0.0
    for patient in np.unique(patients):
        kept, left = patients != patient, patients == patient
        if len(set(LABELS.numpy()[kept])) < 3:
            continue
        if rule == "ridge":
            fitted = Ridge(alpha=penalty).fit(rows[kept], np.eye(3)[LABELS.numpy()[kept]])
            total += ((fitted.predict(rows[left]) - np.eye(3)[LABELS.numpy()[left]]) ** 2).sum()
        else:
            fitted = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=10_000)
            fitted.fit(rows[kept], LABELS.numpy()[kept])
            total -= np.log(fitted.predict_proba(rows[left])[np.arange(left.sum()), LABELS.numpy()[left]]).sum()
    return total


@pytest.mark.parametrize("dim", [4, 40])
@pytest.mark.parametrize("rule", ["linear_probe", "ridge"])
def test_the_penalty_is_the_one_of_a_slow_loop(rule, dim):
    support = support_of(dim)
    chosen = settled(rule, {"penalty": "auto"}, support, LABELS, PATIENTS)["penalty"]
    assert chosen.shape == (2,)
    for episode in range(2):
        rows = support[episode].double().numpy()
        scale = ((rows - rows.mean(0)) ** 2).sum(1).mean()
        losses = [slow_losses(rule, rows, PATIENTS[episode].numpy(), factor * scale) for factor in FACTORS]
        assert chosen[episode].item() == pytest.approx(scale * FACTORS[int(np.argmin(losses))])


@pytest.mark.parametrize("rule", ["linear_probe", "ridge"])
def test_each_episode_is_decided_by_its_own_penalty(rule):
    # In float64: in float32 a batch adds up in an order of its own, which on some processors moves digits by 4e-5.
    support, queries = support_of(6).double(), support_of(6, seed=1).double()
    both = RULES[rule](support, LABELS, queries, penalty=torch.tensor([0.3, 20.0], dtype=torch.float64))
    for episode, penalty in enumerate((0.3, 20.0)):
        alone = RULES[rule](support[episode], LABELS, queries[episode], penalty=penalty)
        torch.testing.assert_close(both[episode], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", ["linear_probe", "ridge"])
def test_length_of_the_embeddings_does_not_matter(rule):
    short, long = (
        settled(rule, {"penalty": "auto"}, support_of(6, spread), LABELS, PATIENTS)["penalty"]
        for spread in (0.01, 100.0)
    )
    torch.testing.assert_close(long, short * 1e8)


@pytest.mark.parametrize("rule", ["linear_probe", "ridge"])
@pytest.mark.parametrize("rows", [torch.zeros(3, 5), torch.randn(3, 5)])
def test_one_patient_of_each_class_leaves_the_usual_penalty(rule, rows):
    options = settled(rule, {"penalty": "auto"}, rows, torch.arange(3), np.array([1, 2, 3]))
    assert options["penalty"].item() == 1


def test_a_number_and_other_rules_are_left_alone():
    assert settled("ridge", {"penalty": 3.0}, support_of(4), LABELS, PATIENTS) == {"penalty": 3.0}
    assert settled("prototype", None, support_of(4), LABELS, PATIENTS) == {}
    with pytest.raises(ValueError, match="rule 'prototype' has no penalty to choose: linear_probe, ridge have one"):
        settled("prototype", {"penalty": "auto"}, support_of(4), LABELS, PATIENTS)


def films_of(n_patients=12, dim=8, seed=0):
    draw = np.random.default_rng(seed)
    class_ids = np.repeat(np.arange(3), 2 * n_patients)
    vectors = draw.normal(size=(len(class_ids), dim)) + 1.5 * np.eye(dim)[class_ids]
    patients = np.repeat(np.arange(3 * n_patients), 2)
    return Embeddings(vectors, class_ids, patients, paths=[f"{seed}/{row}.png" for row in range(len(class_ids))])


@pytest.mark.parametrize("rule", ["linear_probe", "ridge"])
def test_episodes_answers_and_predictions_choose_it(rule):
    films, others = films_of(), films_of(seed=1)
    auto = {"penalty": "auto"}
    common = {"n_shot": 4, "n_query": 4, "n_episodes": 20, "rule": rule, "patient_interval": False, "progress": None}
    result = evaluate_episodes(films, **common, rule_options=auto)
    assert result.scores.overall["accuracy"].value > 0.4
    answers = decide_by_exemplars(others, films, rule=rule, options=auto)
    labels = torch.from_numpy(films.class_ids)
    chosen = settled(rule, auto, torch.from_numpy(films.vectors), labels, films.patient_ids)["penalty"].item()
    by_number = decide_by_exemplars(others, films, rule=rule, options={"penalty": chosen})
    np.testing.assert_allclose(answers.probabilities, by_number.probabilities, rtol=1e-4, atol=1e-6)
    first = predict(others.vectors[:2], ["a", "b"], films, rule=rule, options=auto)
    number = predict(others.vectors[:2], ["a", "b"], films, rule=rule, options={"penalty": chosen})
    assert [one.findings for one in first] == [one.findings for one in number]
