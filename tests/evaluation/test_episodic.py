import inspect
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_films import change, make_films, slow_episodes
from scipy import stats
from sklearn import metrics

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import SavedEpisodes, save_episodes
from fewshot_cxr.evaluation import Plan, Result, evaluate_episodes, evaluate_plan, plan_episodes
from fewshot_cxr.evaluation.episodic.tally import N_BINS

FEW = {"n_shot": 2, "n_query": 3, "n_episodes": 30, "device": "cpu"}


def evaluate_fast(films, **asked):
    """Evaluate with few episodes for the interval over patients."""
    shape = {name: value for name, value in {**FEW, **asked}.items() if name in ("n_way", "n_shot", "n_query")}
    plan = plan_episodes(films, n_episodes=30, **shape)
    return evaluate_plan(films, plan, n_patient_episodes=asked.get("n_patient_episodes", 400), device="cpu")


def slow_scores(films, episodes, rule):
    """Return every number by scikit-learn, a decision that is tied entering once for each class, with its share."""
    seen = list(slow_episodes(films, episodes, rule))
    truth, decided, weights = [], [], []
    ranked = {name: [[] for _ in films.class_names] for name in ("auroc", "auprc")}
    for one in seen:
        query, way = np.nonzero(one.credits)
        truth += one.class_ids[one.labels[query]].tolist()
        decided += one.class_ids[way].tolist()
        weights += one.credits[query, way].tolist()
        for way, class_id in enumerate(one.class_ids):
            score, is_own = one.margins[:, way], one.labels == way
            ranked["auroc"][class_id].append(metrics.roc_auc_score(is_own, score))
            ranked["auprc"][class_id].append(metrics.average_precision_score(is_own, score))
    labels = list(range(len(films.class_names)))
    pooled = {"sample_weight": weights}
    table = metrics.confusion_matrix(truth, decided, labels=labels, **pooled)
    right, total = table.diagonal(), table.sum()
    rejected = total - table.sum(axis=0) - table.sum(axis=1) + right
    f1 = {"labels": labels, "zero_division": np.nan, **pooled}
    return {
        "accuracy": metrics.accuracy_score(truth, decided, **pooled),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, decided, **pooled),
        "macro_f1": metrics.f1_score(truth, decided, average="macro", **f1),
        "weighted_f1": metrics.f1_score(truth, decided, average="weighted", **f1),
        "mcc": metrics.matthews_corrcoef(truth, decided, **pooled),
        "kappa": metrics.cohen_kappa_score(truth, decided, labels=labels, **pooled),
        "auroc": np.mean([np.mean(row) for row in ranked["auroc"]]),
        "auprc": np.mean([np.mean(row) for row in ranked["auprc"]]),
        "each": {
            "sensitivity": right / table.sum(axis=1),
            "specificity": rejected / (total - table.sum(axis=1)),
            "ppv": right / table.sum(axis=0),
            "npv": rejected / (total - table.sum(axis=0)),
            "f1": metrics.f1_score(truth, decided, average=None, **f1),
            "auroc": [np.mean(row) for row in ranked["auroc"]],
            "auprc": [np.mean(row) for row in ranked["auprc"]],
        },
        "confusion": table,
        "seen": seen,
    }


def slow_reliability(seen, temperature=1.0):
    """Return Brier score and expected calibration error, one film at a time."""
    bins, brier = [[] for _ in range(N_BINS)], []
    for one in seen:
        squares = []
        for probabilities, right, label in zip(one.probabilities(temperature), one.right, one.labels, strict=True):
            sure = probabilities.max()
            bins[min(int(np.ceil(sure * N_BINS)) - 1, N_BINS - 1)].append((sure, right))
            squares.append(np.sum((probabilities - np.eye(len(probabilities))[label]) ** 2))
        brier.append(np.mean(squares))
    gaps = [abs(np.sum([sure - right for sure, right in rows])) for rows in bins]
    return np.mean(brier), np.sum(gaps) / sum(map(len, bins))


def with_ties(films):
    """Return films of which many have the very same vector."""
    vectors = np.round(films.vectors[:, :2])
    return change(films, vectors=vectors)


