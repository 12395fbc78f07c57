"""A bank's calibration: from exemplars and from films kept apart, its file, its words, and what it refuses."""

import json

import numpy as np
import pytest
import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference.bank import Calibration, calibrate_on_films, calibrate_on_support, check_patients_apart
from fewshot_cxr.inference.bank.calibrating import columns_of
from fewshot_cxr.inference.bank.comparing import conformal_of
from fewshot_cxr.inference.bank.conformal import SUPPORT_RULES
from fewshot_cxr.inference.bank.promise import promise_of_support
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.inference.rules import RULES, TRANSDUCTIVE
from fewshot_cxr.metrics import class_probabilities, fit_temperature

FINDINGS = ("covid19", "normal", "pneumonia")
TODAY = "2026-11-29"


def films(n_patients, seed, n_films=1, findings=FINDINGS):
    """Return `n_films` of each of some patients, by finding."""
    draw = np.random.default_rng(seed)
    counts = n_patients if isinstance(n_patients, dict) else dict.fromkeys(findings, n_patients)
    names = [name for name, n in counts.items() for _ in range(n * n_films)]
    centres = 2 * np.eye(len(FINDINGS), 6)[[FINDINGS.index(name) for name in names]]
    patients = [f"{name} {at // n_films}" for name, n in counts.items() for at in range(n * n_films)]
    return Embeddings(centres + draw.normal(size=(len(names), 6)), names, patients)


DECIDER = Decider(films(10, 0))
QUERIES = films(5, 9).vectors


def p_values(made, decider, queries):
    by = made.p_values_by(decider.findings, conformal=lambda: conformal_of(decider))
    return by(queries, decider.distances(queries).numpy())


def on_support(decider=DECIDER, **options):
    return calibrate_on_support(decider, today=TODAY, **options)


def on_films(kept=None, decider=DECIDER, **options):
    return calibrate_on_films(decider, kept or films(12, 1), today=TODAY, **options)


@pytest.mark.parametrize("rule", SUPPORT_RULES)
def test_the_support_calibrates_itself(rule):
    decider = Decider(films(10, 0, n_films=2), rule=rule)
    made = on_support(decider)
    assert (made.basis, made.date, made.level, made.n_patients, made.pooled) == ("support", TODAY, 0.9, 30, ())
    assert made.patients == dict.fromkeys(FINDINGS, 10)
    assert made.films == dict.fromkeys(FINDINGS, 20)
    assert made.temperature == decider.temperature()
    np.testing.assert_array_equal(p_values(made, decider, QUERIES), conformal_of(decider).p_values(QUERIES, 9))


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in TRANSDUCTIVE])
def test_films_kept_apart_calibrate_every_rule_that_decides_films_singly(rule):
    decider, kept = Decider(films(10, 0), rule=rule), films(12, 1, n_films=2)
    made = on_films(kept, decider)
    found = decider.distances(kept.vectors)
    labels = torch.tensor([FINDINGS.index(kept.class_names[label]) for label in kept.class_ids])
    assert made.temperature == fit_temperature(found, labels, is_smoothed=True)
    worst = {}
    for label, patient, distances in zip(labels.tolist(), kept.patient_ids.tolist(), found.tolist(), strict=True):
        score = distances[label] - min(distances[:label] + distances[label + 1 :])
        worst[label, patient] = max(score, worst.get((label, patient), -np.inf))
    for label, name in enumerate(FINDINGS):
        own = sorted(score for (of, _), score in worst.items() if of == label)
        assert made.scores[name] == pytest.approx(own)
    assert (made.patients["normal"], made.films["normal"], made.n_patients, len(made.pooled)) == (12, 24, 36, 36)
    for query, row in zip(decider.distances(QUERIES).tolist(), p_values(made, decider, QUERIES).tolist(), strict=True):
        for label, name in enumerate(FINDINGS):
            score = query[label] - min(query[:label] + query[label + 1 :])
            n_as_strange = sum(other >= score - 1e-9 * max(map(abs, made.scores[name])) for other in made.scores[name])
            assert row[label] == pytest.approx((1 + n_as_strange) / 13)


