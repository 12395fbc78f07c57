"""Episodes on the validation films after each epoch: what early stopping and the choice of the best encoder go by."""

from dataclasses import dataclass

import numpy as np

from fewshot_cxr.class_pool import support_group_count
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import evaluate_episodes


@dataclass(frozen=True)
class EpisodePlan:
    """Shape of the validation episodes: which classes, how many shots and queries, and what was shrunk, in words."""

    class_ids: tuple[int, ...]
    n_shot: int
    n_query: int
    notes: tuple[str, ...] = ()


def plan_validation(
    class_ids: np.ndarray, group_ids: np.ndarray, class_names: tuple[str, ...], *, n_shot: int, n_query: int
) -> EpisodePlan | None:
    """Fit the episodes to the validation films.

    The rule: a class with films of fewer than two patients is left out of validation; then queries shrink, and only
    when one query is still too many do shots shrink, until every class has enough. None: fewer than two classes left.

    Args:
        class_ids, group_ids: int64, shape (N,).
        class_names: findings, for the notes.
        n_shot, n_query: wanted per class.
    """
    sizes = {
        class_id: np.unique(group_ids[class_ids == class_id], return_counts=True)[1].tolist()
        for class_id in np.unique(class_ids).tolist()
    }
    kept = {class_id: groups for class_id, groups in sizes.items() if support_group_count(groups, 1, 1)}
    if len(kept) < 2:
        return None
    notes = [f"{class_names[c]} has films of one patient in validation: left out there" for c in sizes if c not in kept]
    for shots in range(n_shot, 0, -1):
        for queries in range(n_query, 0, -1):
            if all(support_group_count(groups, shots, queries) for groups in kept.values()):
                if (shots, queries) != (n_shot, n_query):
                    notes.append(
                        f"validation episodes are {shots}-shot with {queries} queries per class instead of "
                        f"{n_shot} and {n_query}: a finding has few validation patients"
                    )
                return EpisodePlan(tuple(kept), shots, queries, tuple(notes))
    return None


def validation_accuracy(films: Embeddings, plan: EpisodePlan, *, rule: str, distance: str, n_episodes: int) -> float:
    """Return the mean accuracy over the planned episodes, the same episodes at every call."""
    rows = np.isin(films.class_ids, plan.class_ids)
    kept = Embeddings(
        films.vectors[rows],
        films.class_ids[rows],
        films.patient_ids[rows],
        films.class_names,
        paths=None
        if films.paths is None
        else [path for path, is_kept in zip(films.paths, rows, strict=True) if is_kept],
    )
    result = evaluate_episodes(
        kept, n_shot=plan.n_shot, n_query=plan.n_query, n_episodes=n_episodes, rule=rule, distance=distance, seed=0
    )
    return result.accuracy.mean