CASES = {
    "all ways": ({}, {}),
    "fewer ways": ({"n_mixed": 6, "n_classes": 4}, {"n_way": 2}),
    "unlike shots": ({}, {"n_shot": {"finding 0": 1, "finding 1": 4, "finding 2": 2}}),
    "natural": ({"n_mixed": 9}, {"prevalence": "natural"}),
    "folds": ({"n_patients": 7}, {"protocol": "fixed_support", "n_folds": 3, "n_repeats": 4}),
    "shrunk": ({"n_patients": 4, "films_of_patient": (1, 2)}, {"n_query": 5, "if_too_small": "shrink_query"}),
}


@pytest.mark.parametrize("rule", ["mean_distance", "prototype"])
@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.slow
def test_every_number_equals_a_slow_loop_and_scikit_learn(case, rule):
    made, asked = CASES[case]
    films = make_films(**made)
    films = with_ties(films) if case == "all ways" else films
    asked = asked if "n_folds" in asked else {"n_shot": 2, "n_query": 3, "n_episodes": 30, **asked}
    plan = plan_episodes(films, seed=2, **asked)
    result = evaluate_plan(films, plan, rule=rule, patient_interval=False, device="cpu")
    slow = slow_scores(films, plan.episodes, rule)
    np.testing.assert_allclose(result.confusion, slow["confusion"], atol=1e-4)
    # Two films whose margins are equal but for rounding are a tie in float32 here and there.
    close = {name: 1e-2 if case == "all ways" and name in ("auroc", "auprc") else 2e-6 for name in slow["each"]}
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "kappa", "auroc", "auprc"):
        assert getattr(result.scores, name).mean == pytest.approx(slow[name], abs=close.get(name, 2e-6)), name
    for class_id, finding in enumerate(films.class_names):
        for name, values in slow["each"].items():
            assert result.scores.per_class[finding][name].mean == pytest.approx(values[class_id], abs=close[name]), name
    brier, ece = slow_reliability(slow["seen"], result.calibration.before.temperature)
    assert result.calibration.before.brier.mean == pytest.approx(brier, abs=1e-6)
    assert result.calibration.before.ece.mean == pytest.approx(ece, abs=1e-6)
    assert sum(share for share, _, _ in result.calibration.before.bins) == pytest.approx(1)


def test_open_set_equals_scikit_learn_and_risk_a_slow_loop():
    films = make_films(n_classes=4)
    plan = plan_episodes(films, n_way=2, n_shot=6, n_query=4, n_episodes=25, seed=1)
    result = evaluate_plan(films, plan, patient_interval=False, device="cpu")
    temperature, result = result.calibration.before.temperature, result.open_set
    found = {name: [] for name in result.scores}
    curves, areas = [], []
    for one in slow_episodes(films, plan.episodes):
        exemplars = films.vectors[np.concatenate(one.support)].astype(float)
        rows = np.concatenate([one.rows, one.outside_rows])
        to_exemplars = np.sort(np.linalg.norm(films.vectors[rows][:, None] - exemplars, axis=2), axis=1)
        asked = (one.probabilities(temperature, of_outside=is_outside) for is_outside in (False, True))
        sure = np.concatenate(list(asked)).max(axis=1)
        scores = {
            "maximum_probability": sure,
            "distance": -np.concatenate([one.distances, one.outside]).min(axis=1),
            "knn": -to_exemplars[:, :5].mean(axis=1),
        }
        is_known = np.arange(len(rows)) < len(one.rows)
        for name, score in scores.items():
            fpr, tpr, _ = metrics.roc_curve(is_known, score, drop_intermediate=False)
            found[name].append((metrics.roc_auc_score(is_known, score), fpr[np.argmax(tpr >= 0.95)]))
        wrong = np.concatenate([1 - one.right, np.ones(len(one.outside))])[np.argsort(-sure, kind="stable")]
        areas.append(np.mean(np.cumsum(wrong) / np.arange(1, len(wrong) + 1)))
        kept = [int(np.ceil(step / 20 * len(wrong) - 1e-9)) for step in range(1, 21)]
        curves.append([wrong[:n].mean() for n in kept])
    for name, rows in found.items():
        assert result.scores[name]["auroc"].mean == pytest.approx(np.mean(rows, axis=0)[0], abs=1e-6), name
        assert result.scores[name]["fpr_at_95_tpr"].mean == pytest.approx(np.mean(rows, axis=0)[1], abs=1e-6), name
    np.testing.assert_allclose([risk for _, risk in result.risk_coverage], np.mean(curves, axis=0), atol=1e-6)
    assert result.area.mean == pytest.approx(np.mean(areas), abs=1e-6)
    assert result.findings == films.class_names


