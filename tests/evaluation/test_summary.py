import numpy as np
import pytest
import torch
from made_films import change, make_films
from made_patients import slow_changes
from scipy import stats

from fewshot_cxr.evaluation import evaluate_plan, plan_episodes
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.evaluation.episodic.patients import (
    N_PARTS,
    PatientPlan,
    PatientTally,
    PatientUnits,
    population_variance,
)
from fewshot_cxr.evaluation.episodic.scorer import Scorer
from fewshot_cxr.evaluation.episodic.summary import N_BATCHES, EpisodeSums, Summary, paired_difference
from fewshot_cxr.evaluation.episodic.tally import Layout
from fewshot_cxr.metrics import bounded_interval


def summarize(films, n_episodes=200, *, has_tally=True, rule="mean_distance", n_way=None):
    """Return the summary, the rows it was made of, and the episodes."""
    episodes = plan_episodes(films, n_way=n_way, n_shot=2, n_query=3, n_episodes=n_episodes).episodes
    scorer = Scorer(FilmRule(films, rule=rule, distance="euclidean"), Layout(films.class_names))
    units = PatientUnits.of(films)
    sums, tally = EpisodeSums(scorer.layout, n_episodes), PatientTally(units, scorer.layout.n_statistics)
    parts = []
    for block in episodes.blocks(64):
        parts.append(scorer(block).rows)
        sums.add(block.first, parts[-1])
        tally.add(block, parts[-1])
    plan = PatientPlan(episodes if has_tally else None, reason=None if has_tally else "not asked for")
    return Summary(scorer.layout, sums, tally if has_tally else None, units, plan), torch.cat(parts), episodes


def number_of(layout, rows, *key):
    return float(layout.numbers(rows.mean(dim=0))[key])


def test_sums_do_not_depend_on_the_blocks():
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(107, 12)))
    layout = type("Some", (), {"n_statistics": 12})
    whole, pieces = EpisodeSums(layout, 107), EpisodeSums(layout, 107)
    whole.add(0, rows)
    for first in range(0, 107, 10):
        pieces.add(first, rows[first : first + 10])
    np.testing.assert_allclose(whole.batch_means(), pieces.batch_means())
    np.testing.assert_allclose(whole.moments.mean, pieces.moments.mean)
    share = np.arange(107) * N_BATCHES // 107
    np.testing.assert_allclose(whole.batch_means(), [rows[share == b].mean(dim=0) for b in range(N_BATCHES)])
    few = EpisodeSums(layout, 3)
    few.add(0, rows[:3])
    np.testing.assert_allclose(few.batch_means(), rows[:3])


@pytest.mark.parametrize("key", [("accuracy",), ("macro_f1",), ("mcc",), ("auroc",), ("finding", "finding 1", "ppv")])
@pytest.mark.slow
def test_influence_is_how_the_number_moves_when_a_patient_is_left_out(key):
    films = make_films(20, n_mixed=3)
    summary, rows, episodes = summarize(films, 2000)
    place = summary.keys.index(key)
    layout = Layout(films.class_names)

    def number(some):
        return number_of(layout, rows[some], *key)

    slow = slow_changes(films, summary.units, episodes, number, n_parts=N_PARTS)
    scale = np.abs(slow).max()
    np.testing.assert_allclose(summary.influence[:, :, place], slow, atol=0.12 * scale)
    error = population_variance(summary.influence[:, :, place], 60) ** 0.5
    assert error == pytest.approx(population_variance(slow, 60) ** 0.5, rel=0.1)
    low, high = summary.estimate(*key).ci95_patients
    total = (error**2 + summary.episode_variance[place]) ** 0.5
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 57) * total, rel=0.12)


def test_batches_are_the_number_in_shares_of_the_episodes():
    films = make_films(20)
    summary, rows, _ = summarize(films, 2000)
    layout = Layout(films.class_names)
    for key in (("accuracy",), ("macro_f1",), ("auroc",)):
        shares = [number_of(layout, part, *key) for part in rows.chunk(N_BATCHES)]
        np.testing.assert_allclose(summary.batches[:, summary.keys.index(key)], shares, atol=3e-3)


