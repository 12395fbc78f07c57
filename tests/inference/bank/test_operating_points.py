import json
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_curve

from fewshot_cxr.inference.bank import CalledPatients, OperatingPoint, called_patients, operating_point
from fewshot_cxr.metrics import wilson_interval

FINDINGS = ("normal", "covid19", "pneumonia")


def films(seed=0, n_patients=60, most_films=1):
    """Scores of covid19, with ties; labels; patients."""
    draw = np.random.default_rng(seed)
    n_films = draw.integers(1, most_films + 1, n_patients)
    patients = np.repeat(np.arange(n_patients), n_films)
    labels = (np.arange(n_patients) % 3)[patients]
    scores = np.round(draw.normal(size=len(patients)) + 1.5 * (labels == 1), 1)
    return scores, labels, patients


def point(scores, labels, patients, **more):
    return operating_point(scores, labels, patients, finding="covid19", findings=FINDINGS, **more)


@pytest.mark.parametrize("target", ["sensitivity", "specificity"])
@pytest.mark.parametrize("value", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_scikit_learns_next_that_keeps_the_word(seed, value, target):
    scores, labels, patients = films(seed)
    is_covid = labels == 1
    found = point(scores, labels, patients, **{target: value})
    false, true, thresholds = roc_curve(is_covid, scores, drop_intermediate=False)
    n = is_covid.sum() if target == "sensitivity" else (~is_covid).sum()
    # A new patient is one more, and the worst of them.
    achieved = true if target == "sensitivity" else 1 - false
    keeps = n * (1 - achieved) + 1 <= (n + 1) * (1 - value) + 1e-9
    # Sensitivity: the highest threshold that keeps it; specificity: the lowest.
    best = np.flatnonzero(keeps)[0] if target == "sensitivity" else np.flatnonzero(keeps)[-1]
    assert found.sensitivity.value == pytest.approx(true[best])
    assert found.specificity.value == pytest.approx(1 - false[best])
    assert found.threshold <= thresholds[best]
    np.testing.assert_array_equal(found.apply(scores), scores >= thresholds[best])
    assert getattr(found, target).value >= value


def slow_threshold(scores, labels, patients, value, per):
    """Every observed score in turn, from the highest, by loops."""
    if per == "patient":
        units = [[max(scores[patients == one])] for one in sorted(set(patients[labels == 1]))]
    else:
        units = [list(scores[(patients == one) & (labels == 1)]) for one in sorted(set(patients[labels == 1]))]
    for threshold in sorted({score for unit in units for score in unit}, reverse=True):
        lost = sum(sum(score < threshold for score in unit) / len(unit) for unit in units)
        if lost + 1 <= (len(units) + 1) * (1 - value) + 1e-9:
            return threshold
    raise AssertionError


@pytest.mark.parametrize("per", ["patient", "film"])
@pytest.mark.parametrize("value", [0.6, 0.8, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_films_of_a_patient_together_are_one(seed, value, per):
    scores, labels, patients = films(seed, n_patients=45, most_films=4)
    found = point(scores, labels, patients, sensitivity=value, per=per)
    assert found.threshold == slow_threshold(scores, labels, patients, value, per)
    called = [(scores >= found.threshold)[(patients == one)] for one in range(45) if one % 3 == 1]
    share = np.mean([is_called.max() if per == "patient" else is_called.mean() for is_called in called])
    assert found.sensitivity.value == pytest.approx(share)
    assert found.sensitivity.ci95_patients == pytest.approx(wilson_interval(15 * share, 15))
    assert found.counts.n_patients == (15, 15, 15)


def test_films_in_any_order_and_patients_by_any_number_make_the_same_point():
    scores, labels, patients = films(1, most_films=3)
    order = np.random.default_rng(0).permutation(len(scores))
    for per in ("patient", "film"):
        one = point(scores, labels, patients, specificity=0.9, per=per)
        other = point(scores[order], labels[order], 1000 - 7 * patients[order], specificity=0.9, per=per)
        assert one.threshold == other.threshold
        np.testing.assert_allclose(one.counts.called, other.counts.called)


@pytest.mark.parametrize("unknown", [None, float("nan"), ""])
def test_each_unknown_patient_is_one_of_its_own(unknown):
    scores, labels, patients = films()
    ids = [unknown if patient % 2 else int(patient) for patient in patients]
    assert point(scores, labels, ids, specificity=0.8) == point(scores, labels, patients, specificity=0.8)
    with pytest.raises(TypeError, match="labels must be columns, whole numbers, got float64"):
        point(scores, labels.astype(float), patients, specificity=0.8)


def test_a_score_calls_the_same_alone_and_among_others():
    scores = np.float32([0.1 * place for place in range(1, 41)])
    found = point(scores, np.arange(40) % 2, np.arange(40), specificity=0.9)
    assert [found.apply(score) for score in scores] == found.apply(scores).tolist()


@pytest.mark.parametrize(("value", "n"), [(0.9, 9), (0.95, 19), (0.8, 4), (0.5, 1)])
def test_too_few_patients_are_refused_and_enough_are_not(value, n):
    def enough(n_covid):
        labels = np.array([1] * n_covid + [0] * 30)
        return point(np.arange(len(labels), dtype=float), labels, np.arange(len(labels)), sensitivity=value)

    assert enough(n).threshold == 0
    if n > 1:
        with pytest.raises(ValueError, match=rf"needs {n} calibration patients with covid19, there are {n - 1}: add 1"):
            enough(n - 1)


def test_what_is_said_to_be_carried_is():
    labels, scores = np.array([1, 1, 0, 0]), np.arange(4.0)
    with pytest.raises(ValueError, match=r"add 17, or state 0\.666 or less$"):
        point(scores, labels, np.arange(4), sensitivity=0.95)
    assert point(scores, labels, np.arange(4), sensitivity=0.666).sensitivity.value == 1
    with pytest.raises(ValueError, match=r"a specificity of 0\.99 needs 99 calibration patients without covid19"):
        point(scores, labels, np.arange(4), specificity=0.99)


@pytest.mark.parametrize("target", ["sensitivity", "specificity"])
def test_new_patients_pass_as_often_as_is_stated(target):
    draw = np.random.default_rng(0)
    labels = np.repeat([1, 0], 25)
    passed = []
    for _ in range(2000):
        calibration = point(draw.normal(size=50) + labels, labels, np.arange(50), **{target: 0.9})
        new = 1 - stats.norm.cdf(calibration.threshold - (target == "sensitivity"))
        passed.append(new if target == "sensitivity" else 1 - new)
    # 24 of 26 patients: floor(2.6) = 2 may be lost.
    assert np.mean(passed) == pytest.approx(24 / 26, abs=4 * np.std(passed) / 2000**0.5)


@pytest.mark.parametrize("value", [0.5, 0.8, 0.9, 0.95])
def test_the_interval_of_what_is_stated_holds_the_truth_though_the_threshold_was_chosen_on_it(value):
    """The chance that a new patient passes is Beta distributed: exact, with no simulation."""
    for n in (19, 25, 40, 70, 150, 400):
        if (lost := math.floor((n + 1) * (1 - value) + 1e-9)) < 1:
            continue
        low, high = wilson_interval(n + 1 - lost, n)
        truth = stats.beta(n + 1 - lost, lost)
        assert truth.cdf(high) - truth.cdf(low) > 0.93


def test_it_is_kept_as_json_and_calls_the_same():
    scores, labels, patients = films(2, most_films=3)
    kept = point(scores, labels, patients, sensitivity=0.9, per="film", score="probability")
    plain = json.loads(json.dumps(kept.to_json()))
    assert OperatingPoint.from_json(plain) == kept
    assert plain["sensitivity"]["mean"] == kept.sensitivity.mean
    assert kept.apply(float(scores[0])) is bool(scores[0] >= kept.threshold)
    assert not kept.apply(math.nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": "0"}, "operating point.threshold must be a finite number, got '0'"),
        ({"threshold": math.inf}, "operating point.threshold must be a finite number"),
        ({"value": 1.0}, "sensitivity between 0 and 1 and a finite threshold, got 1.0"),
        ({"target": "sens"}, r"unknown target 'sens'"),
        ({"per": "week"}, "unknown unit 'week'"),
        ({"counts": {}}, "called patients lacks 'finding'"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(change, message):
    plain = point(*films(), sensitivity=0.9).to_json()
    with pytest.raises(ValueError, match=message) as refused:
        OperatingPoint.from_json(plain | change)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "state a sensitivity or a specificity, one of them"),
        ({"sensitivity": 0.9, "specificity": 0.9}, "one of them"),
        ({"sensitivity": 1.0}, "sensitivity must be above 0 and below 1, got 1.0"),
        ({"specificity": math.nan}, "specificity must be above 0 and below 1, got nan"),
        ({"sensitivity": 0.9, "per": "week"}, "unknown unit 'week'"),
    ],
)
def test_wrong_wishes_are_refused(more, message):
    with pytest.raises(ValueError, match=message):
        point(*films(), **more)


def test_wrong_films_are_refused():
    scores, labels, patients = films()
    with pytest.raises(ValueError, match="scores must be finite"):
        point(np.where(labels == 1, np.nan, scores), labels, patients, sensitivity=0.9)
    with pytest.raises(ValueError, match=r"must be of the same films, got \(60,\), \(59,\), \(60,\)"):
        point(scores, labels[1:], patients, sensitivity=0.9)
    with pytest.raises(ValueError, match=r"labels must be columns 0\.\.2"):
        point(scores, labels + 1, patients, sensitivity=0.9)
    with pytest.raises(ValueError, match=r"unknown finding 'covid' \(did you mean 'covid19'\?\)"):
        operating_point(scores, labels, patients, finding="covid", findings=FINDINGS, sensitivity=0.9)


def test_a_patient_of_two_findings_counts_once_on_each_side():
    labels, patients = np.array([0, 2, 1, 0, 1]), np.array([5, 5, 6, 6, 7])
    is_called = np.array([True, False, False, True, False])
    of_patients = called_patients(is_called, labels, patients, finding="covid19", findings=FINDINGS)
    # Patient 5 shows normal and pneumonia and is called; 6 and 7 have covid19, a film of 6 without it is called.
    assert of_patients == CalledPatients("covid19", FINDINGS, (0.5, 1, 0.5), (0.5, 2, 0.5))
    assert (of_patients.sensitivity.mean, of_patients.specificity.mean) == (0.5, 0)
    of_films = called_patients(is_called, labels, patients, finding="covid19", findings=FINDINGS, per="film")
    assert of_films == CalledPatients("covid19", FINDINGS, (1.5, 0, 0), (1.5, 2, 0.5))
    assert of_films.specificity.mean == 0.25


def test_what_nobody_has_is_unknown():
    counts = called_patients([True, False], [0, 2], [0, 1], finding="covid19", findings=FINDINGS)
    assert counts.sensitivity.mean is None
    assert counts.sensitivity.reason == "no patient has covid19"
    with pytest.raises(ValueError, match="must be 0..n_patients for each finding"):
        CalledPatients("covid19", FINDINGS, (1, 2, 3), (1, 1, 3))
