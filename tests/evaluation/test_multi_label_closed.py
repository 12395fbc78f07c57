import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as oracle

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import (
    Answers,
    Result,
    compare_results,
    data_hash,
    decide_by_classifier,
    evaluate_closed_set,
    evaluate_multi_label,
    result_from_json,
    roc_points,
)
from fewshot_cxr.metrics import bounded_interval, delong
from fewshot_cxr.records import Record, Records

FINDINGS = ("effusion", "mass", "nodule")
RANKINGS = {"auroc": oracle.roc_auc_score, "auprc": oracle.average_precision_score}


def make_answers(n=160, n_patients=50, *, strength=1.0, unstated=0.15, seed=0, **changes):
    draw = np.random.default_rng([seed, 7])
    truth = (draw.random((n, 3)) < (0.4, 0.25, 0.15)).astype(float)
    scores = strength * truth + draw.normal(size=(n, 3)) - 0.3
    truth[draw.random((n, 3)) < unstated] = np.nan
    values = {
        "findings": FINDINGS,
        "probabilities": 1 / (1 + np.exp(-scores)),
        "truth": truth,
        "patient_ids": draw.integers(0, n_patients, n),
        "paths": tuple(f"{row:05d}.png" for row in range(n)),
    }
    return values | changes


def judge(**answers):
    return evaluate_multi_label(*answers.values())


def slow_numbers(truth, scores):
    """Every number of one finding, by scikit-learn and by counting."""
    taken = scores >= 0.5
    numbers = {name: score(truth, scores) if len(set(truth)) > 1 else np.nan for name, score in RANKINGS.items()}
    return numbers | {
        "sensitivity": oracle.recall_score(truth, taken, zero_division=np.nan),
        "specificity": oracle.recall_score(truth, taken, pos_label=0, zero_division=np.nan),
        "accuracy": oracle.accuracy_score(truth, taken),
        "prevalence": np.mean(truth),
    }


def test_numbers_equal_scikit_learn_over_the_films_that_state_the_finding():
    answers = make_answers()
    result = judge(**answers)
    for column, finding in enumerate(FINDINGS):
        stated = ~np.isnan(answers["truth"][:, column])
        truth = answers["truth"][stated, column].astype(int)
        found = result.per_finding[finding]
        for name, value in slow_numbers(truth, answers["probabilities"][stated, column]).items():
            assert getattr(found, name).value == pytest.approx(value), name
        n_patients = len(set(answers["patient_ids"][stated]))
        assert (found.n_films, found.n_positive, found.n_patients) == (stated.sum(), truth.sum(), n_patients)
    for name in RANKINGS:
        mean = np.mean([getattr(one, name).value for one in result.per_finding.values()])
        assert getattr(result, f"mean_{name}").value == pytest.approx(mean)
    assert (result.n_films, result.n_patients) == (160, len(set(answers["patient_ids"])))
    assert "findings are not stated and count for nothing" in result.notes[0]


def test_intervals_equal_a_slow_jackknife_that_leaves_each_patient_out():
    answers = make_answers()
    result = judge(**answers)
    patients = answers["patient_ids"]
    names = np.unique(patients)
    without = []
    for left_out in names:
        kept = patients != left_out
        rows = []
        for column in range(3):
            some = kept & ~np.isnan(answers["truth"][:, column])
            rows.append(
                slow_numbers(answers["truth"][some, column].astype(int), answers["probabilities"][some, column])
            )
        without.append(rows)
    for column, finding in enumerate(FINDINGS):
        truth = answers["truth"][:, column]
        with_it, without_it = (len(set(patients[truth == value])) for value in (1, 0))
        stated = result.per_finding[finding].n_patients
        bearing = {"sensitivity": with_it, "specificity": without_it, "accuracy": stated, "prevalence": stated}
        for name in without[0][0]:
            values = np.array([rows[column][name] for rows in without])
            variance = ((values - values.mean()) ** 2).sum() * (len(names) - 1) / len(names)
            estimate = getattr(result.per_finding[finding], name)
            degrees = bearing.get(name, min(with_it, without_it)) - 1
            n_patients = bearing.get(name, stated)
            expected = bounded_interval(estimate.value, variance, degrees=degrees, n_patients=n_patients)
            assert estimate.ci95 == pytest.approx(expected), name
    means = np.array([np.mean([row["auroc"] for row in rows]) for rows in without])
    variance = ((means - means.mean()) ** 2).sum() * (len(names) - 1) / len(names)
    low, high = bounded_interval(result.mean_auroc.value, variance, degrees=len(names) - 1, n_patients=len(names))
    assert result.mean_auroc.ci95 == pytest.approx((low, high))


