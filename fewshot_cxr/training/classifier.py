"""Train a classifier of findings that have many films: an encoder with a linear head."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_cxr._checks import check_whole, lookup
from fewshot_cxr._progress import Auto, Bars, bars_of
from fewshot_cxr.data import XrayDataset
from fewshot_cxr.inference import Classifier, classifier_head_card
from fewshot_cxr.objectives import LinearHead, build_classification_loss, class_weights
from fewshot_cxr.samplers import BALANCES, ClassBatchSampler
from fewshot_cxr.torch_seeding import seeded_torch
from fewshot_cxr.training.fitting import Data, Run, prepare_encoder
from fewshot_cxr.training.module import Learner
from fewshot_cxr.training.objective import ClassifierObjective
from fewshot_cxr.training.settings import TrainingSettings
from fewshot_cxr.training.validation import MONITORS, classifier_scores


@dataclass(frozen=True)
class TrainedClassifier:
    """What `ClassifierTrainer.fit` returns.

    Args:
        classifier: the best one, in eval mode.
        card: what the run says of itself.
        history: a row of numbers for each epoch.
        notes: what was done, in words.

    Examples:
        >>> from fewshot_cxr.objectives import LinearHead
        >>> from fewshot_cxr.inference import Classifier
        >>> from fewshot_cxr.encoders import build_encoder
        >>> encoder = build_encoder("resnet9", width=4, output="pooled")  # of 8 x width = 32 features
        >>> classifier = Classifier(encoder, LinearHead(32, 2), ("covid19", "normal"))
        >>> history = ({"epoch": 1.0, "val_loss": 0.7}, {"epoch": 2.0, "val_loss": 0.4})
        >>> trained = TrainedClassifier(classifier, card={}, history=history, notes=())
        >>> trained.classifier.findings, min(row["val_loss"] for row in trained.history)
        (('covid19', 'normal'), 0.4)
    """

    classifier: Classifier
    card: dict[str, Any]
    history: tuple[dict[str, float], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ClassifierTrainer(TrainingSettings):
    """Settings of a classifier's training, with those of `TrainingSettings`; `fit` does the work.

    Its run folder is an encoder too: `load_encoder`, exemplars and episodes take it as they take a siamese one, and
    `encoder_options={"weights": RUN / "encoder.safetensors"}` starts the next training from it (staged transfer). The
    head follows the pooled features unless `encoder_options` say output="head".

    Args:
        loss: a name in CLASSIFICATION_LOSSES, of which "bce" has a sigmoid for each finding; or a loss of torch's, or
            any callable from (logits, targets) to a scalar.
        class_weights: "inverse" or "effective", by the counts of the training films, for a loss by name; None: all
            alike.
        head_bias: whether the linear head has one.
        is_multi_label: films show any number of findings; those in `Record.unstated` are left out of the loss.
        balance: a name in BALANCES, which draws the films of an epoch: after the split, from the training films alone.
        monitor: "val_loss", "val_accuracy", "val_balanced_accuracy" or "val_auroc": what the best epoch is chosen by,
            the plateau schedule follows and `patience` waits for.

    Examples:
        >>> from fewshot_cxr import ImageSpec
        >>> films = [(np.full((1, 32, 32), n / 24, np.float32), "normal" if n < 12 else "covid19") for n in range(24)]
        >>> small = {"image_spec": ImageSpec(size_px=32), "encoder_options": {"width": 4}, "batch_size": 8}
        >>> trainer = ClassifierTrainer(encoder="resnet9", n_epochs=1, n_batches=1, device="cpu", **small)
        >>> trained = trainer.fit(films, progress=None)
        >>> trained.classifier.findings, trained.card["n_films"], len(trained.history)
        (('covid19', 'normal'), {'train': 20, 'val': 4}, 1)
    """

    encoder: str | nn.Module = "resnet18"
    loss: str | Callable[..., Tensor] = "cross_entropy"
    class_weights: str | None = None
    head_bias: bool = True
    is_multi_label: bool = False
    balance: str = "none"
    monitor: str = "val_loss"
    batch_size: int = 32
    n_epochs: int = 25
    lr: float = 3e-4
    weight_decay: float = 0.01
    averaging: float | None = None
    schedule: str = "plateau"
    patience: int | None = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        lookup(dict.fromkeys(MONITORS), self.monitor, what="monitor")
        lookup(BALANCES, self.balance, what="balance")
        check_whole(self.batch_size, "batch_size", 2)
        if self.is_multi_label and self.loss == "cross_entropy":
            raise ValueError(
                "loss 'cross_entropy' takes one finding a film: take bce or focal for several (--loss bce)"
            )
        if self.is_multi_label and self.balance != "none":
            raise ValueError(f"balance {self.balance!r} draws films by their one finding: leave it out (--balance)")

    def fit(
        self,
        train: Data,
        val: Data | None = None,
        *,
        out: str | Path | None = None,
        resume: bool = False,
        progress: Bars | Auto | None = "auto",
    ) -> TrainedClassifier:
        """Train and return the classifier of the best epoch.

        Args:
            train: films with patients, of one finding each unless `is_multi_label`; or a Dataset, see `DatasetFilms`.
            val: films of other patients; None: carved from `train` by patient, and noted.
            out: the run folder (encoder.safetensors with the head in it, card.json, history.csv, last.ckpt, logs/);
                None writes nothing.
            resume: go on from `out`/last.ckpt, exactly as if never stopped; with the same objects given, if any.
            progress: called with (what is done, done, total); "auto": bars in a terminal or a notebook; None: nothing.

        Raises:
            ValueError: a patient in both sets, too few findings, settings that do not go together, or that differ from
                those of the resumed run.
            FileNotFoundError: nothing readable, or nothing to resume.
            FloatingPointError: the loss is no longer finite.
            KeyboardInterrupt: Ctrl-C; the last whole epoch is on disk.
        """
        several = self.is_multi_label
        run = Run.begin(self, train, val, is_multi_label=several, out=out, resume=resume, progress=bars_of(progress))
        findings = run.train.class_names
        learner = self._learner(run.train)
        classifier = _classifier(learner, findings)
        sampler = ClassBatchSampler(
            run.train.class_ids,
            batch_size=self.batch_size,
            balance=self.balance,
            n_batches=self.n_batches,
            seed=self.seed,
        )
        vectors = run.embed_once(learner.encoder)
        keeper = run.fit(
            learner,
            sampler,
            vectors=vectors,
            distance="euclidean",
            head=classifier_head_card(classifier),
            validate=partial(_validate, XrayDataset(run.val, findings, is_multi_label=several).class_ids),
            monitor=self.monitor,
        )
        notes = (*run.notes, *(vectors.notes if vectors else ()), *run.problem_notes, *keeper.stop_notes)
        return TrainedClassifier(classifier, classifier.encoder.card, tuple(keeper.history), notes)

    def _learner(self, dataset: XrayDataset) -> Learner:
        encoder = prepare_encoder(self, dataset.films, usual={"output": "pooled"})
        n_classes = len(dataset.class_names)
        activation = "sigmoid" if self.is_multi_label or self.loss == "bce" else "softmax"
        with seeded_torch(self.seed, "classifier head"):
            head = LinearHead(encoder.embedding_dim, n_classes, bias=self.head_bias, activation=activation)
        weights = None
        if self.class_weights is not None:
            class_ids = torch.from_numpy(dataset.class_ids)
            one_hot = class_ids == 1 if self.is_multi_label else torch.nn.functional.one_hot(class_ids, n_classes)
            weights = class_weights(one_hot.sum(dim=0), self.class_weights)
        loss = build_classification_loss(
            deepcopy(self.loss), n_classes=n_classes, class_weights=weights, **self.loss_options
        )
        return Learner(encoder, ClassifierObjective(head, loss))


def _classifier(learner: Learner, findings: tuple[str, ...]) -> Classifier:
    assert isinstance(learner.objective, ClassifierObjective)
    return Classifier(learner.encoder, learner.objective.head, findings)


def _validate(class_ids: np.ndarray, learner: Learner, vectors: np.ndarray) -> dict[str, float]:
    assert isinstance(learner.objective, ClassifierObjective)
    return classifier_scores(learner.objective.head, learner.objective.loss, vectors, class_ids)
