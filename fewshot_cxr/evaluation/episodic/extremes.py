"""The best and the worst episodes: found in one pass that keeps no others, then shown film by film."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fewshot_cxr._checks import check_whole
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodeBlock, EpisodePart, EpisodeSource
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.evaluation.episodic.plan import Plan
from fewshot_cxr.evaluation.episodic.threads import in_order
from fewshot_cxr.metrics import tie_credits


@dataclass(frozen=True)
class ShownQuery:
    """A query of an episode: its film, its finding, what it was taken for (several where they tie).

    `distances` are the rule's, to each finding of the episode: smaller is closer.

    Examples:
        >>> query = ShownQuery("7.png", "covid19", ("covid19", "normal"), {"covid19": 2.0, "normal": 2.0})
        >>> query.is_right  # a tie
        False
    """

    path: str
    finding: str
    predicted: tuple[str, ...]
    distances: dict[str, float]

    @property
    def is_right(self) -> bool:
        """Whether it was taken for its finding and for no other."""
        return self.predicted == (self.finding,)


@dataclass(frozen=True)
class ShownEpisode:
    """One episode: its number in the plan, which end it is of, the share decided rightly, and its films.

    `support` holds (finding, path) of each labelled film. A decision tied between k findings counts 1/k.

    Examples:
        >>> query = ShownQuery("7.png", "covid19", ("covid19",), {"covid19": 1.0, "normal": 2.0})
        >>> support = (("covid19", "1.png"), ("normal", "2.png"))
        >>> best = ShownEpisode(number=41, is_best=True, accuracy=1.0, support=support, queries=(query,))
        >>> [query.is_right for query in best.queries]
        [True]
    """

    number: int
    is_best: bool
    accuracy: float
    support: tuple[tuple[str, str], ...]
    queries: tuple[ShownQuery, ...]


def episode_accuracies(rule: FilmRule, episodes: EpisodeSource) -> Iterator[tuple[int, np.ndarray]]:
    """Yield block by block (number of its first episode, share of its queries decided rightly in each).

    Args:
        rule: with its films, of one finding each.
        episodes: of these films.
    """

    def right_of(block: EpisodeBlock) -> np.ndarray:
        right = np.empty(len(block))
        for part in block.parts():
            right[part.positions] = _right(rule, part)
        return right

    for block, right in in_order(right_of, episodes.blocks(), rule.n_threads):
        yield block.first, right


def extreme_episodes(
    embeddings: Embeddings,
    plan: Plan,
    *,
    rule: str,
    distance: str,
    rule_options: Mapping[str, Any] | None = None,
    n_best: int = 1,
    n_worst: int = 1,
    device: str = "auto",
    progress: Bar | None = None,
) -> tuple[ShownEpisode, ...]:
    """Find the episodes with the highest and the lowest accuracy, in memory that does not grow with their number.

    Args:
        embeddings: the films that the plan was made for, of one finding each.
        plan: of the episodes.
        rule: a name in RULES.
        distance: a name in DISTANCES.
        rule_options: further keyword arguments of the rule.
        n_best: how many of the best; of equals, those with the lowest number.
        n_worst: how many of the worst; none is shown twice.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: called with (episodes done, episodes in all).

    Returns:
        The best, best first, then the worst, worst first.

    Raises:
        ValueError: films of several findings: there is no one accuracy.

    Examples:
        >>> from fewshot_cxr.evaluation import plan_episodes
        >>> films = Embeddings([[0], [1], [2], [3], [10], [4]], ["normal"] * 4 + ["covid19"] * 2)
        >>> plan = plan_episodes(films, n_shot=1, n_query=1, n_episodes=100)
        >>> best, worst = extreme_episodes(films, plan, rule="mean_distance", distance="euclidean")
        >>> best.accuracy, worst.accuracy  # one film of covid19 lies beside the normal ones
        (1.0, 0.5)
    """
    check_whole(n_best, "n_best", 0)
    check_whole(n_worst, "n_worst", 0)
    if embeddings.is_multi_label:
        raise ValueError("films of several findings have no one accuracy by which an episode is the best or the worst")
    decider = FilmRule(embeddings, rule=rule, distance=distance, options=rule_options, device=device)
    best, worst = _Kept(n_best, sign=-1), _Kept(n_worst + n_best, sign=1)  # some of the worst may be among the best
    for first, right in episode_accuracies(decider, plan.episodes):
        best.add(first, right)
        worst.add(first, right)
        tell(progress, first + len(right), plan.episodes.n_episodes)
    ends = [(number, True) for number in best.numbers.tolist()]
    ends += [(number, False) for number in worst.numbers.tolist() if number not in best.numbers][:n_worst]
    return tuple(_shown(decider, plan.episodes, number, is_best=is_best) for number, is_best in ends)


class _Kept:
    """The first few episodes in the order of sign * accuracy, then of their numbers."""

    def __init__(self, n_kept: int, *, sign: int) -> None:
        self._n_kept, self._sign = n_kept, sign
        self.numbers, self._keys = np.zeros(0, dtype=np.int64), np.zeros(0)

    def add(self, first: int, right: np.ndarray) -> None:
        numbers = np.concatenate([self.numbers, first + np.arange(len(right))])
        keys = np.concatenate([self._keys, self._sign * right])
        order = np.lexsort((numbers, keys))[: self._n_kept]
        self.numbers, self._keys = numbers[order], keys[order]


def _right(rule: FilmRule, part: EpisodePart) -> np.ndarray:
    """Return the share of the queries of each episode that are decided rightly, float64 (b,)."""
    labels = torch.from_numpy(part.query_labels)
    credits = tie_credits(rule.distances(part)).cpu().double()
    return np.asarray(credits[:, torch.arange(len(labels)), labels].mean(dim=1).numpy())


def _shown(rule: FilmRule, episodes: EpisodeSource, number: int, *, is_best: bool) -> ShownEpisode:
    (part,) = episodes.block(number, 1).parts()
    distances = rule.distances(part).cpu()[0]
    films, paths = rule.films, rule.films.film_names
    names = [films.class_names[class_id] for class_id in part.class_ids[0].tolist()]
    queries = []
    is_nearest = tie_credits(distances) > 0
    for row, label, near, own in zip(
        part.query[0].tolist(), part.query_labels.tolist(), is_nearest.tolist(), distances.tolist(), strict=True
    ):
        predicted = tuple(name for name, is_taken in zip(names, near, strict=True) if is_taken)
        queries.append(ShownQuery(paths[row], names[label], predicted, dict(zip(names, own, strict=True))))
    support = zip(part.support_labels.tolist(), part.support[0].tolist(), strict=True)
    return ShownEpisode(
        number=number,
        is_best=is_best,
        accuracy=float(_right(rule, part)[0]),
        support=tuple((names[label], paths[row]) for label, row in support),
        queries=tuple(queries),
    )