def test_paired_difference_equals_a_slow_one():
    films = make_films(20)
    noisy = change(films, vectors=films.vectors + np.random.default_rng(0).normal(size=films.vectors.shape))
    (first, rows, episodes), (second, others, _) = summarize(films, 2000), summarize(noisy, 2000)
    gap = paired_difference(first, second, "accuracy")
    right = [some[:, :3].sum(dim=1) / some[:, :6].sum(dim=1) for some in (rows, others)]  # hits, then misses
    gaps = (right[0] - right[1]).numpy()
    assert gap.mean == pytest.approx(gaps.mean())
    slow = slow_changes(films, first.units, episodes, lambda some: gaps[some].mean(), n_parts=N_PARTS)
    batches = gaps.reshape(N_BATCHES, -1).mean(axis=1)
    over_episodes = batches.var(ddof=1) / N_BATCHES
    expected = stats.t.interval(0.95, N_BATCHES - 1, gaps.mean(), over_episodes**0.5)
    assert gap.ci95_episodes == pytest.approx(expected, abs=1e-6)
    error = (max(0, population_variance(slow, 60)) + over_episodes) ** 0.5
    assert gap.ci95_patients == pytest.approx(stats.t.interval(0.95, 57, gaps.mean(), error), abs=1e-6)
    # Paired, the difference is known better than either number.
    alone = [np.diff(some.estimate("accuracy").ci95_patients)[0] for some in (first, second)]
    assert np.diff(gap.ci95_patients)[0] < np.hypot(*alone)


def test_a_number_rests_on_the_patients_of_its_finding():
    films = make_films(25)
    vectors = 10 * np.eye(3)[films.class_ids] + 0.01 * films.vectors[:, :3]
    summary, _, _ = summarize(change(films, vectors=vectors))

    def low(*key):
        return summary.estimate(*key).ci95_patients[0]

    quantile = stats.t.ppf(0.975, 72) ** 2
    assert low("accuracy") == pytest.approx(75 / (75 + quantile))
    assert low("finding", "finding 1", "sensitivity") == pytest.approx(25 / (25 + quantile))
    assert low("finding", "finding 1", "specificity") == pytest.approx(50 / (50 + quantile))
    assert low("mcc") == pytest.approx(2 * 75 / (75 + quantile) - 1)
    assert summary.estimate("accuracy").ci95_episodes == (1, 1)


def test_what_the_episodes_for_patients_do_not_show_is_no_certainty():
    summary, _, _ = summarize(make_films(20))
    place = summary.keys.index(("accuracy",))
    summary.influence[:, :, place] = 0  # no error was seen in them
    summary.values[place], summary.episode_variance[place] = 0.99998, 1e-10
    low, high = summary.estimate("accuracy").ci95
    assert (low, high) == pytest.approx(
        bounded_interval(0.99998, 0, degrees=summary.degrees, n_patients=summary.units.n_patients)
    )
    place = summary.keys.index(("calibration", "0", "ece"))
    summary.influence[:, :, place] = 0
    found = summary.estimate("calibration", "0", "ece")
    width = [pair[1] - pair[0] for pair in (found.ci95, found.ci95_episodes)]
    assert width[0] >= width[1] > 0
    summary.episode_variance[place] = 0
    assert summary.estimate("calibration", "0", "ece").ci95 == (found.mean, found.mean)


def test_absent_intervals_say_why():
    films = make_films(20)
    without, _, _ = summarize(films, has_tally=False)
    assert without.estimate("accuracy").ci95 is None
    assert without.estimate("accuracy").reason == "not asked for"
    assert without.replicates().influence == {}
    one, _, _ = summarize(films, 1, has_tally=False)
    assert one.estimate("accuracy").ci95_episodes is None
    few, _, _ = summarize(films, 8)
    assert few.estimate("accuracy").reason.startswith("some patient is missing from too few of the episodes")


def test_replicates_join_units_and_keep_what_is_compared():
    films = make_films(50)
    summary, _, _ = summarize(films, 400)
    kept = summary.replicates()
    assert len(kept.influence["accuracy"]) == N_PARTS
    assert len(kept.influence["accuracy"][0]) == 100
    place = summary.keys.index(("accuracy",))
    whole = summary.influence[:, :, place]
    expected = whole[:, :100].copy()
    expected[:, : whole.shape[1] - 100] += whole[:, 100:]
    np.testing.assert_allclose(kept.influence["accuracy"], expected, rtol=1e-4)
    assert {"accuracy", "mcc", "ece", "brier", "sensitivity of finding 0"} <= kept.influence.keys()
    assert kept.n_patients == 150
    assert np.isfinite([value for parts in kept.influence.values() for part in parts for value in part]).all()


def test_fewer_queries_in_the_tally_do_not_change_the_scale():
    films = make_films(12, films_of_patient=(1,))
    plan = plan_episodes(films, n_shot=3, n_query=9, n_episodes=2000)
    result = evaluate_plan(films, plan, n_patient_episodes=4000, device="cpu")
    assert "each episode asks 4 films per finding instead of 9" in result.notes[-1]
    right = plan_episodes(films, n_shot=3, n_query=4, n_episodes=2000)
    other = evaluate_plan(films, right, n_patient_episodes=4000, device="cpu")
    for name in ("ece", "brier"):
        widths = [np.diff(getattr(one.calibration.before, name).ci95_patients)[0] for one in (result, other)]
        assert widths[0] / widths[1] == pytest.approx(1, abs=0.35), name
