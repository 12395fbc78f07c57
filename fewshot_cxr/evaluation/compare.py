"""Two results on the same films: what differs by more than chance, paired film by film and patient by patient."""

import numpy as np

from fewshot_cxr.evaluation.comparison import Comparison
from fewshot_cxr.evaluation.differences import EPISODES_ONLY, episode_differences, film_differences
from fewshot_cxr.evaluation.result import COMMANDS, Result


def compare_results(first: Result, second: Result, *, names: tuple[str, str] = ("A", "B")) -> Comparison:
    """Compare two results of one kind, on the same episodes (`episode_differences`) or the same films.

    Args:
        first: a result.
        second: another.
        names: what to call them.

    Raises:
        ValueError: the kinds, episodes, films, patients or findings differ.
    """
    if isinstance(names, str) or len(names) != 2:
        raise ValueError(f"names must be two, one for each result, got {names!r}")
    for name, result in zip(names, (first, second), strict=True):
        if not isinstance(result, Result):
            raise TypeError(f"compare: {name} is no result of episode-eval or evaluate, got {type(result).__name__}")
    if first.kind != second.kind:
        raise ValueError(
            f"compare: {names[0]} is a result of {COMMANDS[first.kind]} and {names[1]} one of {COMMANDS[second.kind]}; "
            "compare two of one kind"
        )
    notes, warnings = (
        [],
        [f"{name}: {text}" for name, one in zip(names, (first, second), strict=True) for text in one.warnings],
    )
    if first.episodes is not None and second.episodes is not None:
        _check_same_episodes(first, second, names)
        rows, common_hash = episode_differences(first, second), first.episodes.episodes_hash
        if any(row.reason == EPISODES_ONLY for row in rows):
            warnings.insert(0, f"some differences have an {EPISODES_ONLY}")
        if first.episodes.protocol.get("seen") != second.episodes.protocol.get("seen"):
            notes.append("the two encoders were trained on different findings")
    elif first.answers is not None and second.answers is not None:
        _check_same_films(first, second, names)
        rows, common_hash = film_differences(first.answers, second.answers), first.data_hash
    else:
        raise ValueError("compare: a result holds neither episodes nor answers film by film")
    if (n_tests := sum(row.p_value is not None for row in rows)) > 1:
        notes.insert(0, f"{n_tests} comparisons; the p-values are not adjusted for being several")
    if any(row.test.endswith("by films") for row in rows):
        notes.append("tests by films take films of one patient for independent; quote those by patients")
    return Comparison(
        results=first.kind,
        names=names,
        rows=tuple(rows),
        common_hash=common_hash,
        **{name: getattr(first, name) for name in ("n_films", "n_patients", "n_films_without_patient")},
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _check_same_episodes(first: Result, second: Result, names: tuple[str, str]) -> None:
    for what, one, other in (
        ("episodes", *(one.episodes.episodes_hash if one.episodes else "" for one in (first, second))),
        ("films", first.data_hash, second.data_hash),
    ):
        if one != other:
            raise ValueError(
                f"compare: {names[0]} was judged on other {what} than {names[1]} (hash {one[:12]} against "
                f"{other[:12]}); run both with --episodes-file FILE or the same seed and films"
            )
    if first.findings != second.findings:
        raise ValueError(f"compare: {names[0]} knows other findings than {names[1]}; embed both from one list of films")
    patients = [(one.replicates.units_hash, one.replicates.n_patients) for one in (first, second) if one.replicates]
    if len(set(patients)) > 1:
        raise ValueError(
            f"compare: {names[0]} knows other patients than {names[1]}; embed both from one list of films and patients"
        )
    if first.replicates and second.replicates and not first.replicates.have_shape_of(second.replicates):
        raise ValueError(
            f"compare: {names[0]} has replicates of another shape than {names[1]}; run both anew with one version"
        )


def _check_same_films(first: Result, second: Result, names: tuple[str, str]) -> None:
    if first.data_hash != second.data_hash:
        raise ValueError(
            f"compare: {names[0]} was judged on other films, findings or patients than {names[1]} (hash "
            f"{first.data_hash[:12]} against {second.data_hash[:12]}); run both on the same films with one list of "
            "patients"
        )
    if first.findings != second.findings:
        raise ValueError(
            f"compare: {names[0]} decided between {', '.join(first.findings)} and {names[1]} between "
            f"{', '.join(second.findings)}; give both the same findings"
        )
    stated = [np.isnan(one.answers.truth) for one in (first, second) if one.answers is not None]
    if not np.array_equal(*stated):
        raise ValueError(
            f"compare: {names[0]} takes other findings for not stated than {names[1]}; run both on one list of films"
        )
