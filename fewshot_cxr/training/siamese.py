"""Train an embedding on the findings that have many films; new findings then need only a few."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr.data import Augmentation, CachedFilms, XrayDataset, cache_films
from fewshot_cxr.encoders import ENCODER_FILE, Encoder, build_encoder, load_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import RULES, choose_device, embed_films, embed_pixels, native_precision
from fewshot_cxr.objectives import build_loss, build_miner
from fewshot_cxr.records import Records
from fewshot_cxr.samplers import BalancedBatchSampler
from fewshot_cxr.storage import write_json
from fewshot_cxr.training.callbacks import LAST, RunKeeper
from fewshot_cxr.training.card import best_card, resumed_epoch, run_card
from fewshot_cxr.training.loaders import BatchLoader
from fewshot_cxr.training.module import SiameseModule
from fewshot_cxr.training.parts import training_parts
from fewshot_cxr.training.runner import run_lightning
from fewshot_cxr.training.schedules import SCHEDULES
from fewshot_cxr.training.validation import EpisodePlan, plan_validation, validation_accuracy

Progress = Callable[[str, int, int], None]
CARD = "card.json"
PRECISIONS = ("auto", "32-true", "bf16-mixed")
_MOST_NOTES = 5


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
        image_spec: size, channels and crop of the films.
        loss, miner, distance, margin: names in LOSSES, MINERS (None: the loss's own) and DISTANCES; the margin is in
            units of the distance (None: the loss's own).
        loss_options: further keywords of the loss.
        augmentation: of training films; None for none.
        batch_size: films per batch, spread evenly over the findings and over patients.
        n_epochs: an epoch is about as many batches as cover the training films once.
        lr, weight_decay: of AdamW. clip_norm: of the gradient.
        averaging: decay of a moving average of the weights, which is what is judged and kept; None for none.
        schedule: "one_cycle", "warm_restarts", "plateau" (by validation) or "constant".
        precision: "auto" takes bfloat16 where the processor does it natively.
        patience: early stopping after so many epochs without a better validation accuracy; None: never.
        val_n_shot, val_n_query, val_n_episodes, val_rule: of the validation episodes, shrunk where a finding is small.
        val_fraction: carved from the training films, by patient, when `fit` gets no validation films.
        max_minutes: begin no epoch that would end later.
        device: "auto", "cpu", "cuda" or "cuda:N".
        cache_folder, n_workers: where decoded films are kept, and how many threads decode them.
    """

    encoder: str = "resnet9"
    encoder_options: Mapping[str, Any] = field(default_factory=dict)
    image_spec: ImageSpec = field(default_factory=lambda: ImageSpec(size_px=128))
    loss: str = "supcon"
    miner: str | None = None
    distance: str = "cosine"
    margin: float | None = None
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    batch_size: int = 48
    n_epochs: int = 30
    lr: float = 2e-3
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    averaging: float | None = 0.98
    schedule: str = "one_cycle"
    precision: str = "auto"
    patience: int | None = None
    val_n_shot: int = 5
    val_n_query: int = 10
    val_n_episodes: int = 500
    val_rule: str = "mean_distance"
    val_fraction: float = 0.15
    max_minutes: float | None = None
    device: str = "auto"
    seed: int = 0
    cache_folder: Path | None = None
    n_workers: int | None = None

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(SCHEDULES), self.schedule, what="schedule")
        lookup(dict.fromkeys(PRECISIONS), self.precision, what="precision")
        lookup(RULES, self.val_rule, what="rule")
        for name, minimum in (("batch_size", 4), ("n_epochs", 1), ("val_n_shot", 1), ("val_n_query", 1)):
            check_at_least(getattr(self, name), minimum, name)
        choose_device(self.device)

    def fit(
        self,
        train: Records,
        val: Records | None = None,
        *,
        out: Path | None = None,
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
            ValueError: a patient in both sets, too few findings, settings that differ from those of the resumed run.
            FileNotFoundError: nothing readable, or nothing to resume.
            FloatingPointError: the loss is no longer finite.
            KeyboardInterrupt: Ctrl-C; the last whole epoch is on disk.
        """
        last = None if out is None else out / LAST
        if resume and (last is None or not last.is_file()):
            raise FileNotFoundError(f"{last}: nothing to resume; run without --resume first")
        train, val, notes = training_parts(train, val, val_fraction=self.val_fraction, seed=self.seed)
        films, val_films = (_cached(self, part, name, progress) for part, name in ((train, "train"), (val, "val")))
        plan, more_notes = _plan(self, val_films)
        dataset = XrayDataset(films, films.records.findings)
        sampler = BalancedBatchSampler(dataset.class_ids, dataset.group_ids, batch_size=self.batch_size, seed=self.seed)
        module = _module(self, dataset, len(sampler))
        card = run_card(
            module.encoder, films.records, val_films.records, distance=self.distance, settings=self.settings()
        )
        module.run_card = card
        if resume and last is not None:
            sampler.set_epoch(resumed_epoch(last, card))
        keeper = RunKeeper(
            out,
            validate=None if plan is None else partial(_validate, self, val_films, plan),
            save=None if out is None else partial(_save_best, out, card),
            schedule=self.schedule,
            patience=self.patience,
            max_minutes=self.max_minutes,
            progress=None if progress is None else partial(progress, "training"),
        )
        self._run(module, BatchLoader(dataset, sampler), keeper, out=out, checkpoint=last if resume else None)
        encoder = load_encoder(out) if out is not None else _best_encoder(module, keeper, card)
        notes += (
            more_notes
            + _problem_notes((train, val), (films, val_films))
            + ((keeper.stopped_by,) if keeper.stopped_by else ())
        )
        return TrainedEncoder(encoder, encoder.card, tuple(keeper.history), notes)

    def _run(
        self,
        module: SiameseModule,
        batches: BatchLoader,
        keeper: RunKeeper,
        *,
        out: Path | None,
        checkpoint: Path | None,
    ) -> None:
        device = choose_device(self.device)
        run_lightning(
            module,
            batches,
            keeper,
            device=device,
            precision=native_precision(device) if self.precision == "auto" else self.precision,
            n_epochs=self.n_epochs,
            clip_norm=self.clip_norm,
            out=out,
            checkpoint=checkpoint,
        )

    def settings(self) -> dict[str, Any]:
        """Return what decides the weights, as plain JSON values."""
        left_out = ("device", "cache_folder", "n_workers", "max_minutes", "patience")
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in left_out}
        plain["image_spec"] = self.image_spec.to_json()
        plain["augmentation"] = None if self.augmentation is None else asdict(self.augmentation)
        return dict(json.loads(json.dumps(plain)))


def _cached(trainer: SiameseTrainer, part: Records, name: str, progress: Progress | None) -> CachedFilms:
    report = None if progress is None else partial(progress, f"decoding {name} films")
    return cache_films(
        part, trainer.image_spec, folder=trainer.cache_folder, n_workers=trainer.n_workers, progress=report
    )


def _problem_notes(before: Sequence[Records], parts: Sequence[CachedFilms]) -> tuple[str, ...]:
    """Name the films that turned out unreadable; what the reader left out was said when it read."""
    known = {problem for records in before for problem in records.problems}
    found = dict.fromkeys(p for part in parts for p in part.records.problems if p not in known)
    notes = [f"left out {problem.path}: {problem.reason}" for problem in found]
    more = [f"left out {len(notes) - _MOST_NOTES} more unreadable films"] if len(notes) > _MOST_NOTES else []
    return (*notes[:_MOST_NOTES], *more)


def _module(trainer: SiameseTrainer, dataset: XrayDataset, steps_per_epoch: int) -> SiameseModule:
    encoder = build_encoder(
        trainer.encoder, image_spec=trainer.image_spec, seed=trainer.seed, **trainer.encoder_options
    )
    loss = build_loss(
        trainer.loss,
        n_classes=len(dataset.class_names),
        embedding_dim=encoder.embedding_dim,
        distance=trainer.distance,
        margin=trainer.margin,
        seed=trainer.seed,
        **trainer.loss_options,
    )
    miner = build_miner(trainer.miner, loss=loss, seed=trainer.seed)
    return SiameseModule(
        encoder.to(memory_format=torch.channels_last),
        loss,
        miner,
        augmentation=trainer.augmentation,
        optimise=partial(torch.optim.AdamW, lr=trainer.lr, weight_decay=trainer.weight_decay),
        schedule=trainer.schedule,
        n_steps=steps_per_epoch * trainer.n_epochs,
        steps_per_epoch=steps_per_epoch,
        averaging=trainer.averaging,
        seed=trainer.seed,
    )


def _validate(trainer: SiameseTrainer, films: CachedFilms, plan: EpisodePlan, encoder: Encoder) -> float:
    device = str(next(encoder.parameters()).device)
    return validation_accuracy(
        embed_films(encoder, films, device=device),
        plan,
        rule=trainer.val_rule,
        distance=trainer.distance,
        n_episodes=trainer.val_n_episodes,
    )


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


def _best_encoder(module: SiameseModule, keeper: RunKeeper, card: dict[str, Any]) -> Encoder:
    module.encoder.load_state_dict(keeper.best_state)
    module.encoder.card = best_card(card, keeper.best_row or {})
    return module.encoder.cpu().eval()


def _save_best(out: Path, card: dict[str, Any], encoder: Encoder, row: dict[str, float]) -> None:
    save_encoder(encoder, out / ENCODER_FILE, card=best_card(card, row))
    write_json(out / CARD, best_card(card, row))