def test_of_many_patients_the_prevalence_varies_as_it_should():
    truth = (np.random.default_rng(0).random((4000, 1)) < 0.2).astype(float)
    paths = tuple(map(str, range(4000)))
    found = evaluate_multi_label(("mass",), truth, truth, None, paths)
    assert (found.n_units, found.n_patients) == (200, 4000)
    low, high = found.per_finding["mass"].prevalence.ci95
    assert high - low == pytest.approx(2 * 1.96 * (0.2 * 0.8 / 4000) ** 0.5, rel=0.15)


def test_order_of_rows_and_findings_and_names_of_patients_change_nothing():
    answers = make_answers(n=900, n_patients=500)
    order, columns = np.random.default_rng(1).permutation(900), [2, 0, 1]
    moved = {
        "findings": tuple(FINDINGS[column] for column in columns),
        "probabilities": answers["probabilities"][order][:, columns],
        "truth": answers["truth"][order][:, columns],
        "patient_ids": [f"patient {7 * number}" for number in answers["patient_ids"][order]],
        "paths": tuple(answers["paths"][row] for row in order),
    }
    assert judge(**moved) == judge(**answers)


def test_a_monotone_transform_leaves_the_rankings():
    answers = make_answers()
    squared = judge(**answers | {"probabilities": answers["probabilities"] ** 2})
    plain = judge(**answers)
    for finding in FINDINGS:
        for name in RANKINGS:
            assert getattr(squared.per_finding[finding], name) == getattr(plain.per_finding[finding], name)
    assert squared.mean_auroc == plain.mean_auroc


def test_json_rebuilds_the_result_and_its_answers():
    result = judge(**make_answers(n=40))
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert plain["kind"] == "multi_label"
    assert plain["per_finding"]["mass"]["n_films"] == result.per_finding["mass"].n_films
    again = result_from_json(plain)
    assert again.kind == "multi_label"
    assert again == result
    assert judge(**{name: getattr(again.answers, name) for name in make_answers()}) == result
    with pytest.raises(
        ValueError,
        match=r"no result of evaluate \(of several findings\) .*\(n_units missing\)",
    ):
        Result.from_json({name: value for name, value in plain.items() if name != "n_units"})


def test_the_hash_is_that_of_embedded_films():
    answers = make_answers()
    films = Embeddings(
        answers["probabilities"], answers["truth"], answers["patient_ids"], FINDINGS, paths=answers["paths"]
    )
    assert judge(**answers).data_hash == data_hash(films)


def test_what_is_undefined_or_rests_on_one_patient_says_why():
    answers = make_answers(unstated=0)
    answers["truth"][:, 0] = 0
    answers["truth"][:, 1] = answers["patient_ids"] == answers["patient_ids"][0]
    result = judge(**answers)
    effusion, mass = (result.per_finding[name] for name in ("effusion", "mass"))
    assert effusion.auroc.reason == "films with effusion and films without it are needed"
    assert effusion.sensitivity.reason == "no film shows effusion"
    assert effusion.specificity.ci95 is not None
    assert mass.auroc.value >= 0
    assert mass.auroc.reason == mass.sensitivity.reason == "it rests on one patient: no interval"
    assert result.mean_auroc.ci95 is None
    assert result.mean_auroc.reason == "one patient only has, or has not, mass: no interval of a mean over findings"
    assert result.notes == ("means over findings leave out effusion: no film shows it, or every film does",)
    answers["truth"][:] = np.nan
    nothing = judge(**answers)
    assert nothing.mean_auroc.reason == "no finding has films with it and without it"
    assert nothing.per_finding["mass"].accuracy.reason == "no film states mass"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"probabilities": np.zeros((160, 2))},
            r"probabilities must have a row per film and a column per finding, \(160, 3\)",
        ),
        ({"probabilities": np.full((160, 3), 1.5)}, "film 00000.png has 1.5 for effusion, a probability 0..1 was"),
        ({"probabilities": np.full((160, 3), np.nan)}, "film 00000.png has nan for effusion, a probability 0..1 was"),
        ({"truth": np.full((160, 3), 2)}, r"film 00000.png has 2 for effusion, 1 \(shown\), 0 \(not shown\) or NaN"),
        ({"paths": ("x.png",) * 160}, "film x.png is there twice; each film must be one row"),
        ({"findings": ("mass", "mass", "nodule")}, "distinct findings are needed"),
        ({"patient_ids": [1, 2]}, "160 films, 2 patient ids"),
    ],
)
def test_bad_answers_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        judge(**make_answers(**changes))


