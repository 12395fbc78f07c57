import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import Answers, evaluate_closed_set, evaluate_multi_label, sources_apart


def films_of(counts):
    """Films of {finding: {source: how many}}."""
    pairs = [(name, source) for name, row in counts.items() for source, n in row.items() for _ in range(n)]
    findings, sources = zip(*pairs, strict=True)
    return Embeddings(np.zeros((len(pairs), 1)), findings, sources=sources)


def test_a_hospital_of_one_finding_alone_is_named_where_others_share_sources():
    told = sources_apart(films_of({"covid19": {"A": 20, "B": 30}, "normal": {"A": 60}, "pneumonia": {"A": 60}}))
    assert "B has covid19 alone (30 patients)" in told
    assert "Cramer's V 0.7" in told
    assert "over 170 patients" in told


def test_an_association_is_told_where_every_finding_shares_every_source():
    told = sources_apart(films_of({"covid19": {"A": 99, "B": 1}, "normal": {"A": 1, "B": 82}}))
    assert told == (
        "finding and source are confounded: Cramer's V 0.98 over 183 patients, of which 0.3 is much; a high accuracy "
        "may tell sources apart, not findings"
    )
    assert sources_apart(films_of({"covid19": {"A": 50, "B": 40}, "normal": {"A": 45, "B": 50}})) == ""


def test_few_films_of_a_source_are_of_one_finding_by_chance():
    assert sources_apart(films_of({"covid19": {"A": 50, "B": 50, "C": 2}, "normal": {"A": 50, "B": 50}})) == ""
    assert sources_apart(films_of({"covid19": {"": 50}, "normal": {"": 50}})) == ""


def test_films_without_a_source_are_a_source_beside_named_ones():
    told = sources_apart(films_of({"covid19": {"A": 9}, "normal": {"": 9}}), "in the support")
    assert told.startswith(
        "finding and source are confounded in the support: covid19 only from A, normal only from films"
    )


def closed(truth, said):
    return Answers(
        findings=("a", "b"), truth=truth, probabilities=np.eye(2)[said], paths=[f"{n}.png" for n in range(len(truth))]
    )


def test_a_set_without_negatives_is_told():
    words = "every film shows a: its PPV is 100 % whatever is answered"
    assert [words in told for told in evaluate_closed_set(closed([0] * 9, [0] * 8 + [1])).warnings].count(True) == 1
    assert not any(words in told for told in evaluate_closed_set(closed([0] * 8 + [1], [0] * 9)).warnings)
    table = np.stack([np.ones(9), np.arange(9) % 2], axis=1)
    several = evaluate_multi_label(("a", "b"), 0.5 * table, table, None, [f"{n}.png" for n in range(9)])
    assert [words in told for told in several.warnings].count(True) == 1


def test_always_the_commonest_and_guessing_stand_beside_every_closed_set():
    truth = [0] * 30 + [1] * 10
    result = evaluate_closed_set(closed(truth, [0] * 40))
    assert {name: one.mean for name, one in result.baselines.items()} == {"majority": 0.75, "chance": 0.5}
    assert {name: one.mean for name, one in result.balanced_baselines.items()} == {"majority": 0.5, "chance": 0.5}
    assert result.above_baselines["majority"].mean == pytest.approx(0)
    told = [words for words in result.warnings if "not shown to be above" in words]
    assert [words.partition(" (")[0] for words in told] == [
        "accuracy is not shown to be above what always the commonest finding alone would reach",
        "balanced accuracy is not shown to be above what guessing alone would reach",
    ]
    assert result.to_json()["floor_balanced"]["chance"]["mean"] == 0.5
    assert type(result).from_json(result.to_json()) == result


def test_films_of_one_patient_count_once():
    counts = {"covid19": {"A": 9, "B": 1}, "normal": {"A": 5, "B": 5}}
    films = films_of({name: {source: 20 * n for source, n in row.items()} for name, row in counts.items()})
    assert "Cramer's V" in sources_apart(films)
    patients = np.arange(len(films)) // 20
    one = Embeddings(films.vectors, films.class_ids, patients, films.class_names, sources=films.sources)
    assert sources_apart(one) == ""
