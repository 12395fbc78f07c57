"""Decision rules that look at all queries of an episode at once: in other company a film may be judged otherwise.

All work on embeddings of length 1, as their papers do (easyfsl's `feature_normalization=2.0`), and take easyfsl 1.5's
default numbers; each docstring says where its paper or easyfsl does otherwise. `distance` is not used: every one has
its own geometry.
"""

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import check_above, check_at_least, check_whole
from fewshot_cxr.distances import class_means, pairwise_distances

_MAX_BALANCINGS = 1000
_BALANCED = 1e-6


def bd_cspn(
    support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean", temperature: float = 1.0
) -> Tensor:
    """Mend the prototypes with the queries nearest to them, then compare by cosine.

    The queries are shifted by the difference of the two means for the mending only, and weights are exp(cosine), both
    as in easyfsl; the paper has exp(10 cosine).

    Args:
        support: labelled embeddings; see `Rule`.
        labels: class of each; see `Rule`.
        queries: embeddings to decide; see `Rule`.
        distance: not used.
        temperature: factor of the cosine in the weights.

    Returns:
        1 - cosine to the mended prototypes, in 0..2.

    Source: Liu, Song, Qin, "Prototype Rectification for Few-Shot Learning", 2020, arXiv:1911.10713.
    """
    check_above(temperature, 0, "temperature")
    support, queries = _unit(support), _unit(queries)
    return pairwise_distances(queries, _mended_prototypes(support, labels, queries, temperature), "cosine")


def laplacian_shot(
    support: Tensor,
    labels: Tensor,
    queries: Tensor,
    *,
    distance: str = "euclidean",
    smoothing: float = 0.7,
    n_neighbours: int = 3,
    n_steps: int = 20,
) -> Tensor:
    """Pull each query's assignment towards those of its nearest queries, from `bd_cspn`'s prototypes on.

    Args:
        support: labelled embeddings; see `Rule`.
        labels: class of each; see `Rule`.
        queries: embeddings to decide; see `Rule`.
        distance: not used.
        smoothing: weight of the neighbours (the paper's lambda).
        n_neighbours: how many queries are near, the query itself counted, as in the authors' code; where fewer exist,
            all.
        n_steps: at most; an episode whose bound moves by less than a millionth stops, as in easyfsl.

    Returns:
        -log of the assignments.

    Raises:
        ValueError: n_neighbours or n_steps below 1.

    Source: Ziko, Dolz, Granger, Ben Ayed, "Laplacian Regularized Few-Shot Learning", 2020, arXiv:2006.15486, alg. 1.
    """
    check_whole(n_neighbours, "n_neighbours", 1)
    check_whole(n_steps, "n_steps", 1)
    check_at_least(smoothing, 0, "smoothing")
    support, queries = _unit(support), _unit(queries)
    prototypes = _mended_prototypes(support, labels, queries, 1.0)
    costs = pairwise_distances(queries, prototypes, "squared_euclidean")
    affinities = _affinities(queries, n_neighbours - 1)
    logs = (-costs).log_softmax(dim=-1)
    old_bound = torch.zeros_like(costs[..., :1, :1])
    is_open = torch.ones_like(old_bound, dtype=torch.bool)
    for step in range(n_steps):
        pulled = (smoothing * affinities @ logs.exp() - costs).log_softmax(dim=-1)
        logs = torch.where(is_open, pulled, logs)
        shares = logs.exp()
        bound = (shares * (logs + costs - smoothing * affinities @ shares)).sum(dim=(-1, -2), keepdim=True)
        if step > 1:
            is_open = is_open & ((bound - old_bound).abs() > 1e-6 * old_bound.abs())
        if not bool(is_open.any()):
            break
        old_bound = bound
    return -logs


