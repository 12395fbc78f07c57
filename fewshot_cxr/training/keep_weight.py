"""The weight of what the known findings teach, chosen without any new finding: each known one plays it in turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.data.splits.by_share import share_out
from fewshot_cxr.encoders.joined import USUAL_KEEP, JoinedHead, fit_joined_head
from fewshot_cxr.evaluation import evaluate_episodes
from fewshot_cxr.inference.embed import with_facts
from fewshot_cxr.records import Records
from fewshot_cxr.training.validation import plan_validation

KEEPS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
_N_FOLDS = 3
_N_SHOT, _N_QUERY, _N_EPISODES = 5, 10, 200
_N_TOLD = 6  # of the findings that played the new one


@dataclass(frozen=True)
class KeepChoice:
    """The weight, and how it was chosen, in words."""

    weight: float
    how: str


def choose_keep(vectors: Tensor, films: Records, widths: Sequence[int], *, seed: int) -> KeepChoice:
    """Take the weight with which findings that a head never met, and those that it knows, are told best.

    The films are parted by patient in three. On two parts a head is fitted without one of the findings, and asked in
    episodes on the third, with it: what counts is the mean of its recall and of the mean recall of the others.

    Args:
        vectors: pooled features of the training films, float, shape (N, n_features).
        films: the same, of one finding each.
        widths: of the groups of columns, as for `fit_joined_head`.
        seed: of the parting.

    Returns:
        A weight of KEEPS. USUAL_KEEP where fewer than three findings are known, of which none can play the new one, and
        where too few patients show any of them.
    """
    if len(films.findings) < 3:
        return KeepChoice(USUAL_KEEP, "the usual one: of two known findings none can play the new one")
    part = share_out(films, (1 / _N_FOLDS,) * _N_FOLDS, [f"fold{fold}" for fold in range(_N_FOLDS)], seed=seed)[0]
    played, scores = [], []
    for fold in range(_N_FOLDS):
        for new, row in _scores_of_fold(vectors, films, widths, part == fold):
            played.append(new)
            scores.append(row)
    if not played:
        return KeepChoice(USUAL_KEEP, "the usual one: too few patients for any known finding to play the new one")
    mean = np.mean(scores, axis=0)
    best, names = int(mean.argmax()), sorted(set(played))
    who = ", ".join(names[:_N_TOLD]) + (f" and {len(names) - _N_TOLD} more" if len(names) > _N_TOLD else "")
    how = f"of {', '.join(f'{keep:g}' for keep in KEEPS)} the best where {who} played the new finding in turn, on "
    how += f"training films of other patients: mean recall of new and old {mean[best]:.1%}, {mean[0]:.1%} at weight 0"
    return KeepChoice(KEEPS[best], how)


def _scores_of_fold(
    vectors: Tensor, films: Records, widths: Sequence[int], is_asked: np.ndarray
) -> Iterator[tuple[str, list[float]]]:
    """Yield each finding that can play the new one, with the score of every weight."""
    rows = np.flatnonzero(is_asked)
    asked = films.take(rows.tolist())
    classes = {name: class_id for class_id, name in enumerate(films.findings)}
    class_ids = np.array([classes[film.finding] for film in films])
    for new in asked.findings:
        fitted = np.flatnonzero(~is_asked & (class_ids != classes[new]))
        counts = np.unique(class_ids[fitted], return_counts=True)[1]
        if len(counts) < 2 or counts.max() < 2:
            continue
        head = fit_joined_head(vectors[fitted], torch.from_numpy(class_ids[fitted]), widths)
        scores = _scores(head, vectors[rows], asked, new)
        if scores is not None:
            yield new, scores


def _scores(head: JoinedHead, vectors: Tensor, films: Records, new: str) -> list[float] | None:
    """Return the mean of the new finding's recall and of the others' at each weight; None where none can be asked."""
    plan = plan_validation(
        with_facts(np.zeros((len(films), 1)), films), n_shot=_N_SHOT, n_query=_N_QUERY, n_episodes=_N_EPISODES
    )
    if plan is None or films.findings.index(new) not in plan.class_ids:
        return None
    names = {films.findings[class_id] for class_id in plan.class_ids}
    chosen = [row for row, film in enumerate(films) if film.finding in names]
    with torch.inference_mode():
        kept = head.kept(vectors[chosen])
        taught = head.directions(kept)
        # Among so few films the distances are those between as many coordinates.
        left, lengths, _ = torch.linalg.svd(kept, full_matrices=False)
    scores, some = [], films.take(chosen)
    for keep in KEEPS:
        result = evaluate_episodes(
            with_facts(torch.cat([left * lengths, keep * taught], dim=1).numpy(), some),
            n_shot=plan.n_shot,
            n_query=plan.n_query,
            n_episodes=_N_EPISODES,
            rule="prototype",
            distance="euclidean",
            patient_interval=False,
            progress=None,
        )
        recalls = {name: result.scores.per_class[name]["sensitivity"].value for name in names}
        others = [recall for name, recall in recalls.items() if name != new]
        scores.append((recalls[new] + float(np.mean(others))) / 2)
    return scores