def test_a_finding_may_have_the_name_of_what_a_result_holds():
    names = ("open_set", "calibration", "seen_and_novel", "accuracy")
    films = change(make_films(n_classes=4), class_names=names)
    result = evaluate_episodes(films, protocol="generalized", novel=names[:1], seen=names[1:], **FEW)
    assert {*names} == {*result.scores.per_class}
    assert {f"sensitivity of {name}" for name in names} <= {*result.replicates.batches}
    assert {*result.episodes.seen_and_novel} == {"seen", "novel", "harmonic_mean"}
    assert evaluate_episodes(films, n_way=3, **FEW).open_set.findings


def test_unknown_findings_are_asked_and_what_is_known_stays():
    films = make_films(n_classes=4)
    result = evaluate_episodes(films, unknown=["finding 3"], **FEW)
    assert result.open_set.findings == ("finding 3",)
    assert result.open_set_reason is None
    assert "finding 3" not in result.scores.per_class
    closed = evaluate_episodes(films, **FEW)
    assert closed.open_set is None
    assert closed.open_set_reason.startswith("no finding is left outside the episodes")


def test_films_outside_do_not_move_the_answers_of_a_transductive_rule():
    films = make_films(n_classes=4)
    keep = np.flatnonzero(films.class_ids < 3)
    without = change(films, keep, class_names=films.class_names)
    some, all_known = (
        evaluate_episodes(these, unknown=unknown, rule="bd_cspn", patient_interval=False, **FEW)
        for these, unknown in ((films, ["finding 3"]), (without, []))
    )
    assert some.accuracy == all_known.accuracy
    assert some.is_transductive
    words = "transductive: the rule saw all queries of an episode at once; one film alone is scored otherwise"
    assert some.warnings[0] == words
    assert some.distance == "cosine"


def test_accuracy_has_students_interval_over_episodes():
    films = make_films()
    plan = plan_episodes(films, n_shot=2, n_query=3, n_episodes=40, seed=3)
    result = evaluate_plan(films, plan, patient_interval=False, device="cpu")
    each = [one.right.mean() for one in slow_episodes(films, plan.episodes)]
    expected = stats.t.interval(0.95, len(each) - 1, np.mean(each), stats.sem(each))
    assert result.accuracy.ci95_episodes == pytest.approx(expected, abs=1e-7)


def test_the_interval_over_episodes_is_that_of_a_bootstrap():
    films = make_films(n_mixed=5)
    plan = plan_episodes(films, n_way=2, n_shot=2, n_query=3, n_episodes=400, seed=3)
    result = evaluate_plan(films, plan, patient_interval=False, device="cpu")
    tables = []
    for one in slow_episodes(films, plan.episodes):
        table = np.zeros((3, 3))
        table[np.ix_(one.class_ids, one.class_ids)] = [one.credits[one.labels == way].sum(axis=0) for way in (0, 1)]
        tables.append(table)
    draw = np.random.default_rng(0)
    found = []
    for _ in range(1500):
        table = np.sum(np.array(tables)[draw.integers(0, 400, 400)], axis=0)
        right, true, decided, total = table.diagonal(), table.sum(axis=1), table.sum(axis=0), table.sum()
        squares = (total**2 - (true**2).sum()) * (total**2 - (decided**2).sum())
        mcc = (total * right.sum() - true @ decided) / np.sqrt(squares)
        found.append([np.mean(2 * right / (true + decided)), mcc, right[1] / decided[1]])
    chosen = result.scores.macro_f1, result.scores.mcc, result.scores.per_class["finding 1"]["ppv"]
    for estimate, errors in zip(chosen, np.std(found, axis=0), strict=True):
        low, high = estimate.ci95_episodes
        assert (high - low) / 2 / stats.t.ppf(0.975, 399) == pytest.approx(errors, rel=0.1)


