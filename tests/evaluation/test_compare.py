import json
from dataclasses import replace

import numpy as np
import pytest
from made_results import changed
from scipy import stats

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import evaluate_episodes
from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.compare import compare_results
from fewshot_cxr.evaluation.comparison import Comparison
from fewshot_cxr.evaluation.films import evaluate_closed_set
from fewshot_cxr.evaluation.result import result_from_json
from fewshot_cxr.metrics import delong, mcnemar

N_FINDINGS = 3


def make_result(seed=0, *, n=120, n_patients=50, strength=1.2, world=0, **more):
    """Two seeds of one world are two classifiers of equal worth on the same films."""
    films, noise = np.random.default_rng([world, 1]), np.random.default_rng([world, 2, seed])
    true_ids = np.concatenate([np.arange(N_FINDINGS), films.integers(0, N_FINDINGS, n - N_FINDINGS)])
    patients = films.integers(0, n_patients, n)
    hard = films.normal(size=(n, N_FINDINGS)) + films.normal(size=(n_patients, N_FINDINGS))[patients]
    scores = hard + noise.normal(size=(n, N_FINDINGS)) + strength * np.eye(N_FINDINGS)[true_ids]
    values = {
        "findings": ("a", "b", "c"),
        "truth": true_ids,
        "probabilities": np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True),
        "paths": tuple(f"{row:04d}.png" for row in range(n)),
        "patient_ids": patients,
    }
    return evaluate_closed_set(Answers(**values | more))


def rows_of(comparison, test="paired jackknife"):
    return {row.number: row for row in comparison.rows if row.test == test}


def test_a_mean_over_findings_of_which_one_has_one_patient_has_no_p_value():
    lone = {"truth": np.array([2] * 10 + [0, 1] * 55), "patient_ids": np.array([0] * 10 + list(range(1, 111)))}
    rows = rows_of(compare_results(make_result(0, **lone), make_result(1, **lone)))
    for name in ("balanced_accuracy", "macro_f1"):
        assert (rows[name].ci95, rows[name].p_value) == (None, None)
        assert rows[name].reason == "one patient only has c: no interval of a mean over findings"
    assert rows["accuracy"].ci95 is not None


def test_closed_set_differences_are_a_slow_paired_jackknife():
    first, second = make_result(0, strength=2), make_result(1)
    rows = rows_of(compare_results(first, second))
    assert list(rows) == ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "brier"]
    patients = sorted(set(first.answers.patient_ids.tolist()))

    def number(result, name, left_out):
        old = result.answers
        kept = np.flatnonzero(old.patient_ids != left_out)
        some = Answers(
            findings=old.findings,
            truth=old.true_ids[kept],
            probabilities=old.probabilities[kept],
            paths=tuple(old.paths[row] for row in kept),
        )
        again = evaluate_closed_set(some)
        return (again.calibration.before.brier if name == "brier" else getattr(again.scores, name)).value

    for name in ("macro_f1", "brier"):
        gaps = np.array([number(first, name, patient) - number(second, name, patient) for patient in patients])
        variance = (len(gaps) - 1) / len(gaps) * ((gaps - gaps.mean()) ** 2).sum()
        gap = number(first, name, None) - number(second, name, None)
        assert rows[name].difference == pytest.approx(gap)
        half = stats.t.ppf(0.975, len(gaps) - 1) * variance**0.5
        assert rows[name].ci95 == pytest.approx((gap - half, gap + half))
        assert rows[name].p_value == pytest.approx(2 * stats.t.sf(abs(gap) / variance**0.5, len(gaps) - 1))


def test_mcnemar_and_delong_stand_beside_with_and_without_patients():
    first, second = make_result(0, strength=2), make_result(1)
    comparison = compare_results(first, second)
    one, other = first.answers, second.answers
    right = [some.probabilities.argmax(axis=1) == some.true_ids for some in (one, other)]
    plain = rows_of(comparison, "McNemar by films")["share right"]
    assert plain.p_value == mcnemar(*right).p_value
    assert plain.difference == pytest.approx(right[0].mean() - right[1].mean())
    clustered = rows_of(comparison, "McNemar by patients")["share right"]
    assert clustered.p_value == mcnemar(*right, clusters=one.patient_ids).p_value
    for clusters, test in ((None, "DeLong by films"), (one.patient_ids, "DeLong by patients")):
        rows = rows_of(comparison, test)
        for index, finding in enumerate("abc"):
            scores = one.probabilities[:, index], other.probabilities[:, index]
            found = delong(*scores, one.true_ids == index, clusters=clusters)
            assert rows[f"auroc of {finding}"].p_value == pytest.approx(found.p_value)
            assert rows[f"auroc of {finding}"].ci95 == pytest.approx(found.ci95)
    n_tests = len(comparison.rows)
    assert comparison.notes == (
        f"{n_tests} comparisons; the p-values are not adjusted for being several",
        "tests by films take films of one patient for independent; quote those by patients",
    )


