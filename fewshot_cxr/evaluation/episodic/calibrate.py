"""A temperature for the probabilities, fitted in episodes on films outside the test."""

from collections.abc import Mapping

import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes, EpisodeSource
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.metrics import fit_temperature

_N_EPISODES = 200


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
