"""Two other libraries agree where they apply: with one film a patient, for they know no patients."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference.bank import calibrate_on_films
from fewshot_cxr.inference.bank.comparing import conformal_of
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.metrics import margins

FINDINGS = ("covid19", "normal", "pneumonia")


def films(n_patients, seed, findings=FINDINGS):
    draw = np.random.default_rng(seed)
    names = [name for name in findings for _ in range(n_patients)]
    centres = 1.5 * np.eye(len(FINDINGS), 6)[[FINDINGS.index(name) for name in names]]
    return Embeddings(centres + draw.normal(size=(len(names), 6)), names)


def p_values(made, decider, asked):
    by = made.p_values_by(decider.findings, conformal=lambda: conformal_of(decider))
    return by(asked.vectors, decider.distances(asked.vectors).numpy())


@pytest.mark.parametrize("rule", ["mean_distance", "knn"])  # of knn many scores tie
def test_p_values_are_those_of_crepes(rule):
    crepes = pytest.importorskip("crepes", reason="needs fewshot_cxr[dev]")
    decider, kept, asked = Decider(films(8, 0), rule=rule), films(12, 1), films(30, 2)
    found = p_values(calibrate_on_films(decider, kept), decider, asked)
    scores = -margins(decider.distances(kept.vectors)).numpy()[np.arange(len(kept)), kept.class_ids]
    other = crepes.ConformalClassifier().fit(scores, bins=kept.class_ids)
    of_asked = -margins(decider.distances(asked.vectors)).numpy()
    for label in range(len(FINDINGS)):
        bins = np.full(len(asked), label)
        expected = other.predict_p(of_asked[:, [label]], bins=bins, smoothing=False)[:, 0]
        np.testing.assert_allclose(found[:, label], expected)


class Told(ClassifierMixin, BaseEstimator):
    """A classifier whose films are their own probabilities."""

    def fit(self, films, labels):
        self.classes_ = np.unique(labels)
        return self

    def predict_proba(self, films):
        return films

    def predict(self, films):
        return films.argmax(axis=1)


@pytest.mark.parametrize(("n_patients", "level"), [(8, 0.9), (18, 0.95), (3, 0.8), (6, 0.9)])
def test_sets_are_those_of_mapie(n_patients, level):
    """Of two findings the least ambiguous classifier orders films as margins do; its threshold is that of all films."""
    classification = pytest.importorskip("mapie.classification", reason="needs fewshot_cxr[dev]")
    two = FINDINGS[:2]
    decider, kept, asked = Decider(films(8, 0, two)), films(n_patients, 1, two), films(100, 2, two)
    made = calibrate_on_films(decider, kept, level=level)
    assert not any(made.has_own_threshold(name) for name in two)
    found = made.sets(p_values(made, decider, asked), two)
    known, new = (made.probabilities(decider.distances(one.vectors).numpy()) for one in (kept, asked))
    told = Told().fit(known, kept.class_ids)
    other = classification.SplitConformalClassifier(told, confidence_level=level, conformity_score="lac", prefit=True)
    expected = other.conformalize(known, kept.class_ids).predict_set(new)[1][:, :, 0]
    assert found == [tuple(name for name, fits in zip(two, row, strict=True) if fits) for row in expected]
    assert min(map(len, found)) < 2
