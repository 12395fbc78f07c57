"""The validation films after each epoch: what the schedule, early stopping and the choice of the best epoch go by.

An encoder is asked in episodes, a classifier film by film.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodePart, Episodes, support_group_count
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.evaluation.episodic.threads import in_order
from fewshot_cxr.metrics import confusion_scores, log_odds, one_vs_rest, ranking_scores, tie_credits

MONITORS = ("val_loss", "val_accuracy", "val_balanced_accuracy", "val_auroc")
_SEED = 0  # the same episodes at every epoch


@dataclass(frozen=True)
class EpisodePlan:
    """The validation episodes: which classes, how many shots and queries, what was shrunk, in words, and their films.

    They are drawn once for all epochs, as rows among the films of these classes: a draw takes longer than an answer.
    """

    class_ids: tuple[int, ...]
    n_shot: int
    n_query: int
    episodes: tuple[EpisodePart, ...]
    notes: tuple[str, ...] = ()


def plan_validation(films: Embeddings, *, n_shot: int, n_query: int, n_episodes: int) -> EpisodePlan | None:
    """Fit the episodes to the validation films.

    The rule: a class with films of fewer than two patients is left out of validation; then queries shrink, and only
    when one query is still too many do shots shrink, until every episode can be drawn. None: none can.

    Args:
        films: labelled as those of every validation; their vectors do not matter.
        n_shot: support films wanted per class.
        n_query: queries wanted per class.
        n_episodes: that will be drawn.
    """
    names = films.class_names
    sizes = {
        class_id: np.unique(films.patient_ids[films.class_ids == class_id], return_counts=True)[1].tolist()
        for class_id in np.unique(films.class_ids).tolist()
    }
    kept = {class_id: groups for class_id, groups in sizes.items() if support_group_count(groups, 1, 1)}
    who = "patient" if films.has_patient.any() else "film"
    if len(kept) < 2:
        return None
    lone = "one film" if who == "film" else "films of one patient"
    notes = [f"{names[c]} has {lone} in validation: left out there" for c in sizes if c not in kept]
    some = films_asked(films, tuple(kept))
    for shots in range(n_shot, 0, -1):
        for queries in range(n_query, 0, -1):
            is_enough = all(support_group_count(groups, shots, queries) for groups in kept.values())
            if is_enough and (episodes := _drawn(some, shots, queries, n_episodes)):
                if (shots, queries) != (n_shot, n_query):
                    notes.append(
                        f"validation episodes are {shots}-shot with {queries} queries per class instead of "
                        f"{n_shot} and {n_query}: a finding has few validation {who}s"
                    )
                return EpisodePlan(tuple(kept), shots, queries, episodes, tuple(notes))
    return None


def _drawn(films: Embeddings, n_shot: int, n_query: int, n_episodes: int) -> tuple[EpisodePart, ...]:
    """Draw them all: patients with films of several findings may leave too few, which no count of a class tells."""
    episodes = Episodes.draw(films, n_shot=n_shot, n_query=n_query, n_episodes=n_episodes, seed=_SEED)
    try:
        return tuple(part for block in episodes.blocks() for part in block.parts())
    except ValueError:
        return ()


def films_asked(films: Embeddings, class_ids: Sequence[int]) -> Embeddings:
    """Return the films of some classes, which the rows of a plan's episodes are among."""
    return films.take(np.flatnonzero(np.isin(films.class_ids, class_ids)))


def validation_accuracy(
    films: Embeddings,
    plan: EpisodePlan,
    *,
    rule: str,
    distance: str,
    rule_options: Mapping[str, Any] | None = None,
) -> float:
    """Return the mean accuracy over the planned episodes, the same episodes at every call.

    Where the encoder has collapsed, every decision is a tie: chance, which training warns of.
    """
    kept = films_asked(films, plan.class_ids)
    if (kept.vectors == kept.vectors[0]).all():
        return 1 / len(plan.class_ids)
    recalls = episode_recalls(kept, plan.episodes, rule=rule, distance=distance, rule_options=rule_options)
    return float(recalls[list(plan.class_ids)].mean())  # each class has as many queries


