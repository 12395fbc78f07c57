import numpy as np
import pytest
import torch
from made_films import change, make_films, make_multi_label
from made_patients import slow_changes

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodeBlock
from fewshot_cxr.evaluation import evaluate_plan, plan_episodes
from fewshot_cxr.evaluation.episodic.passes import plan_patient_pass
from fewshot_cxr.evaluation.episodic.patients import (
    N_PARTS,
    Cells,
    PatientTally,
    PatientUnits,
    population_variance,
)


def some_rows(episodes, n_statistics=3):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(episodes.n_episodes, n_statistics)))


@pytest.mark.parametrize("queries_only", [False, True])
@pytest.mark.parametrize("n_way", [2, None])
def test_changes_equal_a_slow_loop(queries_only, n_way):
    films = make_films(12, n_mixed=4, n_classes=4)
    episodes = plan_episodes(films, n_way=n_way, n_shot=2, n_query=2, n_episodes=603).episodes
    units, rows = PatientUnits.of(films), some_rows(episodes)
    tally = PatientTally(units, 3, queries_only=queries_only)
    for block in episodes.blocks(64):
        tally.add(block, rows[block.first : block.first + len(block)])
    changes = tally.changes()
    assert changes.shape == (N_PARTS, units.n_units, 3)
    assert tally.n_episodes == 603
    np.testing.assert_allclose(tally.mean, rows.mean(dim=0))
    slow = slow_changes(
        films, units, episodes, lambda some: rows[some].mean(dim=0).numpy(), n_parts=N_PARTS, queries_only=queries_only
    )
    np.testing.assert_allclose(changes, slow, atol=1e-12)


def test_where_every_finding_is_in_every_episode_it_is_the_plain_delete_one_mean():
    films = make_films(12)
    episodes = plan_episodes(films, n_shot=2, n_query=2, n_episodes=203).episodes
    units, rows = PatientUnits.of(films), some_rows(episodes)
    tally, block = PatientTally(units, 3), episodes.block(0, 203)
    tally.add(block, rows)
    drawn = units.unit_of_row[np.concatenate([block.support, block.query], axis=2).reshape(203, -1)]
    changes = tally.changes()
    for part in range(N_PARTS):
        for unit in range(units.n_units):
            without = [e for e in range(part, 203, N_PARTS) if unit not in drawn[e]]
            expected = rows[without].mean(dim=0) - rows[part::N_PARTS].mean(dim=0)
            np.testing.assert_allclose(changes[part, unit], expected, atol=1e-12)


@pytest.mark.slow
def test_some_of_many_findings_give_an_interval_of_sensible_width():
    # That findings come and go from episode to episode is no effect of the patients.
    films = make_films(20, n_classes=10, dim=10)
    plan = plan_episodes(films, n_way=5, n_episodes=600)
    low, high = evaluate_plan(films, plan, device="cpu").accuracy.ci95
    assert 0.01 < (high - low) / 2 < 0.12


def test_a_patient_who_is_always_there_gives_no_changes():
    films = make_films(3, films_of_patient=(1,))
    episodes = plan_episodes(films, n_shot=2, n_query=1, n_episodes=100).episodes
    tally = PatientTally(PatientUnits.of(films), 3)
    tally.add(episodes.block(0, 100), some_rows(episodes))
    assert tally.changes() is None


def test_padding_is_no_patient():
    units = PatientUnits.of(make_films(3, films_of_patient=(1,)))
    cells = Cells.of(units)
    block = EpisodeBlock(0, np.array([[0, 1]]), np.array([[[0, -1], [3, 4]]]), np.array([[[1], [-1]]]))
    is_in, has_role = cells.occurrence(block)
    expected = {(int(units.unit_of_row[row]), class_id) for row, class_id in ((0, 0), (1, 0), (3, 1), (4, 1))}
    found = np.flatnonzero(is_in[0])
    assert set(zip(cells.unit[found].tolist(), cells.role[found].tolist(), strict=True)) == expected
    np.testing.assert_array_equal(has_role, [[1, 1, 0, 0, 0, 0]])


def test_population_variance_by_hand():
    influence = np.array([[0.1, -0.1, 0.2], [0.3, -0.2, 0.0]])
    # Products of different parts: 0.1 * 0.3 + 0.1 * 0.2 + 0, in both orders, over 2 pairs, times (n - 1) / n.
    assert population_variance(influence, 10) == pytest.approx((0.03 + 0.02 + 0) * 0.9)
    assert population_variance(np.array([[1.0], [-1.0]]), 3) < 0


def test_parts_of_noise_cancel():
    noise = np.random.default_rng(0).normal(size=(N_PARTS, 4000))
    signal = np.random.default_rng(1).normal(size=4000)
    assert population_variance(noise, 4000) / 4000 == pytest.approx(0, abs=0.03)
    assert population_variance(noise + signal, 4000) / 4000 == pytest.approx(1, abs=0.1)


