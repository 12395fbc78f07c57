import json

import numpy as np
import pytest
import torch
from made_results import CORRECTED, PUBLISHED
from scipy.special import log_softmax, logit, softmax
from sklearn import metrics as oracle

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation.answers import Answers, data_hash
from fewshot_cxr.evaluation.films import evaluate_closed_set
from fewshot_cxr.evaluation.films.decisions import decide_by_exemplars
from fewshot_cxr.evaluation.films.jackknife import jackknife_variance, ranking_without, sums_without
from fewshot_cxr.evaluation.films.numbers import FilmNumbers
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.inference import RULES
from fewshot_cxr.inference.rules import TRANSDUCTIVE
from fewshot_cxr.metrics import bounded_interval, margins

FINDINGS = ("covid19", "lung opacity", "normal", "pneumonia")


def from_matrix(confusion, findings=FINDINGS):
    pairs = [(t, p) for t, row in enumerate(confusion) for p, count in enumerate(row) for _ in range(count)]
    return Answers(
        findings=findings,
        truth=[t for t, _ in pairs],
        probabilities=np.eye(len(findings))[[p for _, p in pairs]],
        paths=tuple(f"{row:04d}.png" for row in range(len(pairs))),
        has_probabilities=False,
    )


def make_decisions(n=150, n_findings=3, n_patients=60, seed=0, strength=1.2, **more):
    draw = np.random.default_rng(seed)
    true_ids = np.concatenate([np.arange(n_findings), draw.integers(0, n_findings, n - n_findings)])
    scores = draw.normal(size=(n, n_findings)) + strength * np.eye(n_findings)[true_ids]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    values = {
        "findings": tuple("abcdefghijklmnop"[:n_findings]),
        "truth": true_ids,
        "probabilities": probabilities,
        "paths": tuple(f"{row:05d}.png" for row in range(n)),
        "patient_ids": draw.integers(0, n_patients, n),
    }
    return Answers(**values | more)


def without(decisions, patient):
    kept = np.flatnonzero(decisions.patient_ids != patient)
    return Answers(
        findings=decisions.findings,
        truth=decisions.true_ids[kept],
        probabilities=decisions.probabilities[kept],
        paths=tuple(decisions.paths[row] for row in kept),
        patient_ids=decisions.patient_ids[kept],
    )


@pytest.mark.parametrize("network", sorted(PUBLISHED))
def test_the_corrected_table_of_a_published_comparison(network):
    confusion, macro_f1 = PUBLISHED[network]
    decisions = from_matrix(confusion)
    result = evaluate_closed_set(decisions)
    assert result.confusion == tuple(tuple(map(float, row)) for row in confusion)
    total = sum(map(sum, confusion))
    for index, (finding, row) in enumerate(zip(FINDINGS, CORRECTED[network], strict=True)):
        numbers = result.scores.per_class[finding]
        found = [numbers[name].value for name in ("ppv", "sensitivity", "f1")]
        n_true, n_taken = sum(confusion[index]), sum(other[index] for other in confusion)
        found.append((total - n_true - n_taken + 2 * confusion[index][index]) / total)
        assert found == pytest.approx(row, abs=5e-5)
    assert result.scores.macro_f1.value == pytest.approx(macro_f1, abs=5e-4)
    # Nobody could have ranked the three: 229 and 230 of 240, within each other's interval.
    low, high = result.accuracy.ci95
    assert low < 229 / 240 < 230 / 240 < high