def episode_recalls(
    films: Embeddings,
    episodes: Sequence[EpisodePart],
    *,
    rule: str,
    distance: str,
    rule_options: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Answer the queries of episodes, and nothing more: intervals and calibration take longer than the answers.

    Returns:
        Which share of the queries of each class is answered rightly, of k tied answers each a kth; NaN: none asked.
    """
    decider = FilmRule(films, rule=rule, distance=distance, options=rule_options, device="auto")
    right, asked = np.zeros((2, len(films.class_names)))
    for part, distances in in_order(decider.distances, episodes, decider.n_threads):
        labels = part.query_labels
        credits = tie_credits(distances)[:, range(len(labels)), labels].double().cpu().numpy()
        class_ids = part.class_ids[:, labels].ravel()
        right += np.bincount(class_ids, credits.ravel(), len(right))
        asked += np.bincount(class_ids, minlength=len(asked))
    with np.errstate(invalid="ignore"):
        return np.asarray(right / asked)


def classifier_scores(head: nn.Module, loss: nn.Module, vectors: np.ndarray, class_ids: np.ndarray) -> dict[str, float]:
    """Return the columns of the history; a number that these films leave undefined is absent.

    Args:
        head: embeddings to logits; stays on its device.
        loss: takes (logits, targets).
        vectors: embeddings of the validation films, float32, shape (N, dim).
        class_ids: what they show, as `XrayDataset` has it.

    Returns:
        val_loss, val_accuracy, val_balanced_accuracy, val_auroc, all over the films as they are. With several findings
        a film, accuracy counts entries (threshold 0.5), and the others are means over the findings. All are NaN where
        a logit is not finite.
    """
    device = next(head.parameters()).device
    targets = torch.from_numpy(class_ids)
    with torch.inference_mode():
        logits: Tensor = head(torch.from_numpy(vectors).to(device)).cpu()
    if not logits.isfinite().all():
        return dict.fromkeys(MONITORS, math.nan)
    with torch.no_grad():
        value = loss(logits.to(device), targets.to(device)).item()
    if bool(targets.isnan().all()):
        return {}  # nobody looked: the loss is 0 whatever the classifier says
    scores = _several_findings if targets.is_floating_point() else _one_finding
    row = {"val_loss": value, **scores(logits, targets)}
    return {name: number for name, number in row.items() if math.isfinite(number)}


def _one_finding(logits: Tensor, class_ids: Tensor) -> dict[str, float]:
    n_classes = logits.shape[1]
    counts = torch.bincount(class_ids * n_classes + logits.argmax(dim=1), minlength=n_classes**2)
    scores = confusion_scores(counts.view(n_classes, n_classes))
    auroc, _ = one_vs_rest(log_odds(-logits), class_ids, n_classes)
    return {
        "val_accuracy": float(scores["accuracy"]),
        "val_balanced_accuracy": float(scores["balanced_accuracy"]),
        "val_auroc": float(auroc.nanmean()),
    }


def _several_findings(logits: Tensor, truth: Tensor) -> dict[str, float]:
    stated, balanced, aurocs = ~truth.isnan(), [], []
    right = ((logits > 0) == (truth > 0.5)) & stated
    for column in range(truth.shape[1]):
        rows = stated[:, column]
        is_positive, scores = truth[rows, column] == 1, logits[rows, column]
        n_positive = int(is_positive.sum())
        if 0 < n_positive < len(is_positive):
            hits = right[rows, column]
            balanced.append((hits[is_positive].double().mean() + hits[~is_positive].double().mean()) / 2)
            aurocs.append(ranking_scores(scores, is_positive)[0])
    return {
        "val_accuracy": float(right.sum() / stated.sum()),
        "val_balanced_accuracy": float(torch.stack(balanced).mean()) if balanced else math.nan,
        "val_auroc": float(torch.stack(aurocs).mean()) if aurocs else math.nan,
    }