def test_films_of_a_patient_each_are_tested_once():
    results = [make_result(seed, patient_ids=np.arange(120)) for seed in (0, 1)]
    assert [row.test for row in compare_results(*results).rows[5:]] == ["McNemar", "DeLong", "DeLong", "DeLong"]


def test_the_same_result_twice_differs_by_nothing():
    result = make_result()
    for row in compare_results(result, result).rows:
        assert (row.difference, row.p_value) == (0, 1)
        assert row.ci95 in ((0, 0), None)


def test_the_order_of_the_two_turns_the_sign_alone():
    first, second = make_result(0), make_result(1)
    there, back = compare_results(first, second), compare_results(second, first)
    for row, turned in zip(there.rows, back.rows, strict=True):
        assert (turned.difference, turned.p_value) == pytest.approx((-row.difference, row.p_value))


def test_decisions_alone_are_compared_without_probabilities():
    hard = [
        make_result(probabilities=np.eye(3)[draw.integers(0, 3, 120)], has_probabilities=False)
        for draw in (np.random.default_rng(seed) for seed in (0, 1))
    ]
    assert [row.number for row in compare_results(*hard).rows][:3] == ["accuracy", "balanced_accuracy", "macro_f1"]
    assert {row.number for row in compare_results(hard[0], make_result()).rows} == {
        "accuracy", "balanced_accuracy", "macro_f1", "share right"
    }  # fmt: skip


@pytest.mark.slow
def test_equal_classifiers_seldom_differ():
    """Films of one patient go together, which the interval over patients allows for."""
    rows = [rows_of(compare_results(*(make_result(s, world=w, n_patients=30) for s in (0, 1)))) for w in range(300)]
    for number in ("accuracy", "auroc"):
        p_values = np.array([some[number].p_value for some in rows])
        assert stats.kstest(p_values, "uniform").pvalue > 0.001
        assert (p_values < 0.05).mean() < 0.09


