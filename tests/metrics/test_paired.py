import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fewshot_cxr.metrics import delong, mcnemar


def drawn(seed, n=60, levels=None):
    """Two related scores of n films, and which are positive."""
    draw = np.random.default_rng(seed)
    is_positive = draw.permutation(n) < n // 3
    shared = draw.normal(size=n) + is_positive
    scores = [shared + draw.normal(size=n) for _ in range(2)]
    return [np.round(levels * each) if levels else each for each in scores], is_positive


def wins(scores, is_positive):
    """Table of positive against negative films: 1 won, 1/2 tied, 0 lost."""
    gaps = scores[is_positive][:, None] - scores[~is_positive][None]
    return (np.sign(gaps) + 1) / 2


def slow_variance(a, b, is_positive, clusters):
    """DeLong 1988, and Obuchowski 1997 where patients have several films, written out."""
    gain = wins(a, is_positive) - wins(b, is_positive)
    m, n = gain.shape
    parts = {True: gain.mean(1) - gain.mean(), False: gain.mean(0) - gain.mean()}
    names = sorted(set(clusters))
    sums = {side: [sum(parts[side][clusters[is_positive == side] == c]) for c in names] for side in parts}
    held = {side: len(set(clusters[is_positive == side])) for side in parts}
    s10 = held[True] / ((held[True] - 1) * m) * sum(s * s for s in sums[True])
    s01 = held[False] / ((held[False] - 1) * n) * sum(s * s for s in sums[False])
    s11 = len(names) / (len(names) - 1) * sum(x * y for x, y in zip(sums[True], sums[False], strict=True))
    return s10 / m + s01 / n + 2 * s11 / (m * n)


