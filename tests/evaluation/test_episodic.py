import json

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes
from fewshot_cxr.evaluation import EpisodicResult, evaluate_episodes


def make_films(n=120, dim=6, n_classes=3, spread=1.5, seed=0):
    draw = np.random.default_rng(seed)
    class_ids = draw.integers(0, n_classes, n)
    return Embeddings(
        draw.normal(size=(n, dim)) + spread * np.eye(dim)[class_ids],
        class_ids,
        draw.integers(0, n // 2, n),
        class_names=[f"finding {c}" for c in range(n_classes)],
        paths=[f"{i}.png" for i in range(n)],
    )


def test_numbers_equal_a_slow_loop():
    films = make_films()
    result = evaluate_episodes(films, n_way=2, n_shot=3, n_query=4, n_episodes=50, rule="mean_distance", seed=2)
    block = Episodes.draw(films, n_way=2, n_shot=3, n_query=4, n_episodes=50, seed=2).block(0, 50)
    accuracies, recalls, confusion = [], {0: [], 1: [], 2: []}, np.zeros((3, 3))
    for e in range(50):
        hits = {}
        for way, class_id in enumerate(block.class_ids[e]):
            for query in block.query[e, way]:
                means = [
                    np.mean([np.linalg.norm(films.vectors[query] - films.vectors[s]) for s in block.support[e, other]])
                    for other in range(2)
                ]
                decided = block.class_ids[e][int(np.argmin(means))]
                confusion[class_id, decided] += 1
                hits.setdefault(int(class_id), []).append(decided == class_id)
        accuracies.append(np.mean([hit for row in hits.values() for hit in row]))
        for class_id, row in hits.items():
            recalls[class_id].append(np.mean(row))
    assert result.accuracy.mean == pytest.approx(np.mean(accuracies))
    half = 2.0096 * np.std(accuracies, ddof=1) / 50**0.5
    low, high = result.accuracy.ci95_episodes
    assert (high - low) / 2 == pytest.approx(half, rel=1e-3)
    assert np.array_equal(result.confusion, confusion)
    for class_id, row in recalls.items():
        assert result.per_class_recall[f"finding {class_id}"].mean == pytest.approx(np.mean(row))


def test_identical_films_are_all_ties_and_score_chance():
    films = make_films()
    same = Embeddings(
        np.ones((len(films), 2)), films.class_ids, films.patient_ids, films.class_names, paths=films.paths
    )
    result = evaluate_episodes(same, n_shot=2, n_query=3, n_episodes=20)
    assert result.accuracy.mean == pytest.approx(1 / 3)


def test_the_interval_narrows_with_episodes_and_the_floor_meets_the_same_ones():
    films = make_films()
    few, many = (evaluate_episodes(films, n_shot=2, n_query=3, n_episodes=n, floor=films) for n in (100, 1600))
    widths = [r.accuracy.ci95_episodes[1] - r.accuracy.ci95_episodes[0] for r in (few, many)]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)
    prototype = evaluate_episodes(films, n_shot=2, n_query=3, n_episodes=100, rule="prototype")
    assert few.floor["pixels"] == prototype.accuracy


def test_scale_row_order_and_patient_names_change_no_number():
    films = make_films()
    order = np.random.default_rng(1).permutation(len(films))
    moved = Embeddings(
        3 * films.vectors[order],
        films.class_ids[order],
        [f"p{films.patient_ids[row]}" for row in order],
        films.class_names,
        paths=[films.paths[row] for row in order],
    )
    first, second = (evaluate_episodes(some, n_shot=2, n_query=3, n_episodes=60) for some in (films, moved))
    assert first.accuracy == second.accuracy
    assert first.confusion == second.confusion
    assert first.episodes_hash == second.episodes_hash


def test_progress_ends_at_the_end_and_json_rebuilds_the_result():
    calls = []
    result = evaluate_episodes(make_films(), n_episodes=50, progress=lambda *done: calls.append(done))
    assert calls[-1] == (50, 50)
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert EpisodicResult.from_json(plain) == result
    assert {"mean", "ci95_episodes"} <= plain["accuracy"].keys()


def test_wrong_use_is_refused():
    films = make_films()
    with pytest.raises(ValueError, match=r"unknown rule 'prototypes' \(did you mean 'prototype'\?\)"):
        evaluate_episodes(films, rule="prototypes")
    with pytest.raises(ValueError, match="unknown distance 'cosin'"):
        evaluate_episodes(films, distance="cosin")
    with pytest.raises(ValueError, match="n_way is 4, but only 3 findings"):
        evaluate_episodes(films, n_way=4)
    with pytest.raises(ValueError, match="floor must hold the same films in the same order"):
        evaluate_episodes(films, floor=make_films(seed=1))