def make_films(seed=0, strength=1.5, n=160, world=0):
    draw, noise = np.random.default_rng([world, 1]), np.random.default_rng([world, 2, seed])
    class_ids = np.arange(n) % N_FINDINGS
    vectors = draw.normal(size=(n, 5)) + strength * np.eye(5)[class_ids] + noise.normal(size=(n, 5))
    return Embeddings(
        vectors,
        class_ids,
        draw.integers(0, n // 2, n),
        class_names=list("abc"),
        paths=[f"{row}.png" for row in range(n)],
    )


@pytest.fixture(scope="module")
def episodic():
    return [
        evaluate_episodes(make_films(seed, strength), n_shot=3, n_query=4, n_episodes=300)
        for seed, strength in ((0, 1.0), (1, 2.0))
    ]


def test_episodes_are_compared_by_products_of_parts(episodic):
    first, second = episodic
    comparison = compare_results(first, second, names=("plain", "better"))
    row = rows_of(comparison)["accuracy"]
    assert row.difference == pytest.approx(first.accuracy.value - second.accuracy.value)
    one, other = first.replicates, second.replicates
    gaps = np.array(one.influence["accuracy"]) - np.array(other.influence["accuracy"])
    n_parts, n = len(gaps), one.n_patients
    products = sum(gaps[k] @ gaps[m] for k in range(n_parts) for m in range(n_parts) if k != m)
    over_patients = max(0, (n - 1) / n * products / (n_parts * (n_parts - 1)))
    shares = np.array(one.batches["accuracy"]) - np.array(other.batches["accuracy"])
    variance = over_patients + shares.var(ddof=1) / len(shares)
    half = stats.t.ppf(0.975, one.degrees) * variance**0.5
    assert row.ci95 == pytest.approx((row.difference - half, row.difference + half))
    assert row.p_value == pytest.approx(2 * stats.t.sf(abs(row.difference) / variance**0.5, one.degrees))
    assert row.p_value < 0.01
    assert comparison.common_hash == first.asked.episodes_hash
    assert {"sensitivity of a", "auroc of b", "brier"} <= rows_of(comparison).keys()


def test_the_same_episodes_twice_differ_by_nothing(episodic):
    for row in compare_results(episodic[0], result_from_json(json.loads(json.dumps(episodic[0].to_json())))).rows:
        assert (row.difference, row.ci95, row.p_value) == (0, (0, 0), 1)


def test_replicates_of_other_shapes_are_not_compared(episodic):
    first, _ = episodic
    moved = {name: shares[:-1] for name, shares in first.replicates.batches.items()}
    other = replace(first, replicates=replace(first.replicates, batches=moved))
    with pytest.raises(ValueError, match="compare: A has replicates of another shape than B; run both anew"):
        compare_results(first, other)


def test_without_replicates_the_interval_is_over_episodes_and_a_warning_says_so(episodic):
    kept = replace(episodic[1].replicates, influence={})
    over_episodes = compare_results(episodic[0], replace(episodic[1], replicates=kept))
    row = over_episodes.rows[0]
    assert row.test == "paired over episodes"
    assert "does not cover other patients" in row.reason
    shares = np.array(episodic[0].replicates.batches["accuracy"]) - np.array(kept.batches["accuracy"])
    half = stats.t.ppf(0.975, len(shares) - 1) * (shares.var(ddof=1) / len(shares)) ** 0.5
    assert row.ci95 == pytest.approx((row.difference - half, row.difference + half))
    assert "interval over episodes only" in over_episodes.warnings[0]


def test_other_episodes_films_and_kinds_are_refused(episodic):
    first, second = episodic
    moved = changed(second, episodes_hash="f" * 64)
    known = first.asked.episodes_hash
    words = (
        rf"compare: A.json was judged on other episodes than B.json \(hash {known[:12]} against f{{12}}\)"
        "; run both with --episodes-file FILE or the same seed and films"
    )
    with pytest.raises(ValueError, match=words):
        compare_results(first, moved, names=("A.json", "B.json"))
    with pytest.raises(ValueError, match="judged on other films than B"):
        compare_results(first, replace(second, data_hash="0"))
    with pytest.raises(ValueError, match="A knows other findings than B"):
        compare_results(first, replace(second, findings=("x", "y", "z")))
    other = compare_results(first, changed(second, protocol={**second.asked.protocol, "seen": ["a"]}))
    assert "the two encoders were trained on different findings" in other.notes
    with pytest.raises(ValueError, match="A knows other patients than B"):
        compare_results(first, replace(second, replicates=replace(second.replicates, units_hash="0")))
    with pytest.raises(
        ValueError, match="A is a result of episode-eval and B one of evaluate; compare two of one kind"
    ):
        compare_results(first, make_result())
    with pytest.raises(ValueError, match="A was judged on other films, findings or patients than B"):
        compare_results(make_result(), make_result(world=5))
    four = make_result(findings=("a", "b", "c", "d"), probabilities=np.full((120, 4), 0.25))
    with pytest.raises(ValueError, match="A decided between a, b, c and B between a, b, c, d"):
        compare_results(make_result(), four)


def test_json_rebuilds_comparison_and_results():
    results = make_result(0), make_result(1)
    plain = [json.loads(json.dumps(result.to_json(), allow_nan=False)) for result in results]
    comparison = compare_results(*(result_from_json(value) for value in plain), names=("x", "y"))
    assert comparison == compare_results(*results, names=("x", "y"))
    assert Comparison.from_json(json.loads(json.dumps(comparison.to_json(), allow_nan=False))) == comparison
    with pytest.raises(ValueError, match=r"no comparison of this version \(names missing\)"):
        Comparison.from_json({name: value for name, value in comparison.to_json().items() if name != "names"})
    for value in ([], {"kind": "embeddings"}):
        with pytest.raises(ValueError, match="this is no result of episode-eval or evaluate"):
            result_from_json(value)
    with pytest.raises(ValueError, match="this result is not whole: mcc is missing; run evaluate again"):
        result_from_json({name: value for name, value in plain[0].items() if name != "mcc"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": None}, "is not whole"),
        ({"accuracy": 0.9}, "is not whole"),
        ({"floor": []}, "is not whole"),
        ({"films": ["x"]}, "is not whole"),
        ({"data_hash": None}, "this result is not whole: data_hash is None, a text was expected; run evaluate again"),
        ({"data_hash": "00"}, "data_hash and n_films are not those of its films"),
        ({"accuracy": {"mean": 93.0, "ci95_episodes": None}}, "whole: accuracy is 93.0, a proportion 0..1"),
        ({"accuracy": {"mean": 0.5}}, "accuracy.ci95_episodes is missing"),
        ({"accuracy": {"mean": 1e400, "ci95_episodes": None}}, "accuracy.mean is inf, a number was expected"),
        ({"n_patients": 10**400}, "n_patients is a number beyond all counts, a whole number was expected"),
        ({"n_patients": True}, "n_patients is True, a whole number was expected"),
        ({"confusion": [[1, 2], [3]]}, "confusion must have 3 rows of 3 counts"),
        ({"findings": ["a", ["b"], "c"]}, r"findings\[1\] is a list of 1, a text was expected"),
        ({"notes": "x"}, "notes is 'x', a list was expected"),
        ({"calibration": {"ece": 1}}, "calibration.before.ece is 1, an object was expected"),
    ],
)
def test_a_result_that_no_evaluation_writes_is_refused(changes, message):
    plain = json.loads(json.dumps(make_result().to_json()))
    with pytest.raises(ValueError, match=message):
        result_from_json(plain | changes)


def test_names_are_two_and_results_are_results():
    result = make_result()
    for names in (("a",), ("a", "b", "c"), "ab"):
        with pytest.raises(ValueError, match="names must be two, one for each result"):
            compare_results(result, result, names=names)
    with pytest.raises(TypeError, match="compare: B is no result of episode-eval or evaluate, got NoneType"):
        compare_results(result, None)
