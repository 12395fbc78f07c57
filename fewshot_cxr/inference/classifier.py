"""What stands behind an encoder: a classifier, its linear head and the findings it tells; or a learned distance."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_cxr._progress import Bar
from fewshot_cxr.data import CachedFilms
from fewshot_cxr.encoders import Encoder, load_encoder, load_head
from fewshot_cxr.inference.device import choose_device
from fewshot_cxr.inference.embed import film_vectors
from fewshot_cxr.objectives import LinearHead, WeightedL1Head

_LINEAR = "linear"
_WEIGHTED_L1 = "weighted_l1"
_SIGMOID = "sigmoid"
_BY_EXEMPLARS = "judge it by labelled films (evaluate --checkpoint), or train a classifier"


@dataclass(frozen=True, eq=False)
class Classifier:
    """Films in, one logit for each finding out.

    Args:
        encoder: its embeddings are what the head takes.
        head: one logit for each finding, in the order of `findings`.
        findings: distinct names.

    Raises:
        ValueError: the head has another number of findings, or takes embeddings of another length.

    Examples:
        >>> from fewshot_cxr.objectives import LinearHead
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.encoders import as_encoder
        >>> encoder = as_encoder(nn.Flatten(), ImageSpec(size_px=8))  # 64 numbers a film
        >>> classifier = Classifier(encoder, LinearHead(64, 2, activation="sigmoid"), ["effusion", "nodule"])
        >>> classifier.findings, classifier.is_multi_label
        (('effusion', 'nodule'), True)
    """

    encoder: Encoder
    head: LinearHead
    findings: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "findings", tuple(self.findings))
        n_classes, n_features = self.head.weight.shape
        if n_classes != len(self.findings) or len(set(self.findings)) != n_classes:
            raise ValueError(f"the head tells {n_classes} findings, got {len(self.findings)}: {self.findings}")
        if n_features != self.encoder.embedding_dim:
            raise ValueError(
                f"the head takes embeddings of dim {n_features}, the encoder gives {self.encoder.embedding_dim}"
            )

    @property
    def activation(self) -> str:
        """What makes probabilities of logits: "softmax" over the findings, or "sigmoid" of each."""
        return self.head.activation

    @property
    def is_multi_label(self) -> bool:
        """Whether a film may show several of the findings, each told for itself."""
        return self.activation == _SIGMOID and len(self.findings) > 1


def classifier_head_card(classifier: Classifier) -> dict[str, Any]:
    """Return what the encoder's card says of the head, plain JSON values: `load_classifier` rebuilds it from them.

    Examples:
        >>> from fewshot_cxr.objectives import LinearHead
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.encoders import as_encoder
        >>> encoder = as_encoder(nn.Flatten(), ImageSpec(size_px=8))
        >>> classifier_head_card(Classifier(encoder, LinearHead(64, 2), ["normal", "covid19"]))
        {'kind': 'linear', 'activation': 'softmax', 'bias': True, 'findings': ['normal', 'covid19']}
    """
    head = classifier.head
    return {
        "kind": _LINEAR,
        "activation": head.activation,
        "bias": head.bias is not None,
        "findings": list(classifier.findings),
    }


def load_classifier(path: str | Path, *, module: nn.Module | None = None) -> Classifier:
    """Load a classifier, in eval mode, on the CPU.

    Args:
        path: a run folder, or an encoder file with a linear head.
        module: takes the encoder's weights; see `load_encoder`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds an encoder without a classifier, or one that this version does not know.
        OSError: the file is damaged.

    Examples:
        >>> from fewshot_cxr.objectives import LinearHead
        >>> import tempfile
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.encoders import as_encoder, save_encoder
        >>> one = Classifier(as_encoder(nn.Flatten(), ImageSpec(size_px=8)), LinearHead(64, 2), ["normal", "covid19"])
        >>> card, head = {"head": classifier_head_card(one)}, one.head.state_dict()
        >>> with tempfile.TemporaryDirectory() as run:
        ...     save_encoder(one.encoder, f"{run}/best", card=card, head=head)
        ...     load_classifier(f"{run}/best", module=nn.Flatten()).findings
        ('normal', 'covid19')
    """
    encoder = load_encoder(path, module=module)
    facts = encoder.card.get("head")
    if facts is None:
        raise ValueError(f"{path} is an encoder without a classifier; {_BY_EXEMPLARS}")
    if facts.get("kind") != _LINEAR:
        raise ValueError(f"{path} has a head that compares two films, no classifier; {_BY_EXEMPLARS}")
    tensors, _ = load_head(path)
    try:
        findings = tuple(facts["findings"])
        head = LinearHead(encoder.embedding_dim, len(findings), bias=facts["bias"], activation=facts["activation"])
        head.load_state_dict(tensors)
        return Classifier(encoder, head.eval(), findings)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).replace("\n\t", " ")
        raise ValueError(f"{path}: its classifier cannot be rebuilt by this version: {reason}") from error


def classify_films(
    classifier: Classifier,
    films: CachedFilms,
    *,
    batch_size: int = 128,
    device: str = "auto",
    progress: Bar | None = None,
) -> np.ndarray:
    """Return the logits of decoded films.

    Args:
        classifier: its encoder's `image_spec` says how the films are to be decoded.
        films: of `cache_films`.
        batch_size: films at a time; changes speed and memory only.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: called with (films done, films in all).

    Returns:
        float32, shape (N, n_findings), in the order of the films; larger is more so.

    Raises:
        ValueError: the device is absent, or the films are decoded at another size than the encoder's.

    Examples:
        >>> from fewshot_cxr.objectives import LinearHead
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.data import DatasetFilms
        >>> from fewshot_cxr.encoders import as_encoder
        >>> spec, film = ImageSpec(size_px=8), np.zeros((8, 8), np.uint8)
        >>> classifier = Classifier(as_encoder(nn.Flatten(), spec), LinearHead(64, 2), ["normal", "covid19"])
        >>> classify_films(classifier, DatasetFilms([(film, "normal")] * 3, spec), device="cpu").shape
        (3, 2)
    """
    if films.size_px != (size_px := classifier.encoder.image_spec.size_px):
        raise ValueError(f"the films are decoded at {films.size_px} px, the classifier takes {size_px}; cache them so")
    encoder = classifier.encoder
    vectors = film_vectors(encoder, films, batch_size=batch_size, device=device, keeps=True, progress=progress)
    chosen = choose_device(device)
    with torch.inference_mode():
        logits: Tensor = classifier.head.to(chosen)(torch.from_numpy(vectors).to(chosen))
    return logits.cpu().numpy()


def template_options(encoder: Encoder, path: str | Path) -> dict[str, Any]:
    """Return the keywords that make the rule `template` measure as the run was trained.

    Args:
        encoder: as it was loaded; its card says whether a distance was learned.
        path: the run folder or encoder file that it was loaded from.

    Returns:
        {"weights": float (dim,), "bias": float}; {} where the run learned no distance, and plain l1 is meant.

    Raises:
        FileNotFoundError, OSError, ValueError: as for `load_head`; or a head that this version does not know.

    Examples:
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.encoders import as_encoder
        >>> template_options(as_encoder(nn.Flatten(), ImageSpec(size_px=8)), "runs/first")  # it has learned no distance
        {}
    """
    facts = encoder.card.get("head") or {}
    if facts.get("kind") != _WEIGHTED_L1:
        return {}
    tensors, _ = load_head(path)
    head = WeightedL1Head(encoder.embedding_dim, is_nonnegative=bool(facts.get("is_nonnegative")))
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: its learned distance cannot be rebuilt by this version: {reason}") from error
    return {"weights": head.weights.detach(), "bias": head.bias.item()}
