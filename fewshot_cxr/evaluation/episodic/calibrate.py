"""A temperature for the probabilities, fitted on the supports of the episodes, or on films outside the test."""

from collections.abc import Mapping

import numpy as np
import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes, EpisodeSource
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.inference.support_temperature import kept_beside, temperature_of
from fewshot_cxr.metrics import fit_temperature

_N_EPISODES = 200
_N_SUPPORTS, _MOST_LEFT_OUT = 50, 20


@torch.inference_mode()
def fit_on_supports(rule: FilmRule, episodes: EpisodeSource) -> float | None:
    """Fit one temperature on the support films of the first episodes, each decided by those of other patients.

    Every film is left out once in each of 50 episodes, or 20 of its films where there are more; see `kept_beside`.

    Args:
        rule: with its films.
        episodes: of the test; their queries are not looked at.

    Returns:
        Temperature, in the unit of the distances. None, there is none: the rule looks at all queries at once; a finding
        has one support film, or one patient; or the distances tell nothing.
    """
    found, true = [], []
    for part in () if rule.rule.is_transductive else episodes.block(0, min(_N_SUPPORTS, episodes.n_episodes)).parts():
        patients, labels = rule.films.patient_ids[part.support], part.support_labels
        some = np.linspace(0, len(labels) - 1, min(len(labels), _MOST_LEFT_OUT)).round().astype(np.int64)
        for place in some[np.bincount(labels)[labels[some]] > 1].tolist():
            kept = kept_beside(labels, np.arange(len(labels)) == place, rule=rule.rule.name, turn=place)
            # A patient of several support films would be on both sides.
            is_alone = (patients[:, kept] != patients[:, [place]]).all(axis=1)
            if is_alone.any():
                rows, asked = part.support[is_alone][:, kept], part.support[is_alone][:, [place]]
                found.append(rule.decide(rows, torch.from_numpy(labels[kept]), asked)[:, 0].cpu().double())
                true.append(torch.full((len(rows),), int(labels[place])))
    return temperature_of(found, true)


def fit_on_episodes(films: Embeddings, rule: FilmRule, episodes: EpisodeSource) -> float:
    """Fit a temperature on episodes of the same shape, drawn from other films.

    Args:
        films: for the calibration; none of them may be in the test.
        rule: with the films of the test.
        episodes: of the test; their ways, shots and queries are taken, or as many queries as the films allow.

    Returns:
        Temperature, in the unit of the distances.

    Raises:
        ValueError: a film of the test is among `films`, or there are too few films for such episodes.
    """
    tested = rule.films
    if films.paths is None or tested.paths is None:
        known = {row.tobytes() for row in tested.vectors}
        if any(row.tobytes() in known for row in films.vectors):
            raise ValueError(
                "films of the calibration are in the test too; calibrate on other films (--calibrate-split)"
            )
    shared = set(films.paths or ()) & set(tested.paths or ())
    if shared:
        raise ValueError(
            f"{len(shared)} films are in the calibration and in the test, such as {min(shared)}; "
            "calibrate on other films (--calibrate-split)"
        )
    shape = episodes.to_json()
    n_classes = len({int(class_id) for class_id in films.class_ids})
    n_shot = shape.get("n_shot") or 5
    if isinstance(n_shot, Mapping):
        n_shot = {name: n for name, n in n_shot.items() if name in films.class_names}
    try:
        drawn = Episodes.draw(
            films,
            n_way=min(episodes.n_way, n_classes),
            n_shot=n_shot,
            n_query=shape.get("n_query") or 15,
            n_episodes=_N_EPISODES,
            seed=int(shape["seed"]),
            if_too_small="shrink_query",
        )
    except ValueError as error:
        raise ValueError(f"the films for calibration do not serve: {error}") from error
    largest = max(drawn.block(0, _N_EPISODES).parts(), key=len)
    return fit_temperature(rule.on(films).distances(largest).cpu(), torch.from_numpy(largest.query_labels))
