"""Findings that are named in the wishes for episodes: each must be one that there is."""

from collections.abc import Collection, Mapping, Sequence

from fewshot_cxr._checks import nearest


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