def test_numbers_are_those_of_scikit_learn():
    decisions = make_decisions()
    result = evaluate_closed_set(decisions)
    truth, answer, sure = decisions.true_ids, decisions.probabilities.argmax(axis=1), decisions.probabilities
    scores = result.scores
    expected = {
        "accuracy": oracle.accuracy_score(truth, answer),
        "balanced_accuracy": oracle.balanced_accuracy_score(truth, answer),
        "macro_f1": oracle.f1_score(truth, answer, average="macro"),
        "weighted_f1": oracle.f1_score(truth, answer, average="weighted"),
        "mcc": oracle.matthews_corrcoef(truth, answer),
        "kappa": oracle.cohen_kappa_score(truth, answer),
        "auroc": oracle.roc_auc_score(truth, sure, multi_class="ovr", average="macro"),
        "auprc": oracle.average_precision_score(np.eye(3)[truth], sure, average="macro"),
    }
    assert {name: getattr(scores, name).value for name in expected} == pytest.approx(expected)
    for index, finding in enumerate(decisions.findings):
        row = scores.per_class[finding]
        assert row["auroc"].value == pytest.approx(oracle.roc_auc_score(truth == index, sure[:, index]))
        assert row["auprc"].value == pytest.approx(oracle.average_precision_score(truth == index, sure[:, index]))
    assert result.calibration.before.brier.value == pytest.approx(((sure - np.eye(3)[truth]) ** 2).sum(axis=1).mean())
    assert np.array_equal(result.confusion, oracle.confusion_matrix(truth, answer))


def test_rounding_of_a_spread_is_another_than_that_of_counts():
    # A jackknife that differs in the tenth digit is no rounding, for its values are ratios of whole counts ...
    spread = np.array([0.5, 0.5 + 5e-11, 0.5 - 5e-11])
    assert jackknife_variance(spread) == pytest.approx(2.5e-21, rel=1e-4)
    assert jackknife_variance(np.array([0.5, 0.5 + 1e-13, 0.5])) == 0.0
    # ... and a tenth digit of a count is, for counts are sums of thirds.
    assert sums_without(np.array([1.0, 1e-10]))[1] == 0.0
    assert sums_without(np.array([1.0, 1e-8]))[1] > 0.0


def test_the_jackknife_is_a_slow_loop_over_patients():
    decisions = make_decisions(n=90, n_patients=25)
    found = FilmNumbers(decisions)
    units, numbers = found.units, found.numbers
    unit_of = dict(zip(decisions.patient_ids.tolist(), units.unit_of_row.tolist(), strict=True))
    assert units.n_units == len(unit_of)
    for patient, unit in unit_of.items():
        rest = without(decisions, patient)
        again = FilmNumbers(rest).numbers
        assert again.keys() == numbers.keys()
        for key, values in again.items():
            assert numbers[key][1 + unit] == pytest.approx(values[0]), key
    replicates = numbers["mcc",][1:]
    variance = (len(replicates) - 1) / len(replicates) * ((replicates - replicates.mean()) ** 2).sum()
    low, high = evaluate_closed_set(decisions).scores.mcc.ci95
    ends = bounded_interval(
        (1 + numbers["mcc",][0]) / 2, variance / 4, degrees=len(replicates) - 1, n_patients=len(replicates)
    )
    assert (low, high) == pytest.approx((2 * ends[0] - 1, 2 * ends[1] - 1))


def test_ranking_with_ties_is_that_of_scikit_learn():
    draw = np.random.default_rng(3)
    scores, positive = draw.integers(0, 6, 60).astype(float), draw.random(60) < 0.4
    units = FilmNumbers(make_decisions(n=60, n_patients=12)).units
    auroc, auprc = ranking_without(scores, positive, units)
    for unit in range(-1, units.n_units):
        kept = units.unit_of_row != unit
        assert auroc[1 + unit] == pytest.approx(oracle.roc_auc_score(positive[kept], scores[kept]))
        assert auprc[1 + unit] == pytest.approx(oracle.average_precision_score(positive[kept], scores[kept]))


def test_the_interval_is_that_of_patients_not_of_films():
    once = make_decisions(n=100, patient_ids=np.arange(100))
    twice = Answers(
        findings=once.findings,
        truth=np.tile(once.true_ids, 4),
        probabilities=np.tile(once.probabilities, (4, 1)),
        paths=tuple(f"{view}{path}" for view in "1234" for path in once.paths),
        patient_ids=np.tile(once.patient_ids, 4),
    )
    for name in ("accuracy", "auroc", "kappa"):
        one, four = (getattr(evaluate_closed_set(some).scores, name) for some in (once, twice))
        assert four.value == pytest.approx(one.value)
        assert four.ci95 == pytest.approx(one.ci95)