def test_seen_novel_and_their_harmonic_mean():
    films = make_films(n_classes=4)
    names = {"seen": ["finding 0", "finding 1", "finding 2"], "novel": ["finding 3"]}
    result = evaluate_episodes(films, protocol="generalized", **names, **FEW)
    table = np.array(result.confusion)
    seen, novel = table[:3].diagonal().sum() / table[:3].sum(), table[3, 3] / table[3].sum()
    found = {name: one.mean for name, one in result.asked.seen_and_novel.items()}
    assert found == pytest.approx({"seen": seen, "novel": novel, "harmonic_mean": 2 * seen * novel / (seen + novel)})
    assert evaluate_episodes(films, **FEW).asked.seen_and_novel == {}


def perfect(n_patients=30, **made):
    films = make_films(n_patients, **made)
    return change(films, vectors=10 * np.eye(3)[films.class_ids] + 0.01 * films.vectors[:, :3])


def test_nothing_wrong_leaves_the_population_below_one():
    result = evaluate_episodes(perfect(), **FEW)
    for estimate in (result.accuracy, result.scores.mcc, result.scores.kappa, result.scores.auroc):
        assert estimate.mean == 1
        assert 0.8 < estimate.ci95_patients[0] < 1
        assert estimate.ci95_patients[1] == 1
        assert estimate.ci95_episodes == (1, 1)
    assert result.scores.per_class["finding 0"]["sensitivity"].ci95_patients[0] < result.accuracy.ci95_patients[0]


def never_taken():
    """Return films of which those of finding 0 lie so far apart that finding 1 is always nearer."""
    films = make_films(n_classes=2, films_of_patient=(1,))
    scattered = np.random.default_rng(0).normal(size=(len(films), 40)) * 100
    return change(films, vectors=np.where(films.class_ids[:, None] == 0, scattered, 0.001 * scattered))


def test_all_wrong_leaves_the_population_above_zero():
    lost = evaluate_episodes(never_taken(), **FEW).scores.per_class["finding 0"]["sensitivity"]
    assert lost.mean == 0
    assert lost.ci95_patients[0] == 0
    assert 0.02 < lost.ci95_patients[1] < 0.4


def test_films_that_cannot_be_told_apart_score_chance():
    films = make_films()
    vectors = np.ones((len(films), 3))
    vectors[0] = 2
    result = evaluate_episodes(change(films, vectors=vectors), rule="nearest", **FEW)
    assert result.accuracy.mean == pytest.approx(1 / 3, abs=0.01)
    assert result.scores.auroc.mean == pytest.approx(1 / 2, abs=0.01)
    assert np.array(result.confusion).sum(axis=1) == pytest.approx([90, 90, 90])


def test_a_finding_never_taken_has_no_ppv_and_says_why():
    result = evaluate_episodes(never_taken(), **FEW)
    ppv = result.scores.per_class["finding 0"]["ppv"]
    assert ppv.mean is None
    assert ppv.reason == "undefined: no query has the finding, or none was taken for it"
    with pytest.raises(ValueError, match="the number is undefined: undefined: no query"):
        ppv.value  # noqa: B018  # the property raises
    assert result.scores.macro_f1.mean is not None
    json.dumps(result.to_json(), allow_nan=False)


@pytest.mark.parametrize("n_episodes", [1, 2])
def test_one_episode_gives_no_interval_and_two_do(n_episodes):
    result = evaluate_episodes(make_films(), **{**FEW, "n_episodes": n_episodes})
    assert (result.accuracy.ci95_episodes is None) == (n_episodes == 1)
    assert (result.accuracy.reason == "one episode gives no interval") == (n_episodes == 1)
    json.dumps(result.to_json(), allow_nan=False)