def test_units_know_neither_row_order_nor_names_of_patients():
    films = make_films(20, n_mixed=3)
    order = np.random.default_rng(0).permutation(len(films))
    moved = change(films, order, patient_ids=[f"p{1000 - films.patient_ids[row]}" for row in order])
    for n_most in (1000, 7):
        first, second = PatientUnits.of(films, n_most), PatientUnits.of(moved, n_most)
        np.testing.assert_array_equal(first.unit_of_row[order], second.unit_of_row)
        assert first.hash == second.hash
        assert first.patients_of_class == second.patients_of_class
    assert first.hash != PatientUnits.of(films).hash


def test_films_of_one_name_under_two_findings_are_two_films():
    films = make_films(20, films_of_patient=(1,), n_classes=2, paths=[f"{i % 20}.png" for i in range(40)])
    order = np.random.default_rng(0).permutation(len(films))
    first, second = PatientUnits.of(films, 7), PatientUnits.of(change(films, order), 7)
    np.testing.assert_array_equal(first.unit_of_row[order], second.unit_of_row)
    assert first.hash == second.hash


def test_many_patients_share_units_evenly_in_every_finding():
    films = make_films(400, films_of_patient=(1, 2))
    units = PatientUnits.of(films)
    assert (units.n_units, units.n_patients) == (999, 1200)
    few = PatientUnits.of(films, 48)
    for class_id in range(3):
        patients = np.unique(np.stack([films.patient_ids, few.unit_of_row])[:, films.class_ids == class_id], axis=1)
        assert np.array_equal(np.unique(patients[1], return_counts=True)[1], [25] * 16)
    by_patient = np.unique(np.stack([films.patient_ids, few.unit_of_row]), axis=1)
    assert by_patient.shape[1] == 1200  # nobody is in two units


def test_patients_of_a_finding_are_counted():
    films = Embeddings(np.eye(5), ["a", "a", "b", "b", "b"], ["p", "p", "p", "q", "r"])
    assert PatientUnits.of(films).patients_of_class == {0: 1, 1: 3}
    films = make_multi_label()
    stated = films.class_ids == 1
    expected = {c: len(np.unique(films.patient_ids[stated[:, c]])) for c in range(4)}
    assert PatientUnits.of(films).patients_of_class == expected


def test_the_pass_asks_fewer_queries_until_each_patient_is_missing_often_enough():
    films = make_films(8, films_of_patient=(1,))
    units = PatientUnits.of(films)
    plan = plan_patient_pass(plan_episodes(films, n_shot=3, n_query=5).episodes, films, units, 500)
    assert (plan.episodes.n_query, plan.episodes.n_episodes, plan.queries_only) == (2, 500, False)
    assert "each episode asks 2 films per finding instead of 5" in plan.note
    plan = plan_patient_pass(plan_episodes(films, n_shot=7, n_query=1).episodes, films, units, 500)
    assert plan.episodes is None
    assert plan.reason.startswith("a finding has so few patients")
    plan = plan_patient_pass(
        plan_episodes(films, n_shot=3, n_query=5, prevalence="natural").episodes, films, units, 500
    )
    assert plan.episodes is None
    plan = plan_patient_pass(plan_episodes(films, protocol="fixed_support").episodes, films, units, 500)
    assert plan.queries_only
    assert plan.note == "the interval over patients holds the support set fixed"


def measure_worlds(n_worlds, n_patients, **made):
    """Return mean, and both ends over patients, of four numbers in many worlds."""
    found = []
    for world in range(n_worlds):
        films = make_films(n_patients, spread=1.2, within=0.7, seed=world, **made)
        plan = plan_episodes(films, n_shot=5, n_query=15, n_episodes=600, seed=world)
        scores = evaluate_plan(films, plan, n_patient_episodes=800, device="cpu").scores
        chosen = scores.accuracy, scores.macro_f1, scores.auroc, scores.per_class["finding 0"]["sensitivity"]
        found.append([(one.mean, *one.ci95) for one in chosen])
    return np.array(found).transpose(2, 0, 1)


@pytest.mark.slow
def test_the_interval_over_patients_holds_the_truth_of_simulated_worlds():
    mean, low, high = measure_worlds(120, 30)
    truth = mean.mean(axis=0)
    covered = ((low <= truth) & (truth <= high)).mean(axis=0)
    assert (covered >= 0.88).all(), covered
    variance = (((high - low) / 2 / 1.99) ** 2).mean(axis=0)
    ratio = variance / mean.var(axis=0, ddof=1)
    assert ((ratio > 0.8) & (ratio < 1.5)).all(), ratio
