"""benchmarks/new_disease.py teaches no new finding, and tells of a mean no more than its splits do."""

from itertools import pairwise

import numpy as np
import pytest

from fewshot_cxr.metrics import Estimate
from fewshot_cxr.records import Record, Records


@pytest.fixture
def new_disease(script):
    return script("new_disease")


@pytest.fixture
def films(new_disease, tmp_path):
    findings = ("normal", "pneumonia", "covid19")
    records = [
        Record(f"{row}.png", (findings[row % 3],), patient_id=f"p{row // 6}", source="one" if row % 3 else "other")
        for row in range(360)
    ]
    return new_disease.Films(Records(tuple(records), tmp_path), None)


def test_nothing_learns_from_the_new_finding_or_from_a_patient_who_is_asked(new_disease, films):
    rows = new_disease.rows_of(films, seed=3)
    for name, of in new_disease.LEARNT.items():
        assert set(films.findings[rows[name]]) == set(new_disease.KNOWN)
        assert set(rows[name]) < set(rows[of])
    patients = [{films.records[row].patient_id for row in rows[part]} for part in ("train", "val", "test")]
    assert not any(one & other for one, other in pairwise([*patients, patients[0]]))


def test_fewer_axes_keep_all_distances(new_disease, films):
    rows = np.arange(0, 360, 9)
    vectors = np.random.default_rng(0).normal(size=(360, 500)).astype(np.float32)
    narrow = new_disease.facts_of(films, new_disease.View(vectors), rows).vectors
    assert narrow.shape == (40, 40)
    assert np.allclose(narrow @ narrow.T, vectors[rows] @ vectors[rows].T, atol=1e-3)


def test_a_mean_over_splits_is_as_unsure_as_they_are(new_disease):
    splits = [Estimate(0.8, ci95_patients=(0.7, 0.88)), Estimate(0.6, ci95_patients=(0.5, 0.72))]
    mean = new_disease.mean(splits)
    assert new_disease.share(mean) == "70.0 (60.0 to 80.0)"
    assert new_disease.share(mean, "+") == "+70.0 (+60.0 to +80.0)"
    assert new_disease.share(new_disease.mean([*splits, Estimate(0.7)])) == "70.0"
