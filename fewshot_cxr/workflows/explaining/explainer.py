"""What is explained: which number a heat map speaks of, for the decisions of exemplars or of a classifier."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr._checks import lookup, nearest
from fewshot_cxr.data import CachedFilms, to_images
from fewshot_cxr.data.masks import LungMasks
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.encoders.base import eval_mode
from fewshot_cxr.explain import METHODS, Difference, Mean, Target, heat_maps
from fewshot_cxr.explain.gradcam import FEATURES
from fewshot_cxr.inference import Classifier, choose_device
from fewshot_cxr.inference.batches import embed_and_pool
from fewshot_cxr.records import Record
from fewshot_cxr.workflows.explaining.deciders import ByClassifier, ByExemplars
from fewshot_cxr.workflows.judging import Exemplars

QUESTIONS = {
    "contrast": "what speaks for the decided finding rather than for the others",
    "decision": "what speaks for the finding that was decided",
    "truth": "what speaks for the film's own finding",
    "why": "what speaks for the decided finding rather than for the next one",
    "nearest": "what is like the nearest exemplar",
}
_OF_A_FINDING = "finding:"
ATTENTION, _CAM = "attention", "cam"
_AGAINST_OTHERS = ("contrast", "why")


@dataclass(frozen=True, eq=False)
class Decided:
    """What N films were decided to be.

    Attributes:
        films: decoded, uint8, shape (N, S, S).
        truths: their own findings, which the question "truth" asks for; () where they are not known.
        embeddings: on the explainer's device, shape (N, dim).
        values: distance (smaller is closer) or logit (larger is more so) of each finding, shape (N, n_findings).
        ranked: the findings from the decided one to the last, int64, shape (N, n_findings).
    """

    films: np.ndarray
    truths: tuple[str, ...]
    embeddings: Tensor
    values: Tensor
    ranked: Tensor

    @property
    def class_ids(self) -> Tensor:
        """The decided finding of each film, int64, shape (N,)."""
        return self.ranked[:, 0]


@dataclass(frozen=True, eq=False)
class Explainer:
    """An encoder, how it decides, and the question that its heat maps answer. Made by `of_exemplars`, `of_classifier`.

    Args:
        encoder: neither its weights nor its mode change; it moves to the device.
        decider: by exemplars or by a classifier.
        device: of both.
        question: a name in QUESTIONS, or "finding:NAME": what speaks for this finding, whatever was decided. "": the
            contrast; of the method "cam" and of a single finding the decision. Why the contrast: what makes a film like
            one finding's films makes it like any chest film in the main, and maps of the decision alone show that.
        method: a name in METHODS. Attention maps follow from the film alone, whatever the question.
        layer: see `heat_maps`; None: the method's own.

    Raises:
        ValueError: unknown question, method or finding, or two that do not go together.
    """

    encoder: Encoder
    decider: ByExemplars | ByClassifier
    device: torch.device
    question: str = ""
    method: str = "grad_cam"
    layer: str | None = None

    def __post_init__(self) -> None:
        lookup(METHODS, self.method, what="method")
        if not self.question:
            is_plain = self.method == _CAM or len(self.findings) < 2
            object.__setattr__(self, "question", "decision" if is_plain else "contrast")
        name = self.named_finding
        if name is None:
            lookup(QUESTIONS, self.question, what="question")
        elif name not in self.findings:
            raise ValueError(
                f"no finding is called {name!r}{nearest(name, self.findings)}; {self.question!r} must name one of "
                f"{', '.join(self.findings)} (--question)"
            )
        if self.question == "nearest" and not isinstance(self.decider, ByExemplars):
            raise ValueError("a classifier has no exemplars: question 'nearest' goes with --checkpoint")
        if self.question in _AGAINST_OTHERS and len(self.findings) < 2:
            raise ValueError("the classifier tells one finding only, and there is no other; ask another --question")
        if self.method == _CAM and (isinstance(self.decider, ByExemplars) or self.question in _AGAINST_OTHERS):
            raise ValueError("method 'cam' maps one logit of a classifier; take method grad_cam (--method)")

    @classmethod
    def of_exemplars(cls, encoder: Encoder, exemplars: Exemplars, *, device: str = "auto", **asked: Any) -> "Explainer":
        """Explain decisions by the distance to labelled films.

        Args:
            encoder: its `image_spec` says how films are prepared.
            exemplars: embedded by it; films of two findings or more, one finding each.
            device: "auto", "cpu", "cuda" or "cuda:N".
            asked: `question`, `method` and `layer` of the class.

        Raises:
            ValueError: what `ByExemplars` and this class refuse.
        """
        chosen = choose_device(device)
        return cls(encoder, ByExemplars(exemplars, chosen), chosen, **asked)

    @classmethod
    def of_classifier(cls, classifier: Classifier, *, device: str = "auto", **asked: Any) -> "Explainer":
        """Explain the logits of a classifier; arguments and errors as for `of_exemplars`."""
        chosen = choose_device(device)
        classifier.head.to(chosen)
        return cls(classifier.encoder, ByClassifier(classifier), chosen, **asked)

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that are told apart."""
        return self.decider.findings

    @property
    def named_finding(self) -> str | None:
        """The finding that the question names, whatever was decided; None: it names none."""
        return self.question.removeprefix(_OF_A_FINDING) if self.question.startswith(_OF_A_FINDING) else None

    @property
    def value_name(self) -> str:
        """What `Decided.values` are: "distance" or "logit"."""
        return self.decider.value_name

    def decide(self, films: np.ndarray, truths: Sequence[str] = ()) -> Decided:
        """Decide on decoded films, uint8, shape (N, S, S), whose own findings are `truths`."""
        vectors = torch.from_numpy(next(embed_and_pool(self.encoder, [films], self.device))[1]).to(self.device)
        with torch.no_grad():
            values = self.decider.values(vectors)
        ranked = values.argsort(dim=1, descending=self.value_name == "logit", stable=True)
        return Decided(films, tuple(truths), vectors, values, ranked)

    def images(self, films: np.ndarray) -> Tensor:
        """Return the encoder's input of decoded films, on the device."""
        return to_images(torch.from_numpy(films).to(self.device), self.encoder.image_spec)

    def target(self, decided: Decided) -> Target:
        """Return the number that the question asks about, for films that were decided.

        Raises:
            ValueError: a film's own finding is asked for, and is unknown or none that is told apart.
        """
        by, embeddings = self.decider, decided.embeddings
        if isinstance(by, ByExemplars) and self.question == "nearest":
            return by.likeness(by.vectors[by.nearest(embeddings)[0]])
        chosen = by.target(self._asked_classes(decided), embeddings)
        if self.question == "contrast":
            n_findings = len(self.findings)
            others = [(decided.class_ids + step) % n_findings for step in range(1, n_findings)]
            return Difference(chosen, Mean([by.target(one, embeddings) for one in others]))
        return Difference(chosen, by.target(decided.ranked[:, 1], embeddings)) if self.question == "why" else chosen

    def heat(self, decided: Decided) -> np.ndarray:
        """Return where the number of the question comes from: float32, shape (N, S, S), in its unit."""
        return self._mapped(decided.films, None if self.method == ATTENTION else self.target(decided))

    def nearest_exemplars(self, decided: Decided) -> list[tuple[Record, np.ndarray, np.ndarray, float]]:
        """Map the other film of each pair: the nearest exemplar, for what it has in common with the film.

        Returns:
            Of each film the record of its exemplar, this one itself, uint8 (S, S), its heat (S, S), and its distance.

        Raises:
            ValueError: the question is not "nearest".
        """
        if not isinstance(self.decider, ByExemplars) or self.question != "nearest":
            raise ValueError(f"pairs are mapped for the question 'nearest' alone, got {self.question!r}")
        nearest_rows, distances = self.decider.nearest(decided.embeddings)
        rows = nearest_rows.tolist()
        exemplars = self.decider.exemplars.films
        films = exemplars.rows(rows)
        heat = self._mapped(films, self.decider.likeness(decided.embeddings))
        return list(zip(exemplars.records.take(rows), films, heat, distances.tolist(), strict=True))

    def score(self, target: Target) -> Callable[[Tensor], Tensor]:
        """Return a function from the encoder's input (N, C, S, S) to the target, shape (N,), without gradient."""

        def scored(images: Tensor) -> Tensor:
            with eval_mode(self.encoder), torch.inference_mode():
                return target(self.encoder(images))

        return scored

    def asked_text(self) -> str:
        """Return the question in words."""
        if self.method == ATTENTION:
            return "what the attention gates let through"
        name = self.named_finding
        return QUESTIONS[self.question] if name is None else f"what speaks for {name}, whatever was decided"

    def settings(self) -> dict[str, Any]:
        """Return what decides of the maps, as plain JSON values."""
        spec = self.encoder.image_spec
        own_layer = {ATTENTION: "mean of the gates", _CAM: FEATURES}.get(self.method, self.encoder.heat_layer)
        return {
            "encoder": self.encoder.recipe.get("encoder"),
            "size_px": spec.size_px,
            "border_crop": spec.border_crop,
            **self.decider.settings(),
            "question": self.question,
            "method": self.method,
            "layer": self.layer or own_layer,
        }

    def _mapped(self, films: np.ndarray, target: Target | None) -> np.ndarray:
        self.encoder.to(self.device)
        return heat_maps(self.encoder, self.images(films), target, method=self.method, layer=self.layer)

    def _asked_classes(self, decided: Decided) -> Tensor:
        if self.named_finding is not None:
            return torch.full_like(decided.class_ids, self.findings.index(self.named_finding))
        if self.question != "truth":
            return decided.class_ids
        if len(decided.truths) != len(decided.films):
            raise ValueError(f"truths must name the finding of {len(decided.films)} films, got {len(decided.truths)}")
        if strange := sorted(set(decided.truths) - set(self.findings)):
            raise ValueError(
                f"films show {', '.join(strange)}, which is not told apart here; ask another --question than truth"
            )
        return torch.tensor([self.findings.index(name) for name in decided.truths], device=self.device)


@dataclass(frozen=True, eq=False)
class RunFilms:
    """A run that is explained: its name, what is asked of it, the films as it takes them, and their lungs.

    `films` have one finding each; `masks` lie in the frame in which the heat is measured.
    """

    name: str
    explainer: Explainer
    films: CachedFilms
    masks: LungMasks | None = None

    def heated(self, rows: Sequence[int], batch_size: int) -> Iterator[tuple[list[int], Decided, np.ndarray]]:
        """Yield rows of films, what was decided on them, and their heat, no more than a batch in memory at a time."""
        for first in range(0, len(rows), batch_size):
            some = list(rows[first : first + batch_size])
            decided = self.explainer.decide(self.films.rows(some), [self.films.records[row].finding for row in some])
            yield some, decided, self.explainer.heat(decided)

    def lungs(self, row: int) -> np.ndarray | None:
        """Return the lungs of a film, bool (S, S), or None where it has no mask."""
        return self.masks.rows([row])[0] if self.masks is not None and self.masks.has_mask[row] else None