def test_many_patients_are_joined_to_200_units_and_the_interval_is_about_the_same():
    decisions = make_decisions(n=900, n_patients=10**9)
    result = evaluate_closed_set(decisions)
    assert (result.n_units, result.n_patients) == (200, 900)
    accuracy = result.accuracy.value
    width = result.accuracy.ci95[1] - result.accuracy.ci95[0]
    assert width == pytest.approx(2 * 1.96 * (accuracy * (1 - accuracy) / 900) ** 0.5, rel=0.15)


def test_row_order_patients_names_and_order_of_findings_change_no_number():
    decisions = make_decisions(n=700, n_patients=300)
    order = np.random.default_rng(1).permutation(700)
    columns = [2, 0, 1]
    moved = Answers(
        findings=tuple(decisions.findings[column] for column in columns),
        truth=np.argsort(columns)[decisions.true_ids[order]],
        probabilities=decisions.probabilities[order][:, columns],
        paths=tuple(decisions.paths[row] for row in order),
        patient_ids=10**6 - 7 * decisions.patient_ids[order],
    )
    assert evaluate_closed_set(moved) == evaluate_closed_set(decisions)
    assert moved.data_hash == decisions.data_hash


def test_ties_share_the_decision():
    decisions = make_decisions(
        n=4, n_findings=2, truth=[0, 0, 1, 1], probabilities=[[0.5, 0.5], [1, 0], [0.5, 0.5], [0.2, 0.8]],
        patient_ids=range(4),
    )  # fmt: skip
    result = evaluate_closed_set(decisions)
    assert result.confusion == ((1.5, 0.5), (0.5, 1.5))
    assert result.accuracy.value == 0.75
    assert [film["predicted"] for film in result.to_json()["films"]] == [["a", "b"], ["a"], ["a", "b"], ["b"]]


def test_all_right_still_has_an_interval():
    result = evaluate_closed_set(from_matrix([[30, 0], [0, 30]], ("a", "b")))
    low, high = result.accuracy.ci95
    assert result.accuracy.value == high == 1
    assert 0.9 < low < 0.96
    assert result.scores.per_class["a"]["sensitivity"].ci95[0] < low


@pytest.mark.parametrize("n_films", [6, 20, 30])
def test_numbers_that_no_patient_moves_have_an_interval_all_the_same(n_films):
    # A finding is never answered, and all else is right: without any one patient balanced accuracy is 2/3 but for
    # the rounding, which is no certainty.
    confusion = np.diag([n_films, n_films, 0])
    confusion[2, 0] = n_films
    low, high = evaluate_closed_set(from_matrix(confusion, ("a", "b", "c"))).scores.balanced_accuracy.ci95
    assert high - low > 0.05
    assert low < 2 / 3 < high


def test_undefined_numbers_say_why():
    result = evaluate_closed_set(from_matrix([[3, 1, 0], [0, 0, 0], [0, 0, 4]], ("a", "b", "c")))
    numbers = result.scores.per_class["b"]
    assert numbers["sensitivity"].mean is None
    assert numbers["sensitivity"].reason == "no film shows b"
    assert numbers["auroc"].reason == "only decisions are known, no probabilities"
    assert result.scores.per_class["a"]["auprc"].mean is None
    assert result.calibration is None
    assert "no film shows b: means over findings leave out what is undefined" in result.notes
    probable = evaluate_closed_set(make_decisions(findings=("a", "b", "c", "d"), probabilities=np.full((150, 4), 0.25)))
    assert probable.scores.per_class["d"]["auroc"].reason == "films with d and films without it are needed"
    assert probable.scores.auroc.value == 0.5


def test_a_finding_of_one_patient_has_no_interval():
    decisions = make_decisions(truth=[2] * 10 + [0, 1] * 70, patient_ids=[0] * 10 + list(range(1, 141)))
    scores = evaluate_closed_set(decisions).scores
    assert scores.per_class["c"]["sensitivity"].ci95 is None
    assert scores.per_class["c"]["sensitivity"].reason == "it rests on one patient: no interval"
    assert scores.macro_f1.ci95 is None
    assert "one patient only has c" in scores.macro_f1.reason
    above = evaluate_closed_set(decisions).above_balanced_baselines["chance"]
    assert (above.ci95, above.reason) == (None, scores.macro_f1.reason)
    assert all(-1 <= end <= 1 for end in evaluate_closed_set(decisions).above_baselines["chance"].ci95)
    assert scores.accuracy.ci95 is not None
    assert scores.per_class["a"]["sensitivity"].ci95 is not None


