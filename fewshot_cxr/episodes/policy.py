"""What happens to a class that has too few films for an episode."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fewshot_cxr.episodes.class_pool import ClassPool

POLICIES = {
    "error": "refuse, and name the classes",
    "shrink_query": "fewer queries of that class",
    "shrink_shot": "fewer shots of that class",
    "skip_class": "leave the class out",
}


@dataclass(frozen=True, eq=False)
class FittedClasses:
    """The classes that episodes are drawn from.

    Args:
        pools: their films.
        shots: support films of each, int64, shape (n_pools,).
        queries: the most queries of each in any episode, int64, shape (n_pools,).
        notes: what was changed, one sentence each.
    """

    pools: tuple[ClassPool, ...]
    shots: np.ndarray
    queries: np.ndarray
    notes: tuple[str, ...] = field(default=())


def fit_classes(
    pools: Sequence[ClassPool],
    shots: Sequence[int],
    queries_of: Callable[[Sequence[ClassPool]], np.ndarray],
    policy: str,
    wanted: str,
) -> FittedClasses:
    """Find the classes that are too small, and do with them as the policy says.

    Args:
        pools: the classes.
        shots: support films wanted of each.
        queries_of: returns the queries wanted of each of the classes that remain.
        policy: a name in POLICIES.
        wanted: what is wanted, in words, for the error.

    Raises:
        ValueError: a class is too small, and the policy does not help; the text names it.
    """
    fitted = FittedClasses(tuple(pools), np.array(shots), queries_of(pools))
    while small := _too_small(fitted):
        if policy == "error":
            raise ValueError(_refusal([str(fitted.pools[index]) for index in small], wanted))
        if policy != "skip_class":
            return _shrink(fitted, small, policy, wanted)
        fitted = _skip(fitted, small, queries_of, wanted)
    return fitted


def _too_small(fitted: FittedClasses) -> list[int]:
    each = enumerate(zip(fitted.pools, fitted.shots.tolist(), fitted.queries.tolist(), strict=True))
    return [index for index, (pool, n_shot, n_query) in each if not pool.group_count(n_shot, n_query)]


def _skip(
    fitted: FittedClasses, small: list[int], queries_of: Callable[[Sequence[ClassPool]], np.ndarray], wanted: str
) -> FittedClasses:
    notes = [
        f"{fitted.pools[index]}, too few for {_shape(fitted.shots[index], fitted.queries[index])}: left out"
        for index in small
    ]
    kept = [index for index in range(len(fitted.pools)) if index not in small]
    if len(kept) < 2:
        raise ValueError(_refusal([str(fitted.pools[index]) for index in small], wanted))
    pools = tuple(fitted.pools[index] for index in kept)
    return FittedClasses(pools, fitted.shots[kept], queries_of(pools), (*fitted.notes, *notes))


def _shrink(fitted: FittedClasses, small: list[int], policy: str, wanted: str) -> FittedClasses:
    shots, queries, notes = fitted.shots.copy(), fitted.queries.copy(), list(fitted.notes)
    for index in small:
        pool, before = fitted.pools[index], _shape(shots[index], queries[index])
        numbers = shots if policy == "shrink_shot" else queries
        fitting = [
            (is_safe, number)
            for is_safe in (True, False)  # a number that only fits now and then is the last resort
            for number in range(int(numbers[index]) - 1, 0, -1)
            if pool.group_count(*_replaced(shots, queries, index, number, policy), is_safe=is_safe)
        ]
        if not fitting:
            raise ValueError(_refusal([str(pool)], wanted))
        numbers[index] = fitting[0][1]
        notes.append(f"{pool}, too few for {before}: {_shape(shots[index], queries[index])} there")
    return replace(fitted, shots=shots, queries=queries, notes=tuple(notes))


def _replaced(shots: np.ndarray, queries: np.ndarray, index: int, number: int, policy: str) -> tuple[int, int]:
    return (number, int(queries[index])) if policy == "shrink_shot" else (int(shots[index]), number)


def _shape(n_shot: int, n_query: int) -> str:
    return f"{n_shot} {'shot' if n_shot == 1 else 'shots'} and {n_query} {'query' if n_query == 1 else 'queries'}"


def _refusal(complaints: list[str], wanted: str) -> str:
    return (
        f"too few films for {wanted}: {'; '.join(complaints)}. Support and query never share a patient. "
        "if_too_small='shrink_query', 'shrink_shot' or 'skip_class' settles it class by class. "
        "Take fewer shots (n_shot) or queries (n_query), or drop the class"
    )