def make_records(*films):
    return Records(tuple(films), Path())


def test_two_results_are_compared_by_delong_and_a_paired_jackknife():
    answers = make_answers(strength=2)
    other = answers | {"probabilities": make_answers(strength=0.5, seed=0)["probabilities"]}
    comparison = compare_results(judge(**answers), judge(**other), names=("new", "old"))
    assert comparison.results == "multi_label"
    rows = {(row.number, row.test): row for row in comparison.rows}
    mean = rows["auroc", "paired jackknife"]
    assert mean.first > mean.second
    assert mean.ci95[0] < mean.difference < mean.ci95[1]
    for column, finding in enumerate(FINDINGS):
        stated = ~np.isnan(answers["truth"][:, column])
        scores = (some["probabilities"][stated, column] for some in (answers, other))
        patients = answers["patient_ids"][stated]
        expected = delong(*scores, answers["truth"][stated, column] == 1, clusters=patients)
        found = rows[f"auroc of {finding}", "DeLong by patients"]
        assert (found.difference, found.p_value) == pytest.approx((expected.difference, expected.p_value))
    assert len(comparison.rows) == 2 + 2 * 3


def test_results_that_cannot_be_paired_are_refused():
    answers = make_answers()
    first = judge(**answers)
    with pytest.raises(ValueError, match="compare: A was judged on other films, findings or patients than B"):
        compare_results(first, judge(**make_answers(seed=1)))
    unsaid = answers["truth"].copy()
    row, column = np.argwhere(unsaid == 0)[0]
    unsaid[row, column] = np.nan
    with pytest.raises(ValueError, match="compare: A takes other findings for not stated than B"):
        compare_results(first, judge(**answers | {"truth": unsaid}))
    closed = evaluate_closed_set(make_decisions())
    with pytest.raises(ValueError, match=r"A is a result of evaluate \(of several findings\) and B one of evaluate;"):
        compare_results(first, closed)


def make_decisions(n=120, **changes):
    draw = np.random.default_rng(3)
    true_ids = np.arange(n) % 3
    weights = np.round(draw.random((n, 3)) + np.eye(3)[true_ids], 1) + 0.1
    values = {
        "findings": FINDINGS,
        "truth": true_ids,
        "probabilities": weights / weights.sum(axis=1, keepdims=True),
        "paths": tuple(f"{row:05d}.png" for row in range(n)),
    }
    return Answers(**values | changes)


@pytest.mark.parametrize("kind", ["multi_label", "closed_set"])
def test_roc_points_equal_scikit_learn_with_ties(kind):
    if kind == "multi_label":
        answers = make_answers(probabilities=np.round(make_answers()["probabilities"], 1))
        result = judge(**answers)
        truth, scores = answers["truth"], answers["probabilities"]
    else:
        result = evaluate_closed_set(make_decisions())
        truth, scores = np.eye(3)[make_decisions().true_ids], make_decisions().ranking_scores
    for column, finding in enumerate(FINDINGS):
        stated = ~np.isnan(truth[:, column])
        false, true, _ = oracle.roc_curve(truth[stated, column], scores[stated, column])
        points = roc_points(result, finding)
        np.testing.assert_allclose(points, (false, true))
        numbers = result.scores.per_class if kind == "closed_set" else None
        auroc = numbers[finding]["auroc"] if numbers else result.per_finding[finding].auroc
        assert oracle.auc(*points) == pytest.approx(auroc.value)


def test_films_of_a_probability_of_one_are_one_step():
    said, truth = np.array([1, 1, 1, 1, 0.6, 0.2]), np.array([0, 1, 0, 1, 0, 1])
    for order in (range(6), [3, 2, 1, 0, 5, 4], [1, 3, 0, 2, 4, 5]):
        paths = [f"{row}.png" for row in range(6)]
        result = evaluate_multi_label(
            ["mass"], said[[*order], None], truth[[*order], None], patient_ids=paths, paths=paths
        )
        assert oracle.auc(*roc_points(result, "mass")) == pytest.approx(oracle.roc_auc_score(truth, said))