def test_json_rebuilds_the_result_and_its_decisions():
    decisions = make_decisions()
    result = evaluate_closed_set(decisions, calibration=make_decisions(seed=1, paths=tuple(map(str, range(150)))))
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert plain["kind"] == "closed_set"
    assert plain["accuracy"]["ci95"] == plain["accuracy"]["ci95_patients"]
    assert plain["accuracy"]["ci95_episodes"] is None
    again = Result.from_json(plain)
    assert again == result
    assert evaluate_closed_set(again.answers).scores == result.scores
    with pytest.raises(ValueError, match=r"no result of evaluate of this version \(rule missing\)"):
        Result.from_json({name: value for name, value in plain.items() if name != "rule"})


def test_a_temperature_of_other_films_mends_overconfidence():
    test, other = make_decisions(n=800, seed=2), make_decisions(n=800, seed=3)
    sure = [some.probabilities**4 / (some.probabilities**4).sum(axis=1, keepdims=True) for some in (test, other)]
    test = make_decisions(n=800, seed=2, probabilities=sure[0])
    other = make_decisions(n=800, seed=3, probabilities=sure[1], paths=tuple(f"val {row}" for row in range(800)))
    found = evaluate_closed_set(test, calibration=other).calibration
    assert found.after.ece.value < 0.4 * found.before.ece.value
    assert found.after.brier.value < found.before.brier.value
    assert 3 < found.after.temperature < 5.5
    assert "--calibrate-split" in evaluate_closed_set(test).calibration.reason
    with pytest.raises(ValueError, match=r"film 00000.png is in the test and in the calibration"):
        evaluate_closed_set(test, calibration=test)


def test_floors_are_judged_on_the_same_films_and_the_gap_is_paired():
    decisions, floor = make_decisions(strength=3), make_decisions(strength=1)
    result = evaluate_closed_set(decisions, baselines={"pixels": floor, "itself": decisions})
    assert result.baselines["pixels"] == evaluate_closed_set(floor).accuracy
    gap = result.above_baselines["pixels"]
    assert gap.value == pytest.approx(result.accuracy.value - result.baselines["pixels"].value)
    assert gap.ci95[0] < gap.value < gap.ci95[1]
    assert result.above_baselines["itself"].ci95 == (0, 0)
    with pytest.raises(ValueError, match="the baseline pixels was judged on other films"):
        evaluate_closed_set(decisions, baselines={"pixels": make_decisions(seed=9)})