def test_a_finding_of_few_patients_shares_the_threshold_of_all():
    made = on_films(films({"covid19": 5, "normal": 12, "pneumonia": 9}, 1))
    assert [made.has_own_threshold(name) for name in FINDINGS] == [False, True, True]
    assert [made.misses(name) for name in FINDINGS] == [(26, 2), (12, 1), (9, 1)]
    found = p_values(made, DECIDER, QUERIES)
    for column, n_patients in enumerate((26, 12, 9)):
        ranks = found[:, column] * (n_patients + 1)
        np.testing.assert_allclose(ranks, ranks.round())


def test_a_finding_without_films_kept_apart_shares_it_too():
    made = on_films(films(12, 1, findings=("normal", "pneumonia")))
    assert (made.patients["covid19"], made.films["covid19"], made.scores["covid19"]) == (0, 0, ())
    assert made.misses("covid19") == (24, 2)
    assert p_values(made, DECIDER, QUERIES).shape == (15, 3)


def test_sets_leave_out_what_is_as_rare_as_alpha_and_may_be_empty():
    made = on_films(films(9, 1))
    shares = np.array([[0.1, 0.2, 1.0], [0.1, 0.1, 0.1], [0.2, 0.2, 0.1]])
    assert made.sets(shares, FINDINGS) == [("normal", "pneumonia"), (), ("covid19", "normal")]
    assert made.sets(shares[:, ::-1], FINDINGS[::-1]) == [("pneumonia", "normal"), (), ("normal", "covid19")]


@pytest.mark.parametrize("rule", SUPPORT_RULES)
def test_no_films_have_no_p_values(rule):
    decider = Decider(films(10, 0), rule=rule)
    for made in (on_support(decider), on_films(decider=decider)):
        found = p_values(made, decider, QUERIES[:0])
        assert found.shape == (0, 3)
        assert made.sets(found, FINDINGS) == []


@pytest.mark.slow
@pytest.mark.parametrize("rule", SUPPORT_RULES)
def test_many_films_are_asked_in_blocks(rule, monkeypatch):
    made, decider = on_support(), Decider(films(10, 0), rule=rule)
    many = films(1000, 3).vectors
    plain = p_values(made, decider, many)
    monkeypatch.setattr("fewshot_cxr.inference.bank.conformal._MOST_AT_ONCE", 500)
    np.testing.assert_array_equal(p_values(made, decider, many[:90]), plain[:90])


def test_a_film_far_from_its_kind_fits_nowhere_or_everywhere_by_margins_alone():
    """The set says which findings a film resembles, not that it resembles any: that is for abstaining."""
    made = on_support()
    sets = made.sets(p_values(made, DECIDER, np.full((1, 6), 100, dtype=np.float32)), FINDINGS)
    assert sets == [FINDINGS]


def test_too_few_patients_leave_nothing_out():
    made = on_films(films(2, 1))
    assert made.sets(p_values(made, DECIDER, QUERIES), FINDINGS) == [FINDINGS] * 15
    # What is the same of several findings is said once.
    first = "covid19, normal, pneumonia: in every set, for 6 patients can leave nothing out."
    assert made.promise().splitlines()[0] == first


@pytest.mark.parametrize("make", [on_support, on_films])
def test_a_file_gives_it_back(make):
    made = make()
    again = Calibration.from_json(json.loads(json.dumps(made.to_json(), sort_keys=True)))
    assert again == made
    np.testing.assert_array_equal(p_values(again, DECIDER, QUERIES), p_values(made, DECIDER, QUERIES))


def test_neither_order_of_rows_nor_names_of_patients_matter():
    kept = films({"covid19": 5, "normal": 12, "pneumonia": 9}, 1, n_films=2)
    order = np.random.default_rng(0).permutation(len(kept))
    mixed, support = kept.take(order), films(10, 0).take(np.random.default_rng(1).permutation(30))
    renamed = Embeddings(mixed.vectors, mixed.class_ids, 1000 - mixed.patient_ids, mixed.class_names)
    plain, other = on_films(kept), on_films(renamed, Decider(support))
    assert other.patients == plain.patients
    assert other.pooled == pytest.approx(plain.pooled, rel=1e-5)
    np.testing.assert_array_equal(p_values(other, Decider(support), QUERIES), p_values(plain, DECIDER, QUERIES))


