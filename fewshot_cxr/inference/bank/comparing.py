"""A bank's encoder and rule in torch, as answering asks for them."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fewshot_cxr.encoders import Encoder
from fewshot_cxr.inference.bank.answering import AskedFilm, Compare, Measure
from fewshot_cxr.inference.bank.conformal import SupportConformal
from fewshot_cxr.inference.batches import embed_and_pool
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.inference.device import choose_device
from fewshot_cxr.inference.prediction import Prediction
from fewshot_cxr.inference.predictor import compare_by


def measure_by(encoder: Encoder, device: str) -> Measure:
    """Return what finds embedding and pooled features of films.

    Args:
        encoder: of the bank.
        device: "auto", "cpu", "cuda" or "cuda:N".
    """
    chosen = choose_device(device)

    def measure(squares: np.ndarray) -> Iterator[Mapping[str, np.ndarray]]:
        for features, vector in zip(*next(embed_and_pool(encoder, [squares], chosen)), strict=True):
            yield {"features": features, "vector": vector}

    return measure


def comparing_by(decider: Decider) -> Compare:
    """Return what compares embedded films with the exemplars of a decider."""

    def compare(films: Sequence[AskedFilm], n_nearest: int) -> tuple[list[Prediction], np.ndarray]:
        vectors = np.stack([film.vector for film in films if film.vector is not None])
        return compare_by(decider, vectors, [film.path for film in films], n_nearest=n_nearest)

    return compare


def conformal_of(decider: Decider) -> SupportConformal:
    """Return the p-values of a decider's own exemplars.

    Raises:
        ValueError: as `conformal.check_rule`.
    """
    known = decider.support.vectors, decider.labels.numpy(), decider.support.patient_ids
    return SupportConformal(*known, rule=decider.rule, distance=decider.distance)
