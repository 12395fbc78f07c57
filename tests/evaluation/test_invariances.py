import numpy as np
import pytest
from made_films import change, make_films

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import evaluate_episodes, evaluate_plan, plan_episodes

FEW = {"n_way": 2, "n_shot": 2, "n_query": 3, "n_episodes": 60, "device": "cpu"}
KINDS = {
    "drawn": FEW,
    "folds": {"protocol": "fixed_support", "device": "cpu"},
    "cross_source": {**FEW, "protocol": "cross_source", "support_source": "A"},
}


def without_time(result):
    return {name: value for name, value in result.to_json().items() if "second" not in name}


def sourced(films):
    return change(films, sources=["A" if row % 2 else "B" for row in range(len(films))])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_row_order_and_names_of_patients_change_nothing_at_all(kind):
    films = sourced(make_films(20, n_mixed=3))
    order = np.random.default_rng(1).permutation(len(films))
    names = [f"patient {films.patient_ids[row] * 7 % 1009}" for row in order]
    moved = change(films, order, patient_ids=names)
    floors = [{"baselines": change(some, vectors=some.vectors[:, :2])} for some in (films, moved)]
    others = make_films(20, seed=5)
    first, second = (
        evaluate_episodes(some, **floor, **({} if kind == "cross_source" else {"calibrate": others}), **KINDS[kind])
        for some, floor in zip((films, moved), floors, strict=True)
    )
    assert without_time(first) == without_time(second)


def test_patients_may_be_texts_or_numbers():
    films = make_films(20)
    named = change(films, patient_ids=[str(patient) for patient in films.patient_ids])
    gaps = change(films, patient_ids=films.patient_ids * 10 - 3)
    first, *others = (without_time(evaluate_episodes(some, **FEW)) for some in (films, named, gaps))
    assert others == [first, first]


def test_findings_may_go_by_any_label():
    films = make_films(20)
    labels = [[3, 7, "x"][class_id] for class_id in films.class_ids]
    odd = Embeddings(films.vectors, labels, films.patient_ids, paths=films.paths)
    result = evaluate_episodes(odd, **FEW)
    assert result.findings == ("3", "7", "x")
    assert set(result.scores.per_class) == {"3", "7", "x"}


def test_renaming_findings_changes_draws_but_no_number_beyond_chance():
    films = make_films(20)
    renamed = change(films, class_names=["zebra", "apple", "moth"])
    asked = {**FEW, "n_episodes": 4000}
    first, second = (evaluate_episodes(some, patient_interval=False, **asked) for some in (films, renamed))
    assert first.asked.episodes_hash != second.asked.episodes_hash
    for name in ("accuracy", "macro_f1", "mcc", "auroc", "auprc"):
        one, other = (getattr(result.scores, name) for result in (first, second))
        width = np.diff(one.ci95_episodes)[0]
        assert 0 < abs(one.mean - other.mean) < width, name
    recall = [
        result.scores.per_class[name]["sensitivity"].mean for result, name in ((first, "finding 0"), (second, "zebra"))
    ]
    assert recall[0] == pytest.approx(recall[1], abs=0.02)


@pytest.mark.parametrize("rule", ["mean_distance", "prototype", "nearest"])
def test_cosine_knows_no_scale(rule):
    films = make_films(20)
    lengths = np.random.default_rng(0).choice([0.25, 1.0, 8.0], size=(len(films), 1))
    scaled = change(films, vectors=films.vectors * (lengths if rule != "prototype" else 8.0))
    first, second = (evaluate_episodes(some, rule=rule, distance="cosine", **FEW) for some in (films, scaled))
    assert second.accuracy.mean == pytest.approx(first.accuracy.mean, abs=1e-6)
    assert second.scores.auroc.mean == pytest.approx(first.scores.auroc.mean, abs=1e-4)
    assert second.accuracy.ci95 == pytest.approx(first.accuracy.ci95, abs=1e-4)


def test_euclidean_decisions_know_no_scale_nor_place():
    films = make_films(20)
    moved = change(films, vectors=4 * films.vectors + 16)
    first, second = (evaluate_episodes(some, patient_interval=False, **FEW) for some in (films, moved))
    np.testing.assert_allclose(second.confusion, first.confusion, atol=1)


def test_more_episodes_narrow_one_interval_and_not_the_other():
    films = make_films(20)
    few, many = (
        evaluate_plan(films, plan_episodes(films, n_shot=2, n_query=3, n_episodes=n), device="cpu") for n in (500, 8000)
    )
    for name in ("accuracy", "macro_f1", "auroc"):
        first, second = getattr(few.scores, name), getattr(many.scores, name)
        assert np.diff(first.ci95_episodes) / np.diff(second.ci95_episodes) == pytest.approx(4, rel=0.15), name
        assert np.diff(first.ci95_patients) / np.diff(second.ci95_patients) == pytest.approx(1, rel=0.15), name
    assert few.asked.n_patient_episodes == many.asked.n_patient_episodes


def test_the_same_seed_gives_the_same_and_another_seed_other_episodes():
    films = make_films(20)
    first, again, other = (evaluate_episodes(films, seed=seed, **FEW) for seed in (1, 1, 2))
    assert without_time(first) == without_time(again)
    assert first.asked.episodes_hash != other.asked.episodes_hash
    assert first.data_hash == other.data_hash
