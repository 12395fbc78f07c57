"""What happens to a class that has too few films for an episode."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from fewshot_cxr.episodes.class_pool import ClassPool

POLICIES = {
    "error": "refuse, and name the classes",
    "shrink_query": "fewer queries of that class",
    "shrink_shot": "fewer shots of that class",
    "skip_class": "leave the class out",
}


def fit_classes(
    pools: Sequence[ClassPool], share: Callable[[Sequence[ClassPool]], list[ClassPool]], policy: str, wanted: str
) -> tuple[tuple[ClassPool, ...], tuple[str, ...]]:
    """Find the classes that are too small, and do with them as the policy says.

    Args:
        pools: the classes, each with the shots that are wanted.
        share: returns the classes that remain with the queries that are wanted.
        policy: a name in POLICIES.
        wanted: what is wanted, in words, for the error.

    Returns:
        The classes that episodes are drawn from, and what was changed, one sentence each.

    Raises:
        ValueError: a class is too small, and the policy does not help; the text names it.
    """
    pools, notes = share(pools), []
    while small := [pool for pool in pools if not pool.group_count()]:
        if policy == "error":
            raise ValueError(_refusal(small, wanted))
        fitted = {} if policy == "skip_class" else {pool.name: _shrink(pool, policy, wanted) for pool in small}
        for pool in small:
            outcome = f"{_shape(fitted[pool.name])} there" if fitted else "left out"
            notes.append(f"{pool}, too few for {_shape(pool)}: {outcome}")
        if fitted:
            return tuple(fitted.get(pool.name, pool) for pool in pools), tuple(notes)
        pools = [pool for pool in pools if pool not in small]
        if len(pools) < 2:
            raise ValueError(_refusal(small, wanted))
        pools = share(pools)
    return tuple(pools), tuple(notes)


def _shrink(pool: ClassPool, policy: str, wanted: str) -> ClassPool:
    for is_safe in (True, False):  # a number that only fits now and then is the last resort
        for number in range((pool.n_shot if policy == "shrink_shot" else pool.n_query) - 1, 0, -1):
            smaller = replace(pool, n_shot=number) if policy == "shrink_shot" else replace(pool, n_query=number)
            if smaller.group_count(is_safe=is_safe):
                return smaller
    raise ValueError(_refusal([pool], wanted))


def _shape(pool: ClassPool) -> str:
    shots, queries = "shot" if pool.n_shot == 1 else "shots", "query" if pool.n_query == 1 else "queries"
    return f"{pool.n_shot} {shots} and {pool.n_query} {queries}"


def _refusal(pools: Sequence[ClassPool], wanted: str) -> str:
    return (
        f"too few films for {wanted}: {'; '.join(map(str, pools))}. Support and query never share a patient. "
        "if_too_small='shrink_query', 'shrink_shot' or 'skip_class' settles it class by class. "
        "Take fewer shots (n_shot) or queries (n_query), or drop the class"
    )