def make_films(n=80, seed=0, prefix="test", n_findings=3):
    draw = np.random.default_rng(seed)
    class_ids = draw.integers(0, n_findings, n)
    return Embeddings(
        draw.normal(size=(n, 6)) + 1.5 * np.eye(6)[class_ids],
        class_ids,
        draw.integers(0, n // 2, n),
        class_names=[f"finding {c}" for c in range(n_findings)],
        paths=[f"{prefix}/{row}.png" for row in range(n)],
    )


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_judges_films_and_says_if_it_is_transductive(rule):
    queries, support = make_films(), make_films(seed=1, prefix="train")
    calls = []
    decisions = decide_by_exemplars(queries, support, rule=rule, progress=lambda *done: calls.append(done))
    result = evaluate_closed_set(decisions)
    assert calls[-1] == (80, 80)
    assert result.accuracy.value > 0.5
    assert result.data_hash == data_hash(queries)
    assert result.is_transductive == (rule in TRANSDUCTIVE)
    assert bool(result.warnings) == result.is_transductive


def test_exemplars_decide_as_a_slow_loop():
    queries, support = make_films(), make_films(seed=1, prefix="train")
    result = evaluate_closed_set(decide_by_exemplars(queries, support))
    films, temperature = result.to_json()["films"], result.calibration.before.temperature
    row_of = {path: row for row, path in enumerate(queries.paths)}
    for film in films:
        gaps = np.linalg.norm(support.vectors - queries.vectors[row_of[film["path"]]], axis=1)
        means = np.array([gaps[support.class_ids == c].mean() for c in range(3)])
        assert film["predicted"] == [f"finding {means.argmin()}"]
        assert film["probabilities"] == pytest.approx(softmax(-means / temperature), rel=1e-4)
        others = np.array([np.delete(means, c).min() for c in range(3)])
        assert film["margins"] == pytest.approx(others - means, abs=1e-5)
        assert film["log_odds"] == pytest.approx(logit(softmax(-means / temperature)), abs=1e-4)


@pytest.mark.parametrize("n_patients", [11, 60])
def test_the_temperature_is_fitted_on_exemplars_decided_by_those_of_other_patients(n_patients):
    queries, support = make_films(), make_films(seed=1, prefix="train")
    patients = np.random.default_rng(0).integers(0, n_patients, len(support))
    support = Embeddings(support.vectors, support.class_ids, patients, support.class_names, paths=support.paths)
    # Patients in the order of their findings, in 20 groups.
    order = dict.fromkeys(support.patient_ids[np.argsort(support.class_ids, kind="stable")].tolist())
    groups = np.array([list(order).index(one) % 20 for one in support.patient_ids.tolist()])
    distances = []
    for vector, group in zip(support.vectors, groups, strict=True):
        gaps, is_kept = np.linalg.norm(support.vectors - vector, axis=1), groups != group
        distances.append([gaps[is_kept & (support.class_ids == c)].mean() for c in range(3)])
    n_own = np.bincount(support.class_ids)[support.class_ids][:, None]
    targets = (n_own * np.eye(3)[support.class_ids] + 1) / (n_own + 3)  # Platt's

    def cost(temperature):
        return -np.sum(targets * log_softmax(-np.array(distances) / temperature, axis=1))

    found = decide_by_exemplars(queries, support).temperature
    assert cost(found) < min(cost(0.999 * found), cost(1.001 * found))


def test_where_no_temperature_can_be_fitted_the_probabilities_are_said_to_be_uncalibrated():
    queries, support = make_films(), make_films(seed=1, prefix="train")
    lone = Embeddings(support.vectors, support.class_ids, support.class_ids, support.class_names, paths=support.paths)
    for asked in ({"support": lone}, {"support": support, "rule": "tim"}):
        before = evaluate_closed_set(decide_by_exemplars(queries, **asked)).calibration.before
        assert (before.temperature, before.words) == (1.0, "not calibrated")


@pytest.mark.parametrize("n_findings", [2, 3, 5])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_order_of_films_never_contradicts_the_decisions(rule, n_findings):
    sides = (make_films(seed=seed, prefix=name, n_findings=n_findings) for seed, name in enumerate(("test", "train")))
    result = evaluate_closed_set(decide_by_exemplars(*sides, rule=rule, distance="cosine"))
    for name, numbers in result.scores.per_class.items():
        truth, score = result.answers.truth[:, result.findings.index(name)], result.answers.ranking_scores
        score = score[:, result.findings.index(name)]
        auroc = oracle.roc_auc_score(truth, score)
        assert numbers["auroc"].mean == pytest.approx(auroc)
        assert numbers["auprc"].mean == pytest.approx(oracle.average_precision_score(truth, score))
        # The decision is a point of the curve, which rises: it goes through (1 - specificity, sensitivity).
        sensitivity, specificity = numbers["sensitivity"].mean, numbers["specificity"].mean
        assert sensitivity * specificity <= auroc + 1e-9
        assert auroc <= 1 - (1 - sensitivity) * (1 - specificity) + 1e-9
    if n_findings == 2:
        first, second = result.scores.per_class.values()
        assert first["auroc"].mean == pytest.approx(second["auroc"].mean)


def test_right_decisions_are_ranked_without_a_fault():
    # Cosine distances: their softmax at temperature 1 is flat, and a third finding far away turns its order about.
    distances = np.array([[0.10, 0.12, 1.9], [0.30, 0.32, 0.40], [0.12, 0.10, 0.2], [0.50, 0.45, 1.9], [0.9, 0.8, 0.1]])
    answers = Answers(
        findings=("a", "b", "c"),
        truth=[0, 0, 1, 1, 2],
        probabilities=softmax(-distances, axis=1),
        margins=margins(torch.from_numpy(distances)).numpy(),
        paths="vwxyz",
    )
    result = evaluate_closed_set(answers)
    assert result.accuracy.mean == result.scores.auroc.mean == result.scores.auprc.mean == 1
    assert oracle.roc_auc_score(answers.truth[:, 0], answers.probabilities[:, 0]) < 1


def test_certain_films_are_still_told_apart():
    queries, support = make_films(), make_films(seed=1, prefix="train")
    far = Embeddings(300 * queries.vectors, queries.class_ids, None, queries.class_names, paths=queries.paths)
    known = Embeddings(300 * support.vectors, support.class_ids, None, support.class_names, paths=support.paths)
    near, distant = (
        decide_by_exemplars(*sides, rule="prototype", fits_temperature=False)
        for sides in ((queries, support), (far, known))
    )
    assert (distant.probabilities.max(axis=1) == 1).mean() > 0.5
    shares = [evaluate_closed_set(some).scores.auroc.value for some in (near, distant)]
    assert shares[1] == pytest.approx(shares[0], abs=0.02)


def test_scale_does_not_matter_to_the_ranking_of_two_findings_and_json_keeps_it():
    queries, support = make_films(), make_films(seed=1, prefix="train")
    shares = []
    for scale in (1, 1000):
        sides = [
            Embeddings(scale * films.vectors[kept], films.class_ids[kept], None, films.class_names, paths=paths)
            for films in (queries, support)
            for kept in [films.class_ids < 2]
            for paths in [[path for path, is_kept in zip(films.paths, kept, strict=True) if is_kept]]
        ]
        decisions = decide_by_exemplars(*sides, rule="prototype", fits_temperature=False)
        result = evaluate_closed_set(decisions)
        again = Result.from_json(json.loads(json.dumps(result.to_json()))).answers
        np.testing.assert_array_equal(again.ranking_scores, decisions.ranking_scores)
        shares.append(result.scores.auroc.value)
    assert (decisions.probabilities.max(axis=1) == 1).mean() > 0.9
    assert shares[1] == pytest.approx(shares[0], abs=1e-9)


def test_patients_may_have_any_names():
    numbers = np.arange(150) // 2
    plain = make_decisions(patient_ids=numbers)
    named = make_decisions(patient_ids=[("patient", int(number)) for number in numbers])
    np.testing.assert_array_equal(plain.patient_ids, named.patient_ids)
    unknown = make_decisions(patient_ids=[None, "", float("nan")] * 50)
    assert len(set(unknown.patient_ids.tolist())) == 150


def test_wrong_sides_are_refused():
    queries, support = make_films(), make_films(seed=1, prefix="train")
    with pytest.raises(ValueError, match=r"film test/0.png is support and is asked too"):
        decide_by_exemplars(queries, queries)
    two = Embeddings(support.vectors, support.class_ids // 2, None, ["finding 0", "finding 1"], paths=support.paths)
    with pytest.raises(ValueError, match="the support has no film of finding 2, which the films to judge show"):
        decide_by_exemplars(queries, two)
    with pytest.raises(ValueError, match=r"unknown rule 'prototypes' \(did you mean 'prototype'\?\)"):
        decide_by_exemplars(queries, support, rule="prototypes")
    for rule in RULES:
        with pytest.raises(ValueError, match=r"unknown distance 'euclid'"):
            decide_by_exemplars(queries, support, rule=rule, distance="euclid")
        wide = Embeddings(np.ones((3, 99)), [0, 1, 2], class_names=support.class_names)
        with pytest.raises(ValueError, match=r"embeddings of dim \d+ cannot be compared with dim 99: same encoder\?"):
            decide_by_exemplars(queries, wide, rule=rule)
    nameless = Embeddings(queries.vectors, queries.class_ids, None, queries.class_names)
    with pytest.raises(
        ValueError, match="^80 of 80 queries have the very embedding of a support film, as the same film"
    ):
        decide_by_exemplars(nameless, nameless)
    one = Embeddings(
        np.vstack([support.vectors[:-1], queries.vectors[:1]]), support.class_ids, None, support.class_names
    )
    with pytest.raises(ValueError, match="^1 of 80 queries have the very embedding of a support film"):
        decide_by_exemplars(queries, one)
    with pytest.raises(TypeError, match="support must be Embeddings, got NoneType"):
        decide_by_exemplars(queries, None)
    with pytest.raises(TypeError, match="decisions must be Answers .*, got NoneType"):
        evaluate_closed_set(None)
    many = Embeddings(np.eye(2), np.eye(2), class_names=["a", "b"])
    with pytest.raises(ValueError, match="needs films of one finding each"):
        decide_by_exemplars(many, support)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"probabilities": np.full((150, 3), 0.4)}, r"film 00000.png has the probabilities \[0.4, 0.4, 0.4\]"),
        ({"probabilities": np.full((150, 3), np.nan)}, "film 00000.png has the probabilities"),
        ({"paths": ("x.png",) * 150}, "film x.png is there twice"),
        ({"truth": np.full(150, 3)}, r"truth must be 0\.\.2, got 3\.\.3"),
        ({"truth": [0]}, r"truth must have a row per film and a column per finding, \(150, 3\), got \(1, 3\)"),
        ({"findings": ("a", "a", "b")}, "distinct findings"),
        ({"truth": np.full(150, 0.7)}, r"truth must be whole numbers 0\.\.2, or a table, got .*0\.7"),
        ({"log_odds": np.full((150, 3), np.inf)}, "film 00000.png has inf for a, a finite number was expected"),
        (
            {"log_odds": np.zeros((150, 2))},
            r"log_odds must have a row .* \(150, 3\), got \(150, 2\)",
        ),
    ],
)
def test_bad_decisions_are_refused(more, words):
    with pytest.raises(ValueError, match=words):
        make_decisions(**more)