def test_roc_points_say_why_there_is_no_curve():
    result = judge(**make_answers())
    with pytest.raises(ValueError, match=r"the result knows no 'nodul' \(did you mean 'nodule'\?\); it has effusion"):
        roc_points(result, "nodul")
    empty = judge(**make_answers(truth=np.zeros((160, 3))))
    with pytest.raises(ValueError, match="a ROC curve of mass needs films with it and without it, got 0, 160"):
        roc_points(empty, "mass")
    with pytest.raises(ValueError, match="only decisions are known, no probabilities"):
        roc_points(evaluate_closed_set(make_decisions(has_probabilities=False)), "mass")


def make_logits(n=60, scale=2.0):
    draw = np.random.default_rng(5)
    films = make_records(*(Record(f"{row}.png", (FINDINGS[row % 3],), f"p{row // 2}") for row in range(n)))
    return scale * (draw.normal(size=(n, 3)) + np.eye(3)[np.arange(n) % 3]), films


def test_a_softmax_classifier_decides_as_softmax_does():
    logits, films = make_logits()
    decisions = decide_by_classifier(FINDINGS, logits.astype(np.float32), films)
    rows = [int(path.removesuffix(".png")) for path in decisions.paths]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(decisions.probabilities, expected[rows], rtol=1e-5)
    np.testing.assert_allclose(decisions.log_odds, np.log(expected / (1 - expected))[rows], rtol=1e-4, atol=1e-4)
    assert len(set(decisions.patient_ids.tolist())) == 30
    result = evaluate_closed_set(decisions)
    assert result.accuracy.value == oracle.accuracy_score(np.arange(60) % 3, logits.argmax(axis=1))
    assert Result.from_json(result.to_json()).answers.data_hash == decisions.data_hash


def test_sigmoids_are_divided_by_their_sum():
    logits, films = make_logits()
    decisions = decide_by_classifier(FINDINGS, logits, films, activation="sigmoid")
    own = 1 / (1 + np.exp(-logits))
    rows = [int(path.removesuffix(".png")) for path in decisions.paths]
    np.testing.assert_allclose(decisions.probabilities, (own / own.sum(axis=1, keepdims=True))[rows])


def test_logits_that_round_to_certainty_still_rank():
    logits, films = make_logits()
    near, far = (
        evaluate_closed_set(decide_by_classifier(FINDINGS, scale * logits, films)).scores.accuracy.value
        for scale in (1, 1000)
    )
    assert near == far
    two = logits[:, :2], make_records(*(Record(film.path, (FINDINGS[row % 2],)) for row, film in enumerate(films)))
    areas = [
        evaluate_closed_set(decide_by_classifier(FINDINGS[:2], scale * two[0], two[1])).scores.auroc.value
        for scale in (1, 1000)
    ]
    assert areas[0] == pytest.approx(areas[1])


def test_films_of_a_patient_in_two_groups_are_one_patient():
    films = make_records(
        Record("a.png", ("mass",), "p", "g1"), Record("b.png", ("nodule",), "p", "g2"), Record("c.png", ("mass",), "q")
    )
    assert decide_by_classifier(FINDINGS, np.zeros((3, 3)), films).patient_ids.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classifier_findings": ("effusion", "mas", "nodule")}, r"does not know mass \(did you mean 'mas'\?\), which"),
        ({"classifier_findings": ("mass",)}, "a classifier of two findings or more is needed, this one tells mass"),
        ({"logits": np.zeros((60, 2))}, r"logits of 60 films and 3 findings expected, got \(60, 2\)"),
        ({"logits": np.full((60, 3), np.inf)}, "film 0.png has a logit that is not finite; a diverged run"),
        ({"activation": "softmix"}, r"unknown activation 'softmix' \(did you mean 'softmax'\?\)"),
        ({"films": make_records(*[Record("a.png", ("mass", "nodule"))] * 60)}, r"a.png has the findings \['mass'"),
    ],
)
def test_logits_that_do_not_fit_are_refused(changes, words):
    logits, films = make_logits()
    with pytest.raises(ValueError, match=words):
        decide_by_classifier(**{"classifier_findings": FINDINGS, "logits": logits, "films": films} | changes)