def pt_map(
    support: Tensor,
    labels: Tensor,
    queries: Tensor,
    *,
    distance: str = "euclidean",
    power: float = 0.5,
    sharpness: float = 10.0,
    rate: float = 0.2,
    n_steps: int = 10,
) -> Tensor:
    """Transport the queries onto the classes at least cost, move the prototypes by the plan, and repeat.

    It takes every class to have the same number of queries: expect it to lose where prevalence is natural.
    The power transform is that of features that are never negative; here a negative coordinate keeps its sign
    (easyfsl sets it to 0; the plain power is NaN). Rows are then scaled to length 1, as in the paper's eq. 1 (easyfsl
    1.5 leaves that out, and its plan is NaN where no distance is small).

    Args:
        support: labelled embeddings; see `Rule`.
        labels: class of each; see `Rule`.
        queries: embeddings to decide; see `Rule`.
        distance: not used.
        power: exponent of the coordinates (the paper's beta).
        sharpness: factor of the squared distances in the plan (lambda).
        rate: share of the way that a prototype moves (alpha).
        n_steps: how often.

    Returns:
        -log of the plan's shares.

    Source: Hu, Gripon, Pateux, "Leveraging the Feature Distribution in Transfer-based Few-Shot Learning", 2020,
    arXiv:2006.03806, alg. 1.
    """
    check_whole(n_steps, "n_steps", 0)
    for value, name in ((power, "power"), (sharpness, "sharpness"), (rate, "rate")):
        check_above(value, 0, name)
    support, queries = (_unit(_signed_power(rows, power)) for rows in (support, queries))
    prototypes = class_means(support, labels)
    sides = functional.one_hot(labels).to(support.dtype).expand(*support.shape[:-1], -1)
    films = torch.cat([support, queries], dim=-2)
    for _ in range(n_steps):
        plan = _transport_log_plan(queries, prototypes, sharpness).exp()
        shares = torch.cat([sides, plan], dim=-2)
        centres = shares.mT @ films / shares.sum(dim=-2).unsqueeze(-1)
        prototypes = prototypes + rate * (centres - prototypes)
    return -_transport_log_plan(queries, prototypes, sharpness)


def tim(
    support: Tensor,
    labels: Tensor,
    queries: Tensor,
    *,
    distance: str = "euclidean",
    sharpness: float = 10.0,
    n_steps: int = 50,
    rate: float = 1e-4,
    weights: tuple[float, float, float] = (1.0, 1.0, 0.1),
) -> Tensor:
    """Move the prototypes to gain information: sure on each query, even over all, right on the support.

    Adam on the prototypes, from the class means, with the gradient written out. As in easyfsl by cosine and for 50
    steps; the paper has half the squared distance times 15, and 1000 steps.

    Args:
        support: labelled embeddings; see `Rule`.
        labels: class of each; see `Rule`.
        queries: embeddings to decide; see `Rule`.
        distance: not used.
        sharpness: factor of the cosine in the softmax (easyfsl's temperature).
        n_steps: of Adam.
        rate: its learning rate.
        weights: of the support's cross-entropy, of the entropy of the mean answer, of the mean entropy.

    Returns:
        1 - cosine to the moved prototypes, in 0..2.

    Source: Boudiaf et al., "Transductive Information Maximization For Few-Shot Learning", 2020, arXiv:2008.11297.
    """
    check_whole(n_steps, "n_steps", 0)
    for value, name in ((sharpness, "sharpness"), (rate, "rate")):
        check_above(value, 0, name)
    support, queries = _unit(support), _unit(queries)
    prototypes = class_means(support, labels)
    targets = functional.one_hot(labels).to(support.dtype)
    first, second = torch.zeros_like(prototypes), torch.zeros_like(prototypes)
    for step in range(1, n_steps + 1):
        slope = _information_slope(support, targets, queries, prototypes, sharpness=sharpness, weights=weights)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope.square()
        prototypes = prototypes - rate * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    return pairwise_distances(queries, prototypes, "cosine")


def _unit(rows: Tensor) -> Tensor:
    return functional.normalize(rows, dim=-1)


