"""From the answers for the films of a patient to one answer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fewshot_cxr.inference.bank.abstaining import AMBIGUOUS, INVERTED, NEGATIVE_SPACE, NOT_A_FILM, UNKNOWN, UNREADABLE
from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.inference.predictor import Exemplar

_OF_THE_FILM = (NEGATIVE_SPACE, INVERTED, NOT_A_FILM, UNREADABLE)
_SMALLEST = 1e-300  # a probability of 0 has no logarithm


def join_films(answers: Sequence[Answer]) -> Answer:
    """Return one answer for a patient, from those for its films.

    Distances are averaged, and with them the logarithms of probabilities: films of one patient are views of one thing,
    not so many proofs of it. The set holds what fits every film, since calibration takes the worst film of a patient:
    as many patients as promised have a set that holds their finding. So, too, one film that is `unknown` makes the
    patient `unknown`. A film that is none, a negative, empty or unreadable is left out while others are left.

    Args:
        answers: of the films of one patient, that may abstain and were not forced.

    Raises:
        ValueError: there is none.
    """
    if not answers:
        raise ValueError("a patient has one film or more")
    if len(answers) == 1:
        return answers[0]
    films = tuple(one.path for one in answers)
    whose = {"path": "; ".join(films), "films": films}
    used = [one for one in answers if one.reason not in _OF_THE_FILM]
    if not used:
        told = min(answers, key=lambda one: one.reason == UNREADABLE)
        return replace(told, notes=_notes(answers, answers), **whose)  # type: ignore[arg-type]  # of their own types
    distances = {name: math.fsum(one.distances[name] for one in used) / len(used) for name in used[0].distances}
    nearest = min(distances, key=lambda name: distances[name])
    ranked = sorted((one for film in used for one in film.exemplars), key=lambda one: one.distance)
    shown: dict[tuple[str, str], Exemplar] = {}
    for one in ranked:
        shown.setdefault((one.path, one.finding), one)
    joined = Answer(
        path="; ".join(films),
        films=films,
        finding=nearest,
        answer=nearest,
        probabilities=_mean_probabilities([one.probabilities for one in used]),
        fitting=_fits_all([one.fitting for one in used]),
        distances=distances,
        exemplars=tuple(shown.values())[: max(len(one.exemplars) for one in used)],
        positive=tuple(dict.fromkeys(name for one in used for name in one.positive)),
        values=used[0].values,
        notes=_notes(answers, [one for one in answers if one.reason in _OF_THE_FILM]),
    )
    return _abstained(joined, used)


def _abstained(joined: Answer, used: Sequence[Answer]) -> Answer:
    far = [one for one in used if one.reason == UNKNOWN]
    if far:
        return joined.abstained(UNKNOWN, f"of {len(far)} of {len(used)} films: {far[0].details}")
    least = joined.distances[joined.finding]
    equal = [name for name, distance in joined.distances.items() if distance == least]
    if len(equal) > 1:
        return joined.abstained(AMBIGUOUS, f"{' and '.join(equal)} are equally near")
    if joined.fitting is None or joined.fitting == (joined.finding,):
        return joined
    if not joined.fitting:
        return joined.abstained(UNKNOWN, "no finding fits all films")
    if len(joined.fitting) == 1:
        return joined.abstained(AMBIGUOUS, f"{joined.fitting[0]} fits all films, {joined.finding} is nearer on average")
    return joined.abstained(AMBIGUOUS, f"{' and '.join(joined.fitting)} fit all films")


def _mean_probabilities(films: Sequence[Mapping[str, float]]) -> dict[str, float]:
    if not all(films):
        return {}
    logs = {name: math.fsum(math.log(max(one[name], _SMALLEST)) for one in films) / len(films) for name in films[0]}
    largest = max(logs.values())
    shares = {name: math.exp(value - largest) for name, value in logs.items()}
    return {name: share / math.fsum(shares.values()) for name, share in shares.items()}


def _fits_all(sets: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    known = [one for one in sets if one is not None]
    return tuple(name for name in known[0] if all(name in one for one in known)) if len(known) == len(sets) else None


def _notes(answers: Sequence[Answer], left_out: Sequence[Answer]) -> tuple[str, ...]:
    notes = [note for one in answers for note in one.notes]
    return tuple(dict.fromkeys([*notes, *(f"left out {one.path}: {one.reason}" for one in left_out)]))