def test_the_hash_knows_films_findings_and_patients_but_no_names():
    films = make_films()
    base = data_hash(films)
    order = np.arange(80)[::-1]
    moved = Embeddings(
        films.vectors[order] + 1,
        [films.class_names[index] for index in films.class_ids[order]],
        [f"p{patient}" for patient in films.patient_ids[order]],
        paths=[films.paths[row] for row in order],
    )
    assert data_hash(moved) == base
    alone = Embeddings(films.vectors, films.class_ids, None, films.class_names, paths=films.paths)
    other = Embeddings(
        films.vectors, (films.class_ids + 1) % 3, films.patient_ids, films.class_names, paths=films.paths
    )
    assert len({base, data_hash(alone), data_hash(other), data_hash(make_films(prefix="b"))}) == 4
    table = np.array([[1, 0], [1, 1], [np.nan, 1]])
    several = Embeddings(np.eye(3), table, class_names=["a", "b"])
    assert data_hash(several) != data_hash(Embeddings(np.eye(3), np.nan_to_num(1 - table), class_names=["a", "b"]))


def test_exemplars_decide_by_the_distance_of_their_training_unless_another_is_named():
    queries = Embeddings([[1.0, 2.0]], ["b"], paths=["q"])
    support = Embeddings([[1.0, 0], [0, 9]], ["a", "b"], paths=["a0", "b0"])
    trained = Embeddings(support.vectors, ["a", "b"], paths=support.paths, distance="cosine")
    assert [decide_by_exemplars(queries, known).distance for known in (support, trained)] == ["euclidean", "cosine"]
    assert decide_by_exemplars(queries, trained).credits.tolist() == [[0, 1]]
    assert decide_by_exemplars(queries, trained, distance="euclidean").credits.tolist() == [[1, 0]]


def test_patients_who_are_all_alike_give_a_calibration_no_interval():
    names, shares = [str(row) for row in range(10)], np.array([[0.8, 0.2], [0.2, 0.8]] * 5)
    answers = Answers(
        findings=("a", "b"), truth=np.arange(10) % 2, probabilities=shares, paths=names, patient_ids=np.arange(10)
    )
    result = evaluate_closed_set(answers)
    for number in (result.calibration.before.brier, result.calibration.before.ece):
        assert number.ci95 is None
        assert number.reason == "all patients are alike: nothing to measure chance by"
    assert result.accuracy.ci95[0] < 1
