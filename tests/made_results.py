"""Result values made by hand, of two findings and of what may be absent; and a published table with its corrections."""

from dataclasses import fields, replace

from fewshot_cxr.evaluation.episodic.assemble import OVERLAP
from fewshot_cxr.evaluation.result import EpisodeFacts, Result
from fewshot_cxr.evaluation.scores import Calibration, OpenSet, Reliability, Replicates, Scores
from fewshot_cxr.metrics import Estimate, numbers_in

ESTIMATE = Estimate(0.8123, (0.805, 0.8199), (0.701, 0.8888))
NOT_ASKED = "the interval over patients was not asked for"
BEFORE = Reliability(
    Estimate(0.0712, (0.07, 0.0724), (0.05, 0.11)),
    Estimate(0.31, (0.3, 0.32), (0.25, 0.37)),
    1.0,
    ((0.4, 0.55, 0.5), (0.6, 0.95, 0.9)),
)
AFTER = replace(BEFORE, ece=Estimate(0.02, (0.01, 0.03), (0.005, 0.04)), temperature=0.5, basis="other films")
OPEN = OpenSet(
    {name: {"auroc": ESTIMATE, "fpr_at_95_tpr": ESTIMATE} for name in ("maximum_probability", "distance", "knn")},
    ((0.5, 0.1), (1.0, 0.3)),
    ESTIMATE,
    ("hernia",),
)
# Confusion matrices and macro F1 of a published comparison of three networks, on 60 test films per finding (covid19,
# lung opacity, normal, pneumonia).
PUBLISHED = {
    "vgg16": ([[59, 0, 0, 1], [0, 53, 7, 0], [0, 2, 58, 0], [0, 1, 0, 59]], 0.954),
    "resnet18": ([[58, 0, 1, 1], [1, 52, 7, 0], [0, 0, 60, 0], [0, 0, 0, 60]], 0.958),
    "densenet121": ([[59, 1, 0, 0], [0, 55, 5, 0], [0, 3, 57, 0], [0, 0, 1, 59]], 0.959),
}
# Precision, recall, F1 and one-vs-rest accuracy of each finding, which follow by hand: the publication swapped the
# first two and took the wrong true negatives for the last.
CORRECTED = {
    "vgg16": [
        (1.0000, 0.9833, 0.9916, 0.9958),
        (0.9464, 0.8833, 0.9138, 0.9583),
        (0.8923, 0.9667, 0.9280, 0.9625),
        (0.9833, 0.9833, 0.9833, 0.9917),
    ],
    "resnet18": [
        (0.9831, 0.9667, 0.9748, 0.9875),
        (1.0000, 0.8667, 0.9286, 0.9667),
        (0.8824, 1.0000, 0.9375, 0.9667),
        (0.9836, 1.0000, 0.9917, 0.9958),
    ],
    "densenet121": [
        (1.0000, 0.9833, 0.9916, 0.9958),
        (0.9322, 0.9167, 0.9244, 0.9625),
        (0.9048, 0.9500, 0.9268, 0.9625),
        (1.0000, 0.9833, 0.9916, 0.9958),
    ],
}


def made_scores(*findings):
    per_class = {name: dict.fromkeys(numbers_in("finding"), ESTIMATE) for name in findings}
    return Scores(dict.fromkeys(numbers_in("overall"), ESTIMATE), per_class)


def with_overall(scores, **numbers):
    return replace(scores, overall=scores.overall | numbers)


def made_result(*findings, **changes):
    """A result whose every number is ESTIMATE; nine of ten queries are right, the tenth is taken for the next."""
    n = len(findings)
    confusion = tuple(tuple(90.0 if p == t else 10.0 if p == (t + 1) % n else 0.0 for p in range(n)) for t in range(n))
    facts = EpisodeFacts(
        protocol={"name": "closed", "seen": [], "novel": [], "prevalence": "balanced"},
        n_way=n,
        n_shot=5,
        n_query=10,
        n_episodes=1000,
        n_patient_episodes=5000,
        seed=7,
        episodes_hash="ab12" * 16,
        episodes_per_second=20123.4,
        seconds={"episodes": 0.05},
    )
    result = Result(
        kind="episodes",
        scores=made_scores(*findings),
        episodes=facts,
        replicates=Replicates(),
        calibration=Calibration(BEFORE, None, "no films were named for it"),
        open_set_reason="no finding is left outside",
        confusion=confusion,
        findings=findings,
        rule="mean_distance",
        distance="euclidean",
        data_hash="cd34" * 16,
        n_films=1200,
        n_patients=300,
        baselines={"pixels": Estimate(0.625, (0.62, 0.63), (0.55, 0.7))},
        above_baselines={"pixels": Estimate(0.1873, (0.18, 0.19), (-0.02, 0.25))},
    )
    return changed(result, **changes)


def changed(result, **changes):
    """A result with other parts, or other facts of its episodes."""
    facts = {name: changes.pop(name) for name in list(changes) if name in {item.name for item in fields(EpisodeFacts)}}
    return replace(result, episodes=replace(result.episodes, **facts), **changes)


def without_patients(estimate):
    return replace(estimate, ci95_patients=None, reason=NOT_ASKED)


RESULT = made_result("normal", "effusion")
OVERLAPPING = changed(RESULT, protocol={"name": "closed", "allow_patient_overlap": True}, warnings=(OVERLAP, "beware"))
OPEN_RESULT = replace(RESULT, calibration=Calibration(BEFORE, AFTER), open_set=OPEN, open_set_reason=None)
GENERALIZED = changed(
    RESULT,
    protocol={"name": "generalized", "seen": ["normal"], "novel": ["effusion"], "prevalence": "balanced"},
    seen_and_novel=dict.fromkeys(("seen", "novel", "harmonic_mean"), ESTIMATE),
)
NO_PATIENTS = changed(
    RESULT,
    scores=Scores(
        dict.fromkeys(numbers_in("overall"), without_patients(ESTIMATE)),
        {name: dict.fromkeys(numbers_in("finding"), without_patients(ESTIMATE)) for name in RESULT.findings},
    ),
    n_patient_episodes=0,
)
MULTI_LABEL = replace(
    RESULT,
    scores=with_overall(RESULT.scores, accuracy=Estimate(None, reason="films may show several findings")),
    calibration=None,
    confusion=(),
    baselines={},
    above_baselines={},
)
