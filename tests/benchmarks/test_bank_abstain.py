"""benchmarks/bank_abstain.py divides by patient, and counts as others count."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score


@pytest.fixture
def bank_abstain(script):
    return script("bank_abstain")


@pytest.fixture
def pictures(script):
    return script("bank_abstain_pictures")


def test_auroc_is_that_of_scikit_learn_and_more_patients_make_it_surer(bank_abstain):
    numbers = np.random.default_rng(0)
    known, new = numbers.normal(0, 1, 60).round(1), numbers.normal(1, 1, 40).round(1)
    wide = bank_abstain.auroc(known, new, np.arange(100) // 10)
    narrow = bank_abstain.auroc(known, new, np.arange(100))
    expected = roc_auc_score(np.arange(100) >= 60, np.concatenate([known, new]))
    assert wide.value == narrow.value == pytest.approx(expected)
    for one in (wide, narrow):
        low, high = one.ci95
        assert low < one.value < high


def test_scores_of_films_in_the_bank_are_smallest(bank_abstain):
    numbers = np.random.default_rng(0)
    pooled = numbers.normal(size=(40, 6))
    films = bank_abstain.Asked(pooled, pooled, np.arange(40))
    far = bank_abstain.Asked(pooled + 9, pooled + 9, np.arange(40))
    findings = np.array(["normal", "pneumonia"] * 20)
    near, others = (bank_abstain.scores(films, findings, asked) for asked in (films, far))
    assert len(near) == 8
    for name, values in near.items():
        assert values.max() < others[name].min(), name


def test_halves_are_of_patients_and_about_as_large(pictures):
    fitted = [pictures.is_fitted(f"patient {number}") for number in range(1000)]
    assert 400 < sum(fitted) < 600
    assert pictures.is_fitted("patient 1") == fitted[1]


def test_screens_are_drawn_the_same_again(pictures, tmp_path):
    first, again = (list(pictures._screens(None)) for _ in range(2))
    assert len(first) == pictures.N_DRAWN
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.gray, other.gray)
    assert len({picture.patient for picture in first}) == pictures.N_DRAWN


def test_kinds_that_are_absent_are_left_out(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_ieee", lambda *_, **__: iter(()))
    monkeypatch.setattr(pictures, "_slices", lambda _: iter(()))
    kinds = pictures.read_kinds(tmp_path)
    assert "screens, drawn" in kinds
    assert "children" not in kinds
    assert "characters of Omniglot" not in kinds