def test_few_patients_ask_fewer_queries_for_the_interval_or_have_none():
    exact = evaluate_fast(make_films(5))
    assert exact.notes[-1].startswith(
        "for the interval over patients each episode asks 1 film per finding instead of 3"
    )
    assert exact.accuracy.ci95 is not None
    assert exact.warnings[0] == (
        "few patients (finding 0 5, finding 1 5, finding 2 5): the interval over patients is itself uncertain"
    )
    none = evaluate_episodes(make_films(3), **{**FEW, "n_query": 1})
    assert none.accuracy.ci95 is None
    assert "nearly every episode holds them all: more patients are needed, or fewer shots" in none.accuracy.reason
    assert none.replicates.influence == {}
    assert none.asked.n_patient_episodes == 0
    two_more = evaluate_episodes(make_films(7), **FEW)
    assert two_more.accuracy.ci95 is not None


def test_fewer_queries_for_the_interval_do_not_narrow_it():
    # Where no query but these few is asked, the interval must be what it is with them, within chance.
    films = make_films(12, films_of_patient=(1,))
    short, whole = (evaluate_episodes(films, n_shot=3, n_query=n, n_episodes=3000, device="cpu") for n in (4, 9))
    assert not any("asks" in note for note in short.notes)
    assert any("asks" in note for note in whole.notes)
    for name in ("accuracy", "macro_f1", "mcc", "auroc"):
        widths = [np.diff(getattr(one.scores, name).ci95_patients)[0] for one in (short, whole)]
        assert widths[1] / widths[0] == pytest.approx(1, abs=0.2), name
    widths = [np.diff(one.calibration.before.brier.ci95_patients)[0] for one in (short, whole)]
    assert widths[1] / widths[0] == pytest.approx(1, abs=0.2)


def test_policies_that_follow_the_queries_keep_them_in_the_interval():
    films = make_films(30)
    keep = [row for row in range(len(films)) if films.class_ids[row] < 2 or films.patient_ids[row] % 30 < 7]
    asked = {"n_shot": 3, "n_query": 40, "n_episodes": 20, "device": "cpu", "if_too_small": "skip_class"}
    result = evaluate_episodes(change(films, keep), **asked)
    assert result.asked.n_way == 2
    assert not any("asks" in note for note in result.notes)
    assert result.accuracy.ci95 is None


def test_many_findings_and_many_patients():
    films = make_films(8, n_classes=40, dim=40, spread=3)
    result = evaluate_fast(films, n_way=5, n_patient_episodes=3000)
    table = np.array(result.confusion)
    assert result.accuracy.mean == pytest.approx(table.diagonal().sum() / table.sum())
    assert result.accuracy.ci95 is not None
    assert result.scores.mcc.mean is not None
    assert result.scores.mcc.reason == "more findings than an interval is kept for"
    assert result.open_set.scores["knn"]["auroc"].ci95 is not None
    assert len(result.scores.per_class) == 40
    json.dumps(result.to_json(), allow_nan=False)
    many = evaluate_fast(make_films(400))
    assert many.n_patients == 1200
    assert len(many.replicates.influence["accuracy"][0]) == 100


def test_wide_and_narrow_keep_the_same_numbers(monkeypatch):
    films = make_films(n_classes=4)
    narrow = evaluate_fast(films, n_way=3)
    monkeypatch.setattr("fewshot_cxr.evaluation.episodic.evaluate.MOST_FINDINGS", 2)
    wide = evaluate_fast(films, n_way=3)
    assert wide.accuracy.ci95_episodes == pytest.approx(narrow.accuracy.ci95_episodes)
    assert wide.accuracy.ci95_patients == pytest.approx(narrow.accuracy.ci95_patients)
    assert wide.confusion == narrow.confusion
    assert wide.scores.mcc.mean == pytest.approx(narrow.scores.mcc.mean)
    assert wide.calibration.before == narrow.calibration.before


def test_memory_does_not_grow_with_the_episodes():
    films = make_films(dim=2)

    def peak(n_episodes):
        tracemalloc.start()
        evaluate_episodes(films, n_shot=1, n_query=1, n_episodes=n_episodes, patient_interval=False, device="cpu")
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(5000)
    assert peak(40_000) < 1.5 * peak(5000)


