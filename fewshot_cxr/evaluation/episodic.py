"""Episodes on cached embeddings: each film was embedded once, an episode is indexing and arithmetic."""

from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch

from fewshot_cxr._checks import lookup
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodeBlock, Episodes
from fewshot_cxr.evaluation.results import EpisodicResult, Estimate
from fewshot_cxr.inference.rules import RULES, Rule
from fewshot_cxr.metrics import RunningMean, confusion_counts, tie_credits

Progress = Callable[[int, int], None]


def evaluate_episodes(
    embeddings: Embeddings,
    *,
    n_way: int | None = None,
    n_shot: int = 5,
    n_query: int = 15,
    n_episodes: int = 1000,
    rule: str = "mean_distance",
    distance: str = "euclidean",
    seed: int = 0,
    floor: Embeddings | None = None,
    progress: Progress | None = None,
) -> EpisodicResult:
    """Classify the queries of many few-shot episodes and average.

    Args:
        embeddings: one row per film, with findings and patients (`embed` makes them).
        n_way: classes in an episode; None: all. n_shot, n_query: films per class; no patient is on both sides.
        n_episodes: how many; the result's interval over episodes shrinks with it.
        rule: a name in RULES.
        distance: a name in DISTANCES; use the one of the training.
        seed: of the episodes.
        floor: other embeddings of the SAME films in the same order (pixels, say), classified by nearest centroid
            (the rule `prototype`, euclidean) in the same episodes.
        progress: called with (episodes done, n_episodes).

    Returns:
        Accuracy, recall per finding and confusion over the same episodes, with intervals over episodes.

    Raises:
        ValueError: unknown rule or distance; more ways than findings; a class too small (it is named).
    """
    judge_rule = lookup(RULES, rule, what="rule")
    episodes = Episodes.draw(embeddings, n_way=n_way, n_shot=n_shot, n_query=n_query, n_episodes=n_episodes, seed=seed)
    start = perf_counter()
    tally = _judge(episodes, embeddings, judge_rule, distance, progress)
    seconds = perf_counter() - start
    floors = {}
    if floor is not None:
        _check_same_films(embeddings, floor)
        floors["pixels"] = _judge(episodes, floor, RULES["prototype"], "euclidean", None).accuracy.estimate()
    names = episodes.class_names
    return EpisodicResult(
        accuracy=tally.accuracy.estimate(),
        per_class_recall={names[index]: recall.estimate() for index, recall in tally.recalls.items()},
        confusion=tuple(tuple(row) for row in tally.confusion.tolist()),
        findings=names,
        n_way=episodes.n_way,
        n_shot=n_shot,
        n_query=n_query,
        n_episodes=n_episodes,
        rule=rule,
        distance=distance,
        seed=seed,
        episodes_hash=episodes.hash,
        episodes_per_second=n_episodes / seconds,
        n_films=len(embeddings),
        n_patients=len(np.unique(embeddings.patient_ids)),
        floor=floors,
    )


class _Mean(RunningMean):
    def estimate(self) -> Estimate:
        return Estimate(self.mean, self.interval())


class _Tally:
    """Sums over episodes; its size depends on the number of classes only."""

    def __init__(self, n_classes: int) -> None:
        self.accuracy = _Mean()
        self.recalls: dict[int, _Mean] = {}
        self.confusion = np.zeros((n_classes, n_classes))

    def add(self, block: EpisodeBlock, credits: np.ndarray) -> None:
        """Add decisions; credits (B, n_way, n_query, n_way): true class, query, decided class."""
        correct = np.einsum("btqt->bt", credits) / credits.shape[2]
        self.accuracy.add(correct.mean(axis=1))
        true_ids, predicted_ids = np.broadcast_arrays(block.class_ids[:, :, None], block.class_ids[:, None, :])
        self.confusion += confusion_counts(true_ids, predicted_ids, credits.sum(axis=2), len(self.confusion))
        for class_id in np.unique(block.class_ids).tolist():
            self.recalls.setdefault(class_id, _Mean()).add(correct[block.class_ids == class_id])


def _judge(episodes: Episodes, films: Embeddings, rule: Rule, distance: str, progress: Progress | None) -> _Tally:
    vectors = torch.from_numpy(films.vectors)
    labels = torch.arange(episodes.n_way).repeat_interleave(episodes.n_shot)
    tally = _Tally(len(episodes.class_names))
    for block in episodes.blocks():
        support = vectors[torch.from_numpy(block.support).flatten(1)]
        queries = vectors[torch.from_numpy(block.query).flatten(1)]
        credits = tie_credits(rule(support, labels, queries, distance=distance))
        shape = len(block), episodes.n_way, episodes.n_query, episodes.n_way
        tally.add(block, credits.reshape(shape).numpy())
        if progress is not None:
            progress(block.first + len(block), episodes.n_episodes)
    return tally


def _check_same_films(embeddings: Embeddings, floor: Embeddings) -> None:
    same_classes = np.array_equal(embeddings.class_ids, floor.class_ids)
    if not same_classes or embeddings.paths != floor.paths:
        raise ValueError("floor must hold the same films in the same order as embeddings")