def _mended_prototypes(support: Tensor, labels: Tensor, queries: Tensor, temperature: float) -> Tensor:
    prototypes = _unit(class_means(support, labels))
    n_way = prototypes.shape[-2]
    queries = queries + support.mean(dim=-2, keepdim=True) - queries.mean(dim=-2, keepdim=True)
    near = _unit(queries) @ prototypes.mT
    films = torch.cat([support, queries], dim=-2)
    own = functional.one_hot(labels, n_way).expand(*support.shape[:-1], -1)
    members = torch.cat([own, functional.one_hot(near.argmax(dim=-1), n_way)], dim=-2)
    cosines = torch.cat([_unit(support) @ prototypes.mT, near], dim=-2)
    shares = members * (temperature * cosines).exp()
    shares = shares / shares.sum(dim=-2, keepdim=True)
    return shares.mT @ films


def _affinities(queries: Tensor, n_near: int) -> Tensor:
    """Return 1 where the column is among the n_near nearest others of the row, else 0."""
    n_queries = queries.shape[-2]
    distances = pairwise_distances(queries, queries, "squared_euclidean")
    distances = distances + torch.diag(queries.new_full((n_queries,), torch.inf))
    nearest = distances.topk(min(n_near, n_queries - 1), largest=False).indices
    return torch.zeros_like(distances).scatter(-1, nearest, 1.0)


def _signed_power(rows: Tensor, power: float) -> Tensor:
    # The 1e-6 is the authors': a coordinate of 0 has no slope to stand on.
    return torch.where(rows < 0, -1.0, 1.0) * (rows.abs() + 1e-6).pow(power)


def _information_slope(
    support: Tensor,
    targets: Tensor,
    queries: Tensor,
    prototypes: Tensor,
    *,
    sharpness: float,
    weights: tuple[float, float, float],
) -> Tensor:
    """Return d loss / d prototypes of weights . (cross-entropy, -entropy of the mean answer, mean entropy)."""
    of_support, of_mean, of_each = weights
    lengths = torch.linalg.vector_norm(prototypes, dim=-1, keepdim=True).clamp_min(1e-12)
    directions = prototypes / lengths
    errors = (sharpness * support @ directions.mT).softmax(dim=-1) - targets
    logs = (sharpness * queries @ directions.mT).log_softmax(dim=-1)
    shares = logs.exp()
    # Constants over the classes drop out below, so that d(p log p) / dp is log p here.
    gain = of_mean * shares.mean(dim=-2, keepdim=True).clamp_min(1e-30).log() - of_each * logs
    gain = shares * (gain - (shares * gain).sum(dim=-1, keepdim=True))
    slope = of_support / support.shape[-2] * errors.mT @ support + gain.mT @ queries / queries.shape[-2]
    slope = sharpness * slope / lengths
    across: Tensor = slope - directions * (directions * slope).sum(dim=-1, keepdim=True)
    return across


def _transport_log_plan(queries: Tensor, prototypes: Tensor, sharpness: float) -> Tensor:
    """Balance exp(-sharpness d^2) until each query gives 1 and each class gets n_queries / n_way, by Sinkhorn."""
    n_queries, n_way = queries.shape[-2], prototypes.shape[-2]
    # Scaling a row changes nothing in the end, and here it keeps far queries from vanishing.
    logs = (-sharpness * pairwise_distances(queries, prototypes, "squared_euclidean")).log_softmax(dim=-1)
    kernel = logs.exp()
    by_query, by_class = kernel.new_ones(*kernel.shape[:-1], 1), kernel.new_ones(*kernel.shape[:-2], n_way, 1)
    given = kernel @ by_class
    is_open = torch.ones_like(given[..., :1, :], dtype=torch.bool)
    for _ in range(_MAX_BALANCINGS):
        scaled = 1 / (kernel @ by_class)
        by_query = torch.where(is_open, scaled, by_query)
        wanted = n_queries / n_way / (kernel.mT @ by_query).clamp_min(1e-30)
        by_class = torch.where(is_open, wanted, by_class)
        before, given = given, by_query * (kernel @ by_class)
        is_open = (given - before).abs().amax(dim=-2, keepdim=True) >= _BALANCED
        if not bool(is_open.any()):
            break
    plan: Tensor = logs + by_query.log() + by_class.log().mT
    return plan