def test_probabilities_are_unknown_where_no_temperature_can_be_fitted():
    made = on_support(Decider(films(1, 0)))
    assert made.temperature is None
    assert made.probabilities(np.array([[1.0, 2.0, 3.0]])) is None
    made, distances = on_films(), DECIDER.distances(QUERIES)
    found = made.probabilities(distances.numpy())
    np.testing.assert_allclose(found, class_probabilities(distances, made.temperature), rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_promise_for_films_kept_apart():
    made = on_films(films({"covid19": 5, "normal": 24, "pneumonia": 9}, 1))
    assert made.promise().splitlines() == [
        "covid19: no promise of its own, for it has 5 patients and needs 9; it shares the threshold of all findings "
        "together: 92.3 % on average; with 38 patients between 82.3 and 98.3 % (95 %).",
        "normal: 92 % on average; with 24 patients between 78.9 and 99 % (95 %).",
        "pneumonia: 90 % on average; with 9 patients between 66.4 and 99.7 % (95 %).",
        'To say "at least 90 %, with 90 % confidence" it takes 22 patients of a finding: 17 more of covid19, '
        "13 more of pneumonia.",
    ]


def test_a_confidence_makes_sets_wider_and_is_promised_where_it_holds():
    kept = films(30, 1)
    plain, sure = on_films(kept), on_films(kept, confidence=0.9)
    assert (plain.misses("normal"), sure.misses("normal")) == ((30, 3), (30, 1))
    narrow, wide = (one.sets(p_values(one, DECIDER, QUERIES), FINDINGS) for one in (plain, sure))
    assert all(set(few) <= set(many) for few, many in zip(narrow, wide, strict=True))
    assert sum(map(len, narrow)) < sum(map(len, wide))
    assert plain.promise().splitlines()[-1] == (
        'There are patients enough to say "at least 90 %, with 90 % confidence": calibrate with confidence=0.9; the '
        "sets grow."
    )
    assert sure.promise().splitlines()[-1] == 'Of every finding it holds: "at least 90 %, with 90 % confidence".'


def test_a_promise_of_the_support_has_no_interval_of_its_own():
    decider = Decider(films({"covid19": 5, "normal": 24, "pneumonia": 9}, 0))
    covid19, normal, pneumonia, further = on_support(decider).promise().splitlines()
    assert covid19.startswith("covid19: no promise of its own, for it has 5 patients and needs 9; it shares")
    assert normal == (
        "normal: 92 % on average over banks; how far this one lies from it no theorem tells, but of simulated banks "
        "with 20 patients a finding 95 of 100 lay between 74.6 and 98.9 %."
    )
    assert pneumonia == "pneumonia: 90 % on average over banks; how far this one lies from it no theorem tells."
    assert further.endswith("calibrate on films kept apart, of 22 patients of a finding.")
    assert "simulated" not in on_support(decider, level=0.8).promise()


@pytest.mark.parametrize("choice", ["herding", "k_center", "medoids"])
def test_chosen_exemplars_do_not_calibrate_themselves(choice):
    with pytest.raises(
        ValueError, match=f"chosen by '{choice}' .* choose them by all or random, or calibrate on films"
    ):
        on_support(chosen_by=choice)


@pytest.mark.parametrize("rule", sorted(set(RULES) - set(SUPPORT_RULES)))
def test_rules_that_are_fitted_anew_do_not_calibrate_themselves(rule):
    with pytest.raises(
        ValueError, match=f"by {rule} exemplars cannot .* take mean_distance or prototype, or calibrate"
    ):
        on_support(Decider(films(10, 0), rule=rule))


@pytest.mark.parametrize("rule", sorted(TRANSDUCTIVE))
def test_rules_that_decide_films_together_are_refused(rule):
    with pytest.raises(ValueError, match=f"{rule} decides films together"):
        on_films(decider=Decider(films(10, 0), rule=rule))


def test_films_that_cannot_calibrate_are_refused():
    unknown = Embeddings(np.eye(2, 6), ["normal", "sars"])
    with pytest.raises(
        ValueError, match="^the bank lacks sars, of which there are films to calibrate on: add it first$"
    ):
        on_films(unknown)
    with pytest.raises(ValueError, match="^the bank lacks sars, of which there are labelled films: add it first$"):
        columns_of(("covid19", "normal"), unknown, "labelled films")
    with pytest.raises(ValueError, match="have 4 numbers, the exemplars 6: embed both with one encoder"):
        on_films(Embeddings(np.eye(4), ["normal"] * 4))
    with pytest.raises(ValueError, match="one finding each"):
        on_films(Embeddings(np.eye(2, 6), np.eye(2), class_names=["normal", "covid19"]))
    with pytest.raises(ValueError, match="3 of the films to calibrate on are exemplars, too"):
        on_films(films(10, 0).take([3, 5, 7]))
    with pytest.raises(ValueError, match="level must be above 0 and below 1"):
        on_films(level=90)
    with pytest.raises(ValueError, match="confidence must be above 0 and below 1"):
        on_films(confidence=1)


def test_a_patient_is_exemplar_or_calibrates():
    check_patients_apart(["a", "b"], ["c", "d"])
    with pytest.raises(ValueError, match="^1 patient has exemplars in the bank and films to calibrate on, too"):
        check_patients_apart(["a", "b", "b"], ["b", "b", "d"])
    with pytest.raises(ValueError, match="^2 patients have exemplars"):
        check_patients_apart("abc", "bcd")


def test_other_findings_are_refused():
    with pytest.raises(ValueError, match="made for the findings covid19, normal, pneumonia, these are .* anew"):
        p_values(on_films(), Decider(films(10, 0, findings=("normal", "covid19"))), QUERIES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"basis": "hope"}, "basis must be one of support, films, got 'hope'"),
        ({"date": "yesterday"}, "date must be YYYY-MM-DD, got 'yesterday'"),
        ({"level": 1.0}, "level must be above 0 and below 1"),
        ({"confidence": 2.0}, "confidence must be above 0 and below 1"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"temperature": float("inf")}, "temperature must be a finite number"),
        ({"n_patients": 3}, "a score of each patient"),
        ({"n_patients": "3"}, "n_patients must be a whole number"),
        ({"patients": {"covid19": 12, "normal": 12}}, "of the same findings"),
        ({"patients": {"covid19": 12, "normal": 12, "pneumonia": 11}}, "a score of each patient"),
        ({"films": {"covid19": 12, "normal": -1, "pneumonia": 12}}, "a score of each patient"),
        ({"films": {"covid19": 12, "normal": "many", "pneumonia": 12}}, "calibration.films, an item, must be a whole"),
        ({"scores": {"covid19": 1}}, "calibration.scores, an item, must be a list"),
        ({"pooled": [0.1, "b"]}, "calibration.pooled, an item, must be a finite number"),
        ({"further": 1}, "holds 'further', which this version does not know"),
    ],
)
def test_a_file_with_other_content_is_refused(change, message):
    with pytest.raises(ValueError, match=message) as found:
        Calibration.from_json(on_films().to_json() | change)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("value", [None, [], "calibration", {}])
def test_what_is_no_calibration_is_refused(value):
    with pytest.raises(ValueError, match="calibration"):
        Calibration.from_json(value)


def test_what_is_promised_of_two_new_findings_alike_is_said_once():
    counts = {"b: old": (30, 3, 20), "new": (30, 3, 5), "newer": (30, 3, 5)}
    old, both, _ = promise_of_support(counts, 9, 0.9, None).splitlines()
    assert old.startswith("b: old: 90.3 % on average over banks; how far")
    assert both.startswith("new, newer: no promise of its own, for it has 5 patients and needs 9; it shares")
