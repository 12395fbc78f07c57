"""Which labelled films become exemplars, where there are more than are wanted.

Each way of CHOICES takes one of each patient before a second one of any, and follows from names, vectors and seed
alone: films are put in the order of their names first, so that no row comes before another and a tie has an end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import check_whole, lookup
from fewshot_cxr.distances import DISTANCES, pairwise_distances
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference.bank.turns import Turns, draw_in_turns, may_swap, smallest_keys
from fewshot_cxr.seeding import text_key

_MOST_COMPARED = 4000  # films of a finding whose every pair is measured: 128 MB
_MOST_SWAPS = 1000
_LEAST_GAIN = 1e-12  # of the sum: less is rounding


@dataclass(frozen=True)
class Candidates:
    """The films of one finding, in the order of their names.

    Args:
        vectors: embeddings, float64, shape (n_films, dim).
        patients: number of each film's patient, int64, shape (n_films,).
        keys: `text_key` of each film's name.
        patient_keys: of each film the smallest key of its patient, whatever the finding.
        distance: a name in DISTANCES.
        seed: of a draw.
    """

    vectors: Tensor
    patients: np.ndarray
    keys: Sequence[int]
    patient_keys: Sequence[int]
    distance: str
    seed: int

    def distances_to(self, point: Tensor) -> Tensor:
        """Return the distance of every film to one point.

        Args:
            point: float64, shape (dim,).
        """
        return pairwise_distances(self.vectors, point.unsqueeze(0), self.distance).squeeze(1)

    def take(self, films: Sequence[int]) -> "Candidates":
        """Return some of the films, in this order.

        Args:
            films: their positions.
        """
        keys, patient_keys = ([of[film] for film in films] for of in (self.keys, self.patient_keys))
        return Candidates(self.vectors[films], self.patients[films], keys, patient_keys, self.distance, self.seed)


Choice = Callable[[Candidates, int], list[int]]
"""choice(films, n) -> positions of n of the films, n at most as many as there are."""


def choose(
    support: Embeddings, n_exemplars: int, *, how: str = "random", distance: str | None = None, seed: int = 0
) -> np.ndarray:
    """Choose up to n_exemplars films of each finding, one of each patient before a second one of any.

    Args:
        support: single-label films. Where they have no paths, their vectors stand for names.
        n_exemplars: per finding; a finding with fewer films gives all it has.
        how: a name in CHOICES.
        distance: a name in DISTANCES; None: the one that the support's encoder was trained with, else euclidean.
        seed: of the draw of "random"; of the 4,000 films that "medoids" compares where a finding has more.

    Returns:
        Rows of `support`, int64, ascending.

    Raises:
        ValueError: unknown `how` or `distance`, n_exemplars below 1, or films of several findings.

    Examples:
        >>> films = Embeddings([[0], [1], [5], [7], [8], [11]], ["normal"] * 3 + ["covid19"] * 3)
        >>> choose(films, 1, how="medoids").tolist()  # the film in the midst of each finding
        [1, 4]
        >>> choose(films, 2, how="k_center").tolist()  # one in the midst, and the one farthest from it
        [1, 2, 4, 5]
    """
    choice = lookup(CHOICES, how, what="choice")
    check_whole(n_exemplars, "n_exemplars", 1)
    distance = distance or support.distance or "euclidean"
    lookup(DISTANCES, distance, what="distance")
    if support.is_multi_label:
        raise ValueError("exemplars are chosen among films of one finding each; choose findings (--findings)")
    order = _in_order_of_names(support)
    keys = [text_key(name) for name in _names(support)]
    patient_keys = smallest_keys(support.patient_ids.tolist(), keys)
    rows: list[int] = []
    for finding in np.unique(support.class_ids):
        own = order[support.class_ids[order] == finding]
        films = Candidates(
            torch.from_numpy(support.vectors[own]).double(),
            support.patient_ids[own],
            [keys[row] for row in own],
            [patient_keys[row] for row in own],
            distance,
            seed,
        )
        rows += own[choice(films, min(n_exemplars, len(own)))].tolist()
    return np.array(sorted(rows), dtype=np.int64)


def random(films: Candidates, n: int) -> list[int]:
    """Draw by the seed: the films that `sample_exemplars` draws.

    Args:
        films: of one finding.
        n: how many.
    """
    return draw_in_turns(films.keys, films.patient_keys, n, seed=films.seed)


def herding(films: Candidates, n: int) -> list[int]:
    """Take the film that brings the mean of those taken nearest to the mean of all, again and again.

    The means are those of the vectors, at unit length for the cosine distance.

    Args:
        films: of one finding.
        n: how many.

    Source: Welling, "Herding Dynamical Weights to Learn", ICML 2009; Rebuffi et al., "iCaRL", 2017, arXiv:1611.07725,
    algorithm 4.
    """
    vectors = functional.normalize(films.vectors, dim=-1) if films.distance == "cosine" else films.vectors
    vectors = vectors - vectors.mean(dim=0)
    total, turns = torch.zeros_like(vectors[0]), Turns(films.patients)
    for _ in range(n):
        # The mean of those taken is total / n_taken: its length and that of the total have the same order.
        length = torch.linalg.vector_norm(total + vectors, dim=-1)
        total = total + vectors[turns.take(_first_smallest(length, turns.is_open))]
    return turns.taken


def k_center(films: Candidates, n: int) -> list[int]:
    """Take the film nearest to the mean, then again and again the one that is farthest from all that are taken.

    With one film of each patient no film is farther from its nearest exemplar than twice what the best choice of n
    films, or any choice, could reach (a metric provided: euclidean or l1).

    Args:
        films: of one finding.
        n: how many.

    Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985.
    """
    turns = Turns(films.patients)
    gap = films.distances_to(films.vectors.mean(dim=0))
    first = turns.take(_first_smallest(gap, turns.is_open))
    gap = films.distances_to(films.vectors[first])
    for _ in range(n - 1):
        farthest = turns.take(_first_smallest(-gap, turns.is_open))
        gap = gap.minimum(films.distances_to(films.vectors[farthest]))
    return turns.taken


def medoids(films: Candidates, n: int) -> list[int]:
    """Make the sum over all films of the distance to the nearest exemplar small.

    One film after the other is taken where it lowers the sum most; then a taken one is exchanged for another as long
    as that lowers it. Of more than 4,000 films so many are drawn first, by the seed.

    Args:
        films: of one finding.
        n: how many.

    Source: Kaufman and Rousseeuw, "Finding Groups in Data", 1990, chapter 2 (PAM: build and swap); all exchanges at
    once as in Schubert and Rousseeuw, 2019, arXiv:1810.05691.
    """
    most = max(n, _MOST_COMPARED)
    if len(films.vectors) > most:
        drawn = sorted(random(films, most))
        return [drawn[film] for film in medoids(films.take(drawn), n)]
    distances = pairwise_distances(films.vectors, films.vectors, films.distance)
    turns, nearest = Turns(films.patients), torch.full((len(distances),), torch.inf, dtype=torch.float64)
    for _ in range(n):
        film = turns.take(_first_smallest(torch.minimum(distances, nearest.unsqueeze(1)).sum(dim=0), turns.is_open))
        nearest = nearest.minimum(distances[:, film])
    taken = turns.taken
    for _ in range(_MOST_SWAPS):
        changes = _changes_by_swap(distances, taken)
        changes[torch.from_numpy(~may_swap(films.patients, taken))] = torch.inf
        place, film = divmod(int(changes.argmin()), len(distances))
        if changes[place, film] >= -_LEAST_GAIN * distances.sum(dim=0).min():
            break
        taken[place] = film
    return taken


def take_all(films: Candidates, n: int) -> list[int]:
    """Take every film, however many are asked for.

    Args:
        films: of one finding.
        n: left unused.
    """
    return list(range(len(films.vectors)))


CHOICES: dict[str, Choice] = {
    "random": random,
    "herding": herding,
    "k_center": k_center,
    "medoids": medoids,
    "all": take_all,
}


def _first_smallest(values: Tensor, is_open: np.ndarray) -> int:
    return int(torch.where(torch.from_numpy(is_open), values, torch.inf).argmin())


def _changes_by_swap(distances: Tensor, taken: list[int]) -> Tensor:
    """Return by how much the sum changes where the exemplar at each place is exchanged for each film."""
    to_taken = distances[:, taken]
    order = to_taken.argsort(dim=1, stable=True)
    nearest = to_taken.gather(1, order[:, :1])
    second = to_taken.gather(1, order[:, 1:2]) if len(taken) > 1 else torch.full_like(nearest, torch.inf)
    if_kept = (distances - nearest).clamp_max(0)
    if_gone = torch.minimum(distances, second) - nearest
    changes = distances.new_zeros(len(taken), len(distances)).index_add_(0, order[:, 0], if_gone - if_kept)
    return changes + if_kept.sum(dim=0)


def _names(support: Embeddings) -> list[str]:
    return [vector.tobytes().hex() for vector in support.vectors] if support.paths is None else list(support.paths)


def _in_order_of_names(support: Embeddings) -> np.ndarray:
    names = _names(support)
    return np.array(sorted(range(len(names)), key=lambda row: (names[row], support.vectors[row].tobytes())))
