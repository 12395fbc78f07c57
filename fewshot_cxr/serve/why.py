"""Why this finding rather than that: heat over a film, from the network and the bank's own rule."""

import numpy as np
import torch

from fewshot_cxr.data import to_images, to_square
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.explain import Difference, ExemplarSimilarity, PrototypeSimilarity, Target, grad_cam
from fewshot_cxr.inference import choose_device
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.report.pictures import figure_jpeg
from fewshot_cxr.visualise.heat import heat_figure

EXPLAINED_RULES = ("mean_distance", "prototype")


def can_explain(bank: SupportBank) -> bool:
    """Return whether the bank's rule has a value whose gradient a heat map can show."""
    return bank.terms.rule in EXPLAINED_RULES


def why_picture(
    bank: SupportBank, encoder: Encoder, gray: np.ndarray, findings: tuple[str, str], *, device: str = "auto"
) -> bytes:
    """Return a JPEG of a film, of what speaks for one finding rather than the other, and of both together.

    Args:
        bank: that answers.
        encoder: of the bank.
        gray: the film, uint8, shape (H, W).
        findings: the one, and the other.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        ValueError: the two are one, the bank does not know them, or its rule cannot be explained.
    """
    one, other = findings
    if one == other:
        raise ValueError("the two findings are one: name another")
    if unknown := [name for name in findings if name not in bank.findings]:
        raise ValueError(f"the bank has no finding {unknown[0]!r}; it has {', '.join(bank.findings)}")
    if not can_explain(bank):
        raise ValueError(f"the rule {bank.terms.rule!r} is not explained by heat; {' and '.join(EXPLAINED_RULES)} are")
    square, place = to_square(gray, encoder.image_spec), choose_device(device)
    images = to_images(torch.from_numpy(square[None]).to(place), encoder.image_spec)
    heat = grad_cam(encoder.to(place), images, Difference(_likeness(bank, one), _likeness(bank, other)))[0]
    return figure_jpeg(heat_figure(square, heat, title=f"What speaks for {one} rather than for {other}"))


def _likeness(bank: SupportBank, finding: str) -> Target:
    support, distance = bank.exemplars.embeddings, bank.terms.distance
    vectors, labels = torch.from_numpy(np.array(support.vectors)), torch.from_numpy(support.class_ids)
    label = support.class_names.index(finding)
    if bank.terms.rule == "prototype":
        return PrototypeSimilarity(vectors[labels == label], distance)
    return ExemplarSimilarity(vectors, labels, label, distance)