@pytest.mark.parametrize("levels", [None, 1])
@pytest.mark.parametrize("seed", range(5))
def test_delong_is_the_slow_one(seed, levels):
    (a, b), is_positive = drawn(seed, levels=levels)
    got = delong(a, b, is_positive)
    assert got.auroc_a == pytest.approx(roc_auc_score(is_positive, a), abs=1e-12)
    assert got.auroc_b == pytest.approx(roc_auc_score(is_positive, b), abs=1e-12)
    gain = wins(a, is_positive) - wins(b, is_positive)
    expected = gain.mean(1).var(ddof=1) / gain.shape[0] + gain.mean(0).var(ddof=1) / gain.shape[1]
    assert got.variance == pytest.approx(expected, rel=1e-10)
    assert got.difference == got.auroc_a - got.auroc_b
    np.testing.assert_allclose(got.ci95, stats.norm.interval(0.95, got.difference, expected**0.5), atol=1e-12)
    assert got.p_value == pytest.approx(stats.chi2.sf(got.difference**2 / expected, 1), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_delong_with_patients_is_the_slow_one(seed):
    (a, b), is_positive = drawn(seed, levels=2)
    clusters = np.random.default_rng(seed).integers(0, 25, len(a))
    got = delong(a, b, is_positive, clusters=clusters)
    assert got.variance == pytest.approx(slow_variance(a, b, is_positive, clusters), rel=1e-10)
    plain = delong(a, b, is_positive)
    assert (got.auroc_a, got.auroc_b) == (plain.auroc_a, plain.auroc_b)
    assert delong(a, b, is_positive, clusters=100 - 3 * clusters).variance == pytest.approx(got.variance)


def test_one_film_per_patient_changes_nothing_in_delong():
    (a, b), is_positive = drawn(0)
    clusters = np.random.default_rng(0).permutation(1000)[: len(a)]
    assert delong(a, b, is_positive, clusters=clusters).variance == pytest.approx(delong(a, b, is_positive).variance)


def test_copies_of_films_tell_nothing_new_where_patients_are_known():
    (a, b), is_positive = drawn(3, n=300)
    twice = [np.repeat(column, 2) for column in (a, b, is_positive)]
    plain = delong(a, b, is_positive)
    assert delong(*twice, clusters=np.arange(600) // 2).p_value == pytest.approx(plain.p_value, rel=1e-9)
    assert delong(*twice).variance == pytest.approx(plain.variance / 2, rel=0.02)


def test_delong_of_equal_scores_and_of_scores_without_spread():
    (a, _), is_positive = drawn(0)
    same = delong(a, 3 * a, is_positive)
    assert (same.difference, same.variance, same.ci95, same.p_value) == (0, 0, (0, 0), 1)
    perfect = delong(is_positive, np.zeros(60), is_positive)
    assert (perfect.auroc_a, perfect.auroc_b, perfect.variance) == (1, 0.5, 0)
    assert perfect.ci95 is perfect.p_value is None


def test_delong_refuses_what_it_cannot_judge():
    with pytest.raises(ValueError, match=r"^delong needs two independent positive films or more, got 1: report no"):
        delong(np.arange(4), np.arange(4), np.array([1, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"^delong needs two independent negative films or more, got 1: report no"):
        delong(np.arange(4), np.arange(4), np.array([1, 1, 0, 0]), clusters=np.array([0, 1, 2, 2]))
    with pytest.raises(ValueError, match=r"^scores must be numbers, got NaN"):
        delong(np.array([0, np.nan, 1, 1]), np.arange(4), np.array([1, 1, 0, 0]))
    with pytest.raises(ValueError, match=r"^each column must have one value per film, got the shapes \[\(3,\), \(4,\)"):
        delong(np.arange(3), np.arange(4), np.array([1, 1, 0, 0]))
    with pytest.raises(ValueError, match=r"got the shapes \[\(4,\), \(4,\), \(4,\), \(3,\)\]"):
        delong(np.arange(4), np.arange(4), np.array([1, 1, 0, 0]), clusters=np.arange(3))


def judged(only_first, only_second, both=20, neither=7):
    first = np.repeat([1, 0, 1, 0], [only_first, only_second, both, neither])
    second = np.repeat([0, 1, 1, 0], [only_first, only_second, both, neither])
    return first.astype(bool), second.astype(bool)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (3, 11), (40, 40), (90, 60)])
def test_mcnemar_is_the_exact_binomial(only_first, only_second):
    got = mcnemar(*judged(only_first, only_second))
    assert (got.only_first, got.only_second) == (only_first, only_second)
    n = only_first + only_second
    assert got.p_value == pytest.approx(stats.binomtest(only_second, n).pvalue if n else 1)


@pytest.mark.parametrize(("only_first", "only_second"), [(3, 11), (40, 40), (90, 60)])
def test_one_film_per_patient_gives_the_chi_squared_of_mcnemar(only_first, only_second):
    first, second = judged(only_first, only_second)
    n = len(first)
    got = mcnemar(first, second, clusters=np.random.default_rng(0).permutation(n))
    squared = (only_first - only_second) ** 2 / (only_first + only_second) * (n - 1) / n
    assert got.p_value == pytest.approx(stats.chi2.sf(squared, 1))
    assert got.p_value == pytest.approx(mcnemar(first, second).p_value, abs=0.1)


def test_mcnemar_counts_patients_and_not_their_copies():
    first, second = judged(30, 12, both=100)
    clusters = np.arange(len(first))
    once = mcnemar(first, second, clusters=clusters)
    thrice = mcnemar(np.tile(first, 3), np.tile(second, 3), clusters=np.tile(clusters, 3))
    assert thrice.p_value == pytest.approx(once.p_value)
    assert thrice.only_first == 90
    assert mcnemar(np.tile(first, 3), np.tile(second, 3)).p_value < once.p_value / 100


@pytest.mark.parametrize("unknown", [None, float("nan"), ""])
def test_each_unknown_patient_is_one_of_its_own(unknown):
    (a, b), is_positive = drawn(0)
    own, ids = [*range(20), *range(100, 140)], [*range(20), *([unknown] * 40)]
    assert mcnemar(a > 0, b > 0, clusters=ids) == mcnemar(a > 0, b > 0, clusters=np.array(own))
    assert delong(a, b, is_positive, clusters=ids) == delong(a, b, is_positive, clusters=np.array(own))


def test_mcnemar_where_patients_cancel_and_where_there_is_one():
    first, second = np.array([1, 0, 1, 0]), np.array([0, 1, 0, 1])
    assert mcnemar(first, second, clusters=np.array([0, 0, 1, 1])).p_value == 1
    with pytest.raises(ValueError, match=r"^clusters must hold two patients or more, got 1: report no p-value$"):
        mcnemar(first, second, clusters=np.zeros(4, dtype=int))
    with pytest.raises(ValueError, match=r"^each column must have one value per film, got the shapes \[\(4,\), \(3,\)"):
        mcnemar(first, second[:3])
