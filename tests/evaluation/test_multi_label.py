import json

import numpy as np
import pytest
from made_films import change, make_multi_label
from sklearn import metrics

from fewshot_cxr.evaluation import Result, evaluate_episodes, evaluate_plan, plan_episodes
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.evaluation.episodic.multi_label import MultiLabelScorer

FEW = {"n_shot": 3, "n_query": 4, "n_episodes": 20}


def slow_findings(films, episodes):
    """Yield (class_id, truth, decided present, score) of each finding of each episode, over films that state it."""
    vectors = films.vectors.astype(float)
    for block in episodes.blocks():
        for number in range(len(block)):
            support, query = (
                {row for row in side[number].ravel() if row >= 0} for side in (block.support, block.query)
            )
            for class_id in block.class_ids[number]:
                sides = [[row for row in support if films.class_ids[row, class_id] == value] for value in (0, 1)]
                asked = [row for row in query if not np.isnan(films.class_ids[row, class_id])]
                if not all(sides) or not asked:
                    continue
                means = np.array(
                    [[np.linalg.norm(vectors[own] - vectors[row], axis=1).mean() for own in sides] for row in asked]
                )
                truth = films.class_ids[asked, class_id].astype(int)
                yield class_id, truth, (means[:, 1] < means[:, 0]).astype(int), means[:, 0] - means[:, 1]


@pytest.mark.parametrize("n_way", [2, 4])
def test_numbers_equal_scikit_learn_one_finding_at_a_time(n_way):
    films = make_multi_label()
    plan = plan_episodes(films, n_way=n_way, **FEW)
    result = evaluate_plan(films, plan, patient_interval=False, device="cpu")
    cells = np.zeros((4, 2, 2))
    ranked = {"auroc": [[] for _ in range(4)], "auprc": [[] for _ in range(4)]}
    for class_id, truth, decided, score in slow_findings(films, plan.episodes):
        cells[class_id] += metrics.confusion_matrix(truth, decided, labels=[0, 1]) / len(truth)
        if 0 < truth.sum() < len(truth):
            ranked["auroc"][class_id].append(metrics.roc_auc_score(truth, score))
            ranked["auprc"][class_id].append(metrics.average_precision_score(truth, score))
    sensitivity, specificity = cells[:, 1, 1] / cells[:, 1].sum(axis=1), cells[:, 0, 0] / cells[:, 0].sum(axis=1)
    f1 = 2 * cells[:, 1, 1] / (2 * cells[:, 1, 1] + cells[:, 0, 1] + cells[:, 1, 0])
    each = {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": cells[:, 1, 1] / cells[:, :, 1].sum(axis=1),
        "npv": cells[:, 0, 0] / cells[:, :, 0].sum(axis=1),
        "f1": f1,
        **{name: np.array([np.mean(row) for row in rows]) for name, rows in ranked.items()},
    }
    for class_id, finding in enumerate(films.class_names):
        for name, values in each.items():
            assert result.scores.per_class[finding][name].mean == pytest.approx(values[class_id], abs=1e-6), name
    assert result.scores.balanced_accuracy.mean == pytest.approx(((sensitivity + specificity) / 2).mean(), abs=1e-6)
    assert result.scores.macro_f1.mean == pytest.approx(f1.mean(), abs=1e-6)
    for name in ranked:
        assert getattr(result.scores, name).mean == pytest.approx(each[name].mean(), abs=1e-6)


def test_result_says_what_is_not_defined_and_survives_json():
    films = make_multi_label()
    result = evaluate_plan(films, plan_episodes(films, **FEW), n_patient_episodes=400, device="cpu")
    assert result.accuracy.mean is None
    assert result.accuracy.reason == "films may show several findings: only one-vs-rest numbers are defined"
    assert result.open_set_reason == result.accuracy.reason
    assert result.calibration is None
    assert result.confusion == ()
    low, high = result.scores.auroc.ci95
    assert low < result.scores.auroc.mean < high
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert Result.from_json(plain) == result


def test_films_that_state_nothing_are_left_out_for_that_finding():
    films = make_multi_label()
    stated = films.class_ids.copy()
    stated[stated[:, 0] == 0, 0] = np.nan  # absence of finding 0 is never stated
    result = evaluate_episodes(change(films, class_ids=stated), patient_interval=False, device="cpu", **FEW)
    assert result.scores.per_class.keys() == {"finding 1", "finding 2", "finding 3"}
    assert result.scores.auroc.mean is not None
    json.dumps(result.to_json(), allow_nan=False)


def test_what_needs_one_finding_per_film_is_refused():
    films = make_multi_label()
    with pytest.raises(ValueError, match="baselines need films of one finding each.*leave baselines out"):
        evaluate_episodes(films, baselines=films, **FEW)
    with pytest.raises(ValueError, match="calibration needs one finding per film.*leave calibrate out"):
        evaluate_episodes(films, calibrate=films, **FEW)


def test_judge_leaves_findings_outside_the_episode_empty():
    films = make_multi_label()
    episodes = plan_episodes(films, n_way=2, **FEW).episodes
    block = episodes.block(0, 5)
    rows = MultiLabelScorer(FilmRule(films, rule="prototype", distance="euclidean"))(block).rows.reshape(5, 4, -1)
    for number in range(5):
        filled = np.flatnonzero(rows[number].numpy().any(axis=1))
        np.testing.assert_array_equal(filled, block.class_ids[number])
        np.testing.assert_allclose(rows[number, filled, :4].sum(dim=1), 1)
