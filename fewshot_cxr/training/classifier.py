"""Train a classifier of findings that have many films: an encoder with a linear head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr.data import Augmentation, XrayDataset
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import Classifier, classifier_head_card, load_classifier
from fewshot_cxr.objectives import LinearHead, build_classification_loss, class_weights
from fewshot_cxr.records import Records
from fewshot_cxr.samplers import BALANCES, ClassBatchSampler
from fewshot_cxr.seeding import seeded_torch
from fewshot_cxr.training.callbacks import RunKeeper
from fewshot_cxr.training.card import best_card, run_card
from fewshot_cxr.training.course import Course
from fewshot_cxr.training.fitting import Films, Fit, Progress, plain_settings, prepare_encoder, resumable
from fewshot_cxr.training.judgement import MONITORS, judge_classifier
from fewshot_cxr.training.module import Learner
from fewshot_cxr.training.objective import ClassifierObjective
from fewshot_cxr.training.parts import classifier_parts, training_parts


@dataclass(frozen=True)
class TrainedClassifier:
    """What `ClassifierTrainer.fit` returns: the best classifier (in eval mode), its card, the history, notes."""

    classifier: Classifier
    card: dict[str, Any]
    history: tuple[dict[str, float], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ClassifierTrainer:
    """Settings of a classifier's training; `fit` does the work. Every draw is keyed by `seed` and the step.

    Its run folder is an encoder too: `load_encoder`, exemplars and episodes take it as they take a siamese one, and
    `encoder_options={"weights": RUN / "encoder.safetensors"}` starts the next training from it (staged transfer).

    Args:
        encoder, encoder_options: a name in ENCODERS (or "timm:<name>") and what `build_encoder` takes; the head follows
            the pooled features unless the options say output="head".
        image_spec, standardisation: see `SiameseTrainer`.
        loss, loss_options: a name in CLASSIFICATION_LOSSES and its keywords. "bce" has a sigmoid for each finding.
        class_weights: "inverse" or "effective", of the loss, by the counts of the training films; None: all alike.
        head_bias: whether the linear head has one.
        is_multi_label: films show any number of findings; those in `Record.unstated` are left out of the loss.
        balance: a name in BALANCES, which draws the films of an epoch: after the split, from the training films alone.
        augmentation: of training films; None for none. augment_findings: whose films alone; None: all.
        batch_size, n_batches: films in a batch; batches in an epoch (None: all that `balance` draws).
        monitor: "val_loss", "val_accuracy", "val_balanced_accuracy" or "val_auroc": what the best epoch is chosen by,
            the plateau schedule follows and `patience` waits for.
        patience: stop after so many epochs that were no better; None: never. The best epoch is what is returned.
        n_epochs, lr, weight_decay, optimizer, clip_norm, clip_value, averaging, schedule, plateau_factor,
            plateau_patience, restart_every, freeze, layer_decay, precision, val_fraction, max_minutes, device,
            cache_folder, n_workers: see `SiameseTrainer`.
    """

    encoder: str = "resnet18"
    encoder_options: Mapping[str, Any] = field(default_factory=dict)
    image_spec: ImageSpec = field(default_factory=lambda: ImageSpec(size_px=128))
    standardisation: str = "spec"
    loss: str = "cross_entropy"
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    class_weights: str | None = None
    head_bias: bool = True
    is_multi_label: bool = False
    balance: str = "none"
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    augment_findings: tuple[str, ...] | None = None
    batch_size: int = 32
    n_batches: int | None = None
    n_epochs: int = 25
    optimizer: str = "adamw"
    lr: float = 3e-4
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    restart_every: int | None = None
    freeze: int | str = 0
    layer_decay: float = 1.0
    averaging: float | None = None
    schedule: str = "plateau"
    plateau_factor: float = 0.3
    plateau_patience: int = 4
    precision: str = "auto"
    patience: int | None = 10
    monitor: str = "val_loss"
    val_fraction: float = 0.15
    max_minutes: float | None = None
    device: str = "auto"
    seed: int = 0
    cache_folder: Path | None = None
    n_workers: int | None = None

    def __post_init__(self) -> None:
        Course.of(self)
        lookup(dict.fromkeys(MONITORS), self.monitor, what="monitor")
        lookup(BALANCES, self.balance, what="balance")
        check_at_least(self.batch_size, 2, "batch_size")
        if self.is_multi_label and self.loss == "cross_entropy":
            raise ValueError(
                "loss 'cross_entropy' takes one finding a film: take bce or focal for several (--loss bce)"
            )
        if self.is_multi_label and self.balance != "none":
            raise ValueError(f"balance {self.balance!r} draws films by their one finding: leave it out (--balance)")

    def fit(
        self,
        train: Records,
        val: Records | None = None,
        *,
        out: str | Path | None = None,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> TrainedClassifier:
        """Train and return the classifier of the best epoch.

        Args:
            train: films with patients, of one finding each unless `is_multi_label`.
            val: films of other patients; None: carved from `train` by patient, and noted.
            out: the run folder (encoder.safetensors with the head in it, card.json, history.csv, last.ckpt, logs/);
                None writes nothing.
            resume: go on from `out`/last.ckpt, exactly as if never stopped.
            progress: called with (what is done, done, total).

        Raises:
            ValueError: a patient in both sets, too few findings, settings that do not go together, or that differ from
                those of the resumed run.
            FileNotFoundError: nothing readable, or nothing to resume.
            FloatingPointError: the loss is no longer finite.
            KeyboardInterrupt: Ctrl-C; the last whole epoch is on disk.
        """
        out = None if out is None else Path(out)
        checkpoint, given = resumable(out, resume), (train, val)
        choose = classifier_parts if self.is_multi_label else training_parts
        train, val, notes = choose(train, val, val_fraction=self.val_fraction, seed=self.seed)
        films = Films.decode(
            train, val, self.image_spec, folder=self.cache_folder, n_workers=self.n_workers, progress=progress
        )
        findings = films.train.records.findings
        dataset, val_dataset = (
            XrayDataset(part, findings, is_multi_label=self.is_multi_label) for part in (films.train, films.val)
        )
        learner = self._learner(dataset)
        fit = Fit(
            learner=learner,
            course=Course.of(self),
            card=self._card(films, given, _classifier(learner, findings)),
            dataset=dataset,
            sampler=self._sampler(dataset),
            augmentation=self.augmentation,
            augment_findings=self.augment_findings,
            validate=partial(_validate, val_dataset),
            monitor=self.monitor,
            out=out,
            checkpoint=checkpoint,
            progress=progress,
        )
        keeper = fit.run()
        classifier = _best(fit, keeper, findings)
        notes += films.notes + ((keeper.stopped_by,) if keeper.stopped_by else ())
        return TrainedClassifier(classifier, classifier.encoder.card, tuple(keeper.history), notes)

    def settings(self) -> dict[str, Any]:
        """Return what decides the weights, as plain JSON values."""
        return plain_settings(self)

    def _sampler(self, dataset: XrayDataset) -> ClassBatchSampler:
        return ClassBatchSampler(
            dataset.class_ids,
            batch_size=self.batch_size,
            balance=self.balance,
            n_batches=self.n_batches,
            seed=self.seed,
        )

    def _card(self, films: Films, given: tuple[Records, Records | None], classifier: Classifier) -> dict[str, Any]:
        parts = films.train.records, films.val.records
        card = run_card(classifier.encoder, *parts, given=given, distance="euclidean", settings=self.settings())
        return card | {"head": classifier_head_card(classifier)}

    def _learner(self, dataset: XrayDataset) -> Learner:
        encoder = prepare_encoder(
            self.encoder,
            {"output": "pooled", **self.encoder_options},
            self.image_spec,
            dataset.films,
            standardisation=self.standardisation,
            seed=self.seed,
        )
        Course.of(self).freeze_parts(encoder)
        n_classes = len(dataset.class_names)
        activation = "sigmoid" if self.is_multi_label or self.loss == "bce" else "softmax"
        with seeded_torch(self.seed, "classifier head"):
            head = LinearHead(encoder.embedding_dim, n_classes, bias=self.head_bias, activation=activation)
        weights = None
        if self.class_weights is not None:
            class_ids = torch.from_numpy(dataset.class_ids)
            one_hot = class_ids == 1 if self.is_multi_label else torch.nn.functional.one_hot(class_ids, n_classes)
            weights = class_weights(one_hot.sum(dim=0), self.class_weights)
        loss = build_classification_loss(self.loss, n_classes=n_classes, class_weights=weights, **self.loss_options)
        return Learner(encoder.to(memory_format=torch.channels_last), ClassifierObjective(head, loss))


def _classifier(learner: Learner, findings: tuple[str, ...]) -> Classifier:
    assert isinstance(learner.objective, ClassifierObjective)
    return Classifier(learner.encoder, learner.objective.head, findings)


def _validate(films: XrayDataset, learner: Learner) -> dict[str, float]:
    assert isinstance(learner.objective, ClassifierObjective)
    return judge_classifier(_classifier(learner, films.class_names), films, learner.objective.loss)


def _best(fit: Fit, keeper: RunKeeper, findings: tuple[str, ...]) -> Classifier:
    if fit.out is not None:
        return load_classifier(fit.out)
    classifier = _classifier(fit.learner, findings)
    classifier.encoder.card = best_card(fit.card, keeper.best_row or {})
    return classifier