def test_floors_meet_the_same_episodes_and_the_gap_is_paired():
    films = make_films()
    noise = change(films, vectors=np.random.default_rng(1).normal(size=(len(films), 3)))
    result = evaluate_episodes(films, baselines={"noise": noise, "itself": films}, rule="prototype", **FEW)
    alone = evaluate_episodes(noise, rule="prototype", **FEW)
    assert result.baselines["noise"].mean == pytest.approx(alone.accuracy.mean)
    assert result.baselines["noise"].ci95 == pytest.approx(alone.accuracy.ci95)
    gap = result.above_baselines["noise"]
    assert gap.mean == pytest.approx(result.accuracy.mean - alone.accuracy.mean)
    assert result.above_baselines["itself"].mean == pytest.approx(0, abs=1e-12)
    assert result.above_baselines["itself"].ci95 == pytest.approx((0, 0), abs=1e-6)
    assert result.warnings[-1].startswith(
        "accuracy is not shown to be above what itself alone would reach (+0.0 points"
    )
    assert set(evaluate_episodes(films, baselines=noise, **FEW).baselines) == {"pixels"}


def test_one_sided_films_replay_and_folds_round_trip():
    films = make_films(n_classes=4, sources=None)
    sourced = change(films, sources=["A" if row % 2 else "B" for row in range(len(films))])
    results = [
        evaluate_episodes(sourced, protocol="cross_source", support_source="A", **FEW),
        evaluate_episodes(films, protocol="fixed_support", n_folds=3, unknown=["finding 3"], device="cpu"),
        evaluate_episodes(films, n_way=2, calibrate=make_films(seed=9), baselines=films, **FEW),
        evaluate_episodes(films, protocol="generalized", novel=["finding 3"], seen=films.class_names[:3], **FEW),
        evaluate_episodes(films, n_shot=dict.fromkeys(films.class_names, 3), n_query=2, n_episodes=5, device="cpu"),
        evaluate_episodes(films, allow_patient_overlap=True, patient_interval=False, **FEW),
    ]
    for result in results:
        plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
        assert Result.from_json(plain) == result
        assert json.loads(json.dumps(Result.from_json(plain).to_json())) == plain
    assert results[0].notes[0] == "support films are of A, query films of B"
    assert results[1].accuracy.ci95 is not None
    assert results[1].open_set.findings == ("finding 3",)
    assert results[5].warnings[0].startswith("PATIENT OVERLAP ALLOWED")


def test_replayed_episodes_give_the_drawn_result(tmp_path):
    films = make_films()
    plan = plan_episodes(films, n_way=2, n_shot=2, n_query=3, n_episodes=300)
    save_episodes(plan.episodes, films, tmp_path / "episodes.safetensors")
    order = np.random.default_rng(1).permutation(len(films))
    moved = change(films, order)
    saved = Plan("closed", SavedEpisodes.load(tmp_path / "episodes.safetensors", moved), notes=plan.notes)
    calls = []
    drawn = evaluate_plan(films, plan, n_patient_episodes=300, device="cpu")
    replayed = evaluate_plan(moved, saved, n_patient_episodes=100, device="cpu", progress=lambda *c: calls.append(c))
    assert replayed.scores.accuracy.ci95_episodes == pytest.approx(drawn.scores.accuracy.ci95_episodes)
    assert replayed.confusion == drawn.confusion
    assert replayed.asked.episodes_hash == drawn.asked.episodes_hash
    assert replayed.data_hash == drawn.data_hash
    assert replayed.asked.n_patient_episodes == 100  # the interval over patients has its own number of episodes
    assert calls[-1] == (400, 400)
    whole = evaluate_plan(moved, saved, n_patient_episodes=300, device="cpu")
    assert whole.accuracy.ci95_patients == pytest.approx(drawn.accuracy.ci95_patients)


def test_the_interval_over_patients_can_be_left_out_and_progress_ends_at_the_end():
    calls = []
    result = evaluate_episodes(make_films(), patient_interval=False, progress=lambda *c: calls.append(c), **FEW)
    assert calls[-1] == (30, 30)
    assert result.accuracy.ci95 is None
    assert result.accuracy.reason == "the interval over patients was not asked for"
    assert result.accuracy.ci95_episodes is not None
    calls.clear()
    result = evaluate_episodes(make_films(), progress=lambda *c: calls.append(c), **FEW)
    assert calls[-1] == (30 + result.asked.n_patient_episodes,) * 2
    assert {"episodes", "draw", "distances", "metrics", "sums", "patients"} <= result.asked.seconds.keys()
    assert result.asked.episodes_per_second == pytest.approx(30 / result.asked.seconds["episodes"])
    calls.clear()
    evaluate_episodes(make_films(3), progress=lambda *c: calls.append(c), **{**FEW, "n_query": 1})
    assert calls[-1] == (30, 30)


