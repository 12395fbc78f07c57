"""Train an embedding on the findings that have many films; new findings then need only a few."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr.data import Augmentation, CachedFilms, XrayDataset
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import RULES, embed_films, embed_pixels
from fewshot_cxr.objectives import CrossBatchMemory, build_auxiliary, build_loss, build_miner
from fewshot_cxr.records import Records
from fewshot_cxr.training.batches import choose_sampler
from fewshot_cxr.training.card import run_card
from fewshot_cxr.training.course import Course
from fewshot_cxr.training.fitting import Films, Fit, Progress, plain_settings, prepare_encoder, resumable
from fewshot_cxr.training.module import Learner
from fewshot_cxr.training.objective import MetricObjective
from fewshot_cxr.training.parts import training_parts
from fewshot_cxr.training.validation import EpisodePlan, plan_validation, validation_accuracy

_MONITOR = "val_accuracy"


@dataclass(frozen=True)
class TrainedEncoder:
    """What `SiameseTrainer.fit` returns: the best encoder (in eval mode), its card, the history (a row per epoch)."""

    encoder: Encoder
    card: dict[str, Any]
    history: tuple[dict[str, float], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SiameseTrainer:
    """Settings of a metric-learning run; `fit` does the work. Every draw is keyed by `seed` and the step.

    Args:
        encoder, encoder_options: a name in ENCODERS (or "timm:<name>") and what `build_encoder` takes.
        image_spec: size, channels and crop of the films. standardisation: "spec" takes its mean and std, "scalar" those
            of the training films, "per_pixel" a mean and a std image of them.
        loss, miner, distance, margin: names in LOSSES, MINERS (None: the loss's own) and DISTANCES; the margin is in
            units of the distance (None: the loss's own).
        loss_options: further keywords of the loss.
        memory: embeddings of earlier batches that the loss compares with, too; 0: none.
        aux, aux_weight: a name in AUXILIARIES, of a self-supervised term between two views of each film, so that the
            embedding keeps more than the known findings need; and its weight, the loss's own being 1. Doubles the time.
        augmentation: of training films; None for none. augment_findings: whose films alone; None: all.
        sampler: "balanced", "pairs", "episodic" or "shuffled"; None: the loss's own.
        batch_size: films per batch, spread evenly over the findings and over patients.
        n_batches: in an epoch; None: about as many as cover the training films once.
        n_way, n_shot: of episodic batches; None: all findings. The other films of a batch are queries.
        n_epochs: how many.
        optimizer, lr, weight_decay: "adamw" or "adam". clip_norm, clip_value: of the gradient; None: not clipped.
        restart_every: after so many epochs the optimiser forgets its moments; None: never.
        freeze: groups of layers that are not trained, from the stem on, or "backbone". layer_decay: each group of
            layers learns at the rate of the one after it, times this.
        averaging: decay of a moving average of the weights, which is what is judged and kept; None for none.
        schedule: "one_cycle", "warm_restarts", "plateau" (by validation) or "constant".
        plateau_factor, plateau_patience: what the rate is multiplied by when so many epochs were no better.
        precision: "auto" takes bfloat16 where the processor does it natively.
        patience: early stopping after so many epochs without a better validation accuracy; None: never.
        val_n_shot, val_n_query, val_n_episodes: of the validation episodes, shrunk where a finding is small.
        val_rule: a name in RULES; None: "template" by the learned distance where the loss has one, else
            "mean_distance".
        val_fraction: carved from the training films, by patient, when `fit` gets no validation films.
        max_minutes: begin no epoch that would end later.
        device: "auto", "cpu", "cuda" or "cuda:N".
        cache_folder, n_workers: where decoded films are kept, and how many threads decode them.
    """

    encoder: str = "resnet9"
    encoder_options: Mapping[str, Any] = field(default_factory=dict)
    image_spec: ImageSpec = field(default_factory=lambda: ImageSpec(size_px=128))
    standardisation: str = "spec"
    loss: str = "supcon"
    miner: str | None = None
    distance: str = "cosine"
    margin: float | None = None
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    memory: int = 0
    aux: str | None = None
    aux_weight: float = 1.0
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    augment_findings: tuple[str, ...] | None = None
    sampler: str | None = None
    batch_size: int = 48
    n_batches: int | None = None
    n_way: int | None = None
    n_shot: int = 1
    n_epochs: int = 30
    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.05
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    restart_every: int | None = None
    freeze: int | str = 0
    layer_decay: float = 1.0
    averaging: float | None = 0.98
    schedule: str = "one_cycle"
    plateau_factor: float = 0.3
    plateau_patience: int = 4
    precision: str = "auto"
    patience: int | None = None
    val_n_shot: int = 5
    val_n_query: int = 10
    val_n_episodes: int = 500
    val_rule: str | None = None
    val_fraction: float = 0.15
    max_minutes: float | None = None
    device: str = "auto"
    seed: int = 0
    cache_folder: Path | None = None
    n_workers: int | None = None

    def __post_init__(self) -> None:
        Course.of(self)
        if self.val_rule is not None:
            lookup(RULES, self.val_rule, what="rule")
        for name, minimum in (("batch_size", 4), ("val_n_shot", 1), ("val_n_query", 1), ("n_shot", 1), ("memory", 0)):
            check_at_least(getattr(self, name), minimum, name)

    def fit(
        self,
        train: Records,
        val: Records | None = None,
        *,
        out: str | Path | None = None,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> TrainedEncoder:
        """Train and return the encoder of the best epoch.

        Args:
            train: single-label films with patients (`split_by_patient` makes them).
            val: films of other patients; None: carved from `train` by patient, and noted.
            out: the run folder (encoder.safetensors, card.json, history.csv, last.ckpt, logs/); None writes nothing.
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
        train, val, notes = training_parts(train, val, val_fraction=self.val_fraction, seed=self.seed)
        films = Films.decode(
            train, val, self.image_spec, folder=self.cache_folder, n_workers=self.n_workers, progress=progress
        )
        plan, more_notes = _plan(self, films.val)
        dataset = XrayDataset(films.train, films.train.records.findings)
        learner = _learner(self, dataset)
        fit = Fit(
            learner=learner,
            course=Course.of(self),
            card=_card(self, films, given, learner),
            dataset=dataset,
            sampler=choose_sampler(
                self.sampler or _objective(learner).loss.batches,
                dataset,
                batch_size=self.batch_size,
                n_batches=self.n_batches,
                n_way=self.n_way,
                n_shot=self.n_shot,
                seed=self.seed,
            ),
            augmentation=self.augmentation,
            augment_findings=self.augment_findings,
            validate=None if plan is None else partial(_validate, self, films.val, plan),
            monitor=_MONITOR,
            out=out,
            checkpoint=checkpoint,
            progress=progress,
        )
        keeper = fit.run()
        encoder = fit.best_encoder(keeper)
        notes += more_notes + films.notes + ((keeper.stopped_by,) if keeper.stopped_by else ())
        return TrainedEncoder(encoder, encoder.card, tuple(keeper.history), notes)

    def settings(self) -> dict[str, Any]:
        """Return what decides the weights, as plain JSON values."""
        return plain_settings(self)


def _learner(trainer: SiameseTrainer, dataset: XrayDataset) -> Learner:
    encoder = prepare_encoder(
        trainer.encoder,
        trainer.encoder_options,
        trainer.image_spec,
        dataset.films,
        standardisation=trainer.standardisation,
        seed=trainer.seed,
    )
    Course.of(trainer).freeze_parts(encoder)
    own = {"n_shot": trainer.n_shot} if trainer.loss == "prototypical" else {}
    loss = build_loss(
        trainer.loss,
        n_classes=len(dataset.class_names),
        embedding_dim=encoder.embedding_dim,
        distance=trainer.distance,
        margin=trainer.margin,
        seed=trainer.seed,
        **{**own, **trainer.loss_options},
    )
    _check_sampler(trainer, loss.batches)
    miner = build_miner(trainer.miner, loss=loss, seed=trainer.seed)
    memory, auxiliary = None, None
    if trainer.memory:
        memory = CrossBatchMemory(loss, miner, size=trainer.memory, embedding_dim=encoder.embedding_dim)
    if trainer.aux is not None:
        auxiliary = build_auxiliary(trainer.aux, dim=encoder.n_features, seed=trainer.seed)
    objective = MetricObjective(loss, miner, memory=memory, auxiliary=auxiliary, aux_weight=trainer.aux_weight)
    return Learner(encoder.to(memory_format=torch.channels_last), objective)


def _check_sampler(trainer: SiameseTrainer, needed: str) -> None:
    if needed != "balanced" and trainer.sampler not in (None, needed):
        raise ValueError(
            f"loss {trainer.loss!r} reads its batches as {needed}, not {trainer.sampler}: leave sampler out (--sampler)"
        )
    if (trainer.sampler or needed) != "episodic" and (trainer.n_way is not None or trainer.n_shot > 1):
        raise ValueError("n_way and n_shot are of episodic batches: leave them out (--n-way, --n-shot), or take those")
    if trainer.aux is None and trainer.aux_weight != 1:
        raise ValueError(f"aux_weight {trainer.aux_weight} is of no term: name one (--aux), or leave it out")
    if trainer.aux is not None and trainer.augmentation is None:
        raise ValueError("aux compares two views of a film, which without augmentation are the same: leave one of them")


def _objective(learner: Learner) -> MetricObjective:
    assert isinstance(learner.objective, MetricObjective)
    return learner.objective


def _card(
    trainer: SiameseTrainer, films: Films, given: tuple[Records, Records | None], learner: Learner
) -> dict[str, Any]:
    card = run_card(
        learner.encoder,
        films.train.records,
        films.val.records,
        given=given,
        distance=trainer.distance,
        settings=trainer.settings(),
    )
    head = _objective(learner).loss.head
    if head is not None:
        card["head"] = {"kind": "weighted_l1", "is_nonnegative": head.is_nonnegative}
    return card


def _validate(trainer: SiameseTrainer, films: CachedFilms, plan: EpisodePlan, learner: Learner) -> dict[str, float]:
    encoder, head = learner.encoder, _objective(learner).loss.head
    device = str(next(encoder.parameters()).device)
    rule, options = trainer.val_rule, {}
    if head is not None and rule in (None, "template"):
        rule, options = "template", {"weights": head.weights.detach().cpu(), "bias": head.bias.item()}
    accuracy = validation_accuracy(
        embed_films(encoder, films, device=device),
        plan,
        rule=rule or "mean_distance",
        rule_options=options,
        distance=trainer.distance,
        n_episodes=trainer.val_n_episodes,
    )
    return {_MONITOR: accuracy}


def _plan(trainer: SiameseTrainer, films: CachedFilms) -> tuple[EpisodePlan | None, tuple[str, ...]]:
    plan = plan_validation(
        embed_pixels(films, side_px=1),  # labels and patients as in every validation; the vectors do not matter
        n_shot=trainer.val_n_shot,
        n_query=trainer.val_n_query,
        n_episodes=trainer.val_n_episodes,
    )
    if plan is None:
        return None, ("too few validation patients for any episode: the last epoch is kept, and nothing stops early",)
    return plan, plan.notes
