"""A classifier on its validation films after each epoch: what the schedule, the best epoch and stopping go by."""

import math

import torch
from torch import Tensor, nn

from fewshot_cxr.data import XrayDataset
from fewshot_cxr.inference import Classifier, classify_films
from fewshot_cxr.metrics import confusion_scores, one_vs_rest, ranking_scores

MONITORS = ("val_loss", "val_accuracy", "val_balanced_accuracy", "val_auroc")


def judge_classifier(classifier: Classifier, films: XrayDataset, loss: nn.Module) -> dict[str, float]:
    """Return the columns of the history; a number that these films leave undefined is absent.

    Args:
        classifier: stays on its device and in its mode.
        films: for validation, with the classifier's findings.
        loss: takes (logits, targets).

    Returns:
        val_loss, val_accuracy, val_balanced_accuracy, val_auroc, all over the films as they are. With several findings
        a film, accuracy counts entries (threshold 0.5), and the others are means over the findings.
    """
    device = next(classifier.encoder.parameters()).device
    logits = torch.from_numpy(classify_films(classifier, films.films, device=str(device)))
    targets = torch.from_numpy(films.class_ids)
    with torch.no_grad():
        value = loss(logits.to(device), targets.to(device)).item()
    if bool(targets.isnan().all()):
        return {}  # nobody looked: the loss is 0 whatever the classifier says
    judge = _several_findings if targets.is_floating_point() else _one_finding
    row = {"val_loss": value, **judge(logits, targets)}
    return {name: number for name, number in row.items() if math.isfinite(number)}


def _one_finding(logits: Tensor, class_ids: Tensor) -> dict[str, float]:
    n_classes = logits.shape[1]
    counts = torch.bincount(class_ids * n_classes + logits.argmax(dim=1), minlength=n_classes**2)
    scores = confusion_scores(counts.view(n_classes, n_classes))
    auroc, _ = one_vs_rest(logits, class_ids, n_classes)
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