def test_findings_that_stand_alone_in_their_source_are_told():
    films = make_films(sources=None)
    sources = [("A", "B", "B")[class_id] for class_id in films.class_ids]
    result = evaluate_episodes(change(films, sources=sources), patient_interval=False, **FEW)
    n_patients = len(set(zip(films.patient_ids.tolist(), films.class_ids.tolist(), strict=True)))
    assert result.warnings == (
        f"finding and source are confounded: finding 0 only from A, Cramer's V 0.99 over {n_patients} patients, of "
        "which 0.3 is much; a high accuracy may tell sources apart, not findings",
    )


def test_a_caller_in_inference_mode_gets_the_same_intervals():
    films = make_films(seed=0)
    outside = evaluate_fast(films)
    with torch.inference_mode():
        inside = evaluate_fast(films)
    assert inside.scores == outside.scores


def test_wrong_use_is_refused():
    films = make_films()
    with pytest.raises(ValueError, match=r"unknown rule 'prototypes' \(did you mean 'prototype'\?\)"):
        evaluate_episodes(films, rule="prototypes")
    with pytest.raises(ValueError, match="unknown distance 'cosin'"):
        evaluate_episodes(films, distance="cosin")
    with pytest.raises(ValueError, match="unknown protocol 'close'"):
        evaluate_episodes(films, protocol="close")
    with pytest.raises(ValueError, match="n_way is 4, but only 3 findings"):
        evaluate_episodes(films, n_way=4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_shots'"):
        evaluate_episodes(films, n_shots=3)
    with pytest.raises(ValueError, match="device 'gpu' is not one of"):
        evaluate_episodes(films, device="gpu")
    with pytest.raises(ValueError, match="baseline 'pixels' must hold the same films in the same order as embeddings"):
        evaluate_episodes(films, baselines=make_films(seed=1))
    with pytest.raises(
        ValueError, match="the plan is for films of finding 0, finding 1, finding 2, finding 3, the emb"
    ):
        evaluate_plan(films, plan_episodes(make_films(n_classes=4)))
    with pytest.raises(ValueError, match=r"n_patient_episodes must be (at least 100|100 or more)"):
        evaluate_plan(films, plan_episodes(films), n_patient_episodes=10)


def test_films_that_are_all_the_same_or_no_number_are_refused():
    films = make_films()
    with pytest.raises(ValueError, match=r"row 0 \(0/0.png\) and every other row .* one and the same vector"):
        evaluate_episodes(change(films, vectors=np.ones((len(films), 4))))
    vectors = films.vectors.copy()
    vectors[7, 1] = np.nan
    with pytest.raises(ValueError, match="row 7 of vectors is not finite"):
        Embeddings(vectors, films.class_ids, films.patient_ids)


def test_vectors_that_cannot_be_written_to_serve():
    films = make_films()
    vectors = films.vectors.copy()
    vectors.setflags(write=False)
    frozen = change(films, vectors=vectors)
    assert not frozen.vectors.flags.writeable
    assert evaluate_episodes(frozen, **FEW).accuracy == evaluate_episodes(films, **FEW).accuracy


@pytest.mark.gpu
@pytest.mark.parametrize("asked", [{}, {"n_way": 2}, {"unknown": ["finding 3"], "rule": "bd_cspn"}])
def test_cuda_gives_the_same_answers(asked):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    films = make_films(n_classes=4)
    here, there = (
        evaluate_episodes(films, baselines=films, n_shot=3, n_query=5, n_episodes=200, device=device, **asked)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there.confusion, here.confusion, atol=1)
    for name in ("accuracy", "macro_f1", "auroc", "auprc"):
        first, second = getattr(here.scores, name), getattr(there.scores, name)
        assert second.mean == pytest.approx(first.mean, abs=2e-3)
        assert second.ci95_patients == pytest.approx(first.ci95_patients, abs=5e-3)
    assert there.asked.episodes_hash == here.asked.episodes_hash


def test_what_was_drawn_and_what_is_replayed_have_the_same_interval(tmp_path):
    films = make_films(5, n_classes=4)
    for asked in ({"n_way": 3, "n_shot": 2, "n_query": 3, "n_episodes": 40}, {"protocol": "fixed_support"}):
        plan = plan_episodes(films, **asked)
        save_episodes(plan.episodes, films, tmp_path / "e.safetensors")
        again = replace(plan, episodes=SavedEpisodes.load(tmp_path / "e.safetensors", films))
        drawn, replayed = (evaluate_plan(films, one, n_patient_episodes=400, device="cpu") for one in (plan, again))
        assert replayed.accuracy.ci95 == drawn.accuracy.ci95 is not None
        assert replayed.replicates == drawn.replicates
        assert replayed.notes == drawn.notes


def test_a_plan_of_other_films_is_refused():
    films = make_films(6)
    plan = plan_episodes(films, n_shot=2, n_query=3)
    turned = change(films, order=np.arange(len(films))[::-1])
    with pytest.raises(ValueError, match="drawn from other films than these embeddings; plan them on these"):
        evaluate_plan(turned, plan)
    with pytest.raises(TypeError, match="plan must be a Plan of plan_episodes, got Episodes"):
        evaluate_plan(films, plan.episodes)
    with pytest.raises(ValueError, match="a baseline has no name; name each, such as pixels"):
        evaluate_plan(films, plan, baselines={"": films})
    bare = replace(films, paths=None)
    again = plan_episodes(bare, n_shot=2, n_query=3)
    with pytest.raises(ValueError, match="films of the calibration are in the test"):
        evaluate_plan(bare, again, calibrate=films)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_auroc_of_two_findings_does_not_depend_on_the_scale(scale):
    films = make_films(20, n_classes=2)
    asked = {"rule": "prototype", "distance": "squared_euclidean", "patient_interval": False, **FEW}
    expected = evaluate_episodes(films, **asked).scores.auroc.mean
    scaled = evaluate_episodes(replace(films, vectors=films.vectors * scale), **asked).scores.auroc.mean
    assert scaled == pytest.approx(expected, abs=1e-6)


def test_even_rules_warn_of_natural_prevalence():
    films = make_films(20)
    asked = {"rule": "pt_map", "patient_interval": False, "n_episodes": 3, "n_query": 4, "n_shot": 2}
    words = "pt_map expects as many queries of each finding, which these episodes do not have"
    assert words in evaluate_episodes(films, prevalence="natural", **asked).warnings
    assert words not in evaluate_episodes(films, **asked).warnings


def test_embeddings_are_compared_by_the_distance_of_their_training_unless_another_is_named():
    films = make_films(seed=3)
    vectors = films.vectors * np.random.default_rng(0).uniform(0.2, 5, (len(films), 1))
    films = change(films, vectors=vectors)
    trained = change(films, distance="cosine")
    accuracy = {
        name: evaluate_episodes(films, distance=name, patient_interval=False, **FEW).accuracy.mean
        for name in ("cosine", "euclidean")
    }
    assert accuracy["cosine"] != accuracy["euclidean"]
    assert evaluate_episodes(trained, patient_interval=False, **FEW).accuracy.mean == accuracy["cosine"]
    assert evaluate_episodes(films, patient_interval=False, **FEW).accuracy.mean == accuracy["euclidean"]
    named = evaluate_episodes(trained, distance="euclidean", patient_interval=False, **FEW)
    assert named.accuracy.mean == accuracy["euclidean"]


def test_every_keyword_of_the_protocol_stands_in_the_signature():
    signature = inspect.signature(evaluate_episodes)
    planned = set(inspect.signature(plan_episodes).parameters) - {"films"}
    assert planned <= set(signature.parameters)
    assert not [item for item in signature.parameters.values() if item.kind is item.VAR_KEYWORD]
    defaults = {name: item.default for name, item in inspect.signature(plan_episodes).parameters.items()}
    assert all(signature.parameters[name].default == defaults[name] for name in planned)
    assert all(f"\n    {name}: " in inspect.getdoc(evaluate_episodes) for name in signature.parameters)
