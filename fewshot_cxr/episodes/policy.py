"""The findings that are named in the wishes for episodes, and what happens to one that has too few films."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from fewshot_cxr._checks import nearest
from fewshot_cxr.episodes.class_pool import ClassPool

POLICIES = {
    "error": "refuse, and name the classes",
    "shrink_query": "fewer queries of that class",
    "shrink_shot": "fewer shots of that class",
    "skip_class": "leave the class out",
}


def check_names(lists: Mapping[str, Sequence[str]], present: Collection[str], known: Sequence[str]) -> None:
    """Refuse a finding that is unknown, has no films, or is named in two lists.

    Args:
        lists: findings, under the name of the argument that holds them.
        present: findings with films.
        known: all findings.
    """
    for what, names in lists.items():
        for name in names:
            _check_known(what, name, known)
            if name not in present:
                raise ValueError(f"{what} names {name!r}, which has no films; leave it out")
    named = [name for names in lists.values() for name in set(names)]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise ValueError(f"{' and '.join(lists)} both name {', '.join(twice)}; leave it out of one of them")


def shots_of(n_shot: int | Mapping[str, int], names: Sequence[str], known: Sequence[str]) -> Mapping[str, int]:
    """Return the support films of each finding in `names`.

    Raises:
        ValueError: a finding without a number, or an unknown finding.
    """
    if not isinstance(n_shot, Mapping):
        return dict.fromkeys(names, n_shot)
    for name in n_shot:
        _check_known("n_shot", name, known)
    if missing := [name for name in names if name not in n_shot]:
        raise ValueError(f"n_shot says nothing about {', '.join(missing)}; give a number, or name it in never")
    return n_shot


def _check_known(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(
            f"{what} names an unknown finding {name!r}{nearest(name, known)}; choose from {', '.join(known)}"
        )


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
            raise ValueError(_refusal(small, wanted, policy))
        pools = share(pools)
    return tuple(pools), tuple(notes)


def _shrink(pool: ClassPool, policy: str, wanted: str) -> ClassPool:
    for is_safe in (True, False):  # a number that only fits now and then is the last resort
        for number in range((pool.n_shot if policy == "shrink_shot" else pool.n_query) - 1, 0, -1):
            smaller = replace(pool, n_shot=number) if policy == "shrink_shot" else replace(pool, n_query=number)
            if smaller.group_count(is_safe=is_safe):
                return smaller
    raise ValueError(_refusal([pool], wanted, policy))


def _shape(pool: ClassPool) -> str:
    shots, queries = "shot" if pool.n_shot == 1 else "shots", "query" if pool.n_query == 1 else "queries"
    return f"{pool.n_shot} {shots} and {pool.n_query} {queries}"


def _refusal(pools: Sequence[ClassPool], wanted: str, tried: str = "error") -> str:
    policies = "if_too_small='shrink_query', 'shrink_shot' or 'skip_class' settles it class by class. "
    return (
        f"too few films for {wanted}: {'; '.join(map(str, pools))}. Support and query never share a patient. "
        f"{policies if tried == 'error' else f'{tried} does not settle it. '}"
        "Take fewer shots (n_shot) or queries (n_query), or drop the class"
    )
