"""What both trainers do around their loop: films, encoder, card, resume, the best epoch, notes."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from fewshot_cxr import encoders
from fewshot_cxr._checks import lookup
from fewshot_cxr._kinds import CARD, LAST
from fewshot_cxr._progress import Bar, Bars
from fewshot_cxr._ranks import Ranks, ranks_here
from fewshot_cxr.data import CachedFilms, DatasetFilms, XrayDataset, cache_films, film_statistics
from fewshot_cxr.data.film_digests import film_digests, write_training_films
from fewshot_cxr.inference import choose_device
from fewshot_cxr.inference.embed import film_vectors
from fewshot_cxr.records import Records
from fewshot_cxr.samplers import RankSampler
from fewshot_cxr.training.batches import BatchLoader, BatchSampler, training_parts
from fewshot_cxr.training.callbacks import RunKeeper, best_card, run_card
from fewshot_cxr.training.joined import wait_for_ranks
from fewshot_cxr.training.last_checkpoint import check_best, resumed_epoch
from fewshot_cxr.training.meeting import meet
from fewshot_cxr.training.module import Learner, TrainingModule
from fewshot_cxr.training.runner import run_lightning
from fewshot_cxr.training.settings import BACKBONE, TrainingSettings
from fewshot_cxr.training.vectors import FilmVectors, embed_once, trains_head_alone
from fewshot_cxr.training.views import Augmenter
from fewshot_cxr.whole_files import write_json

Validate = Callable[[Learner, np.ndarray], dict[str, float]]
Data = Records | Dataset[Any]
_MOST_NOTES = 5
_AS_IT_IS = (
    "nothing is trained: the backbone is frozen and its pooled features are the embeddings, as `fscxr encoder make` "
    "has them without films; a head behind them (--encoder-option output=head) would be"
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a trainer: what it is trained on, where it is written, and its loop.

    Args:
        settings: of the trainer.
        train: films that are trained on.
        val: films for validation.
        given_hash: of the films as they were given; see `run_card`.
        notes: what was done to the films, in words.
        problem_notes: which films are unreadable.
        out: the run folder; None keeps all in memory.
        checkpoint: what it goes on from; None: it begins.
        progress: called with (what is done, done, total).
        ranks: which of the processes that train together this one is; the first alone writes and reports.
    """

    settings: TrainingSettings
    train: XrayDataset
    val: CachedFilms
    given_hash: list[str]
    notes: tuple[str, ...]
    problem_notes: tuple[str, ...]
    out: Path | None
    checkpoint: Path | None
    progress: Bars | None
    ranks: Ranks

    @classmethod
    def begin(
        cls,
        settings: TrainingSettings,
        train: Data,
        val: Data | None,
        *,
        is_multi_label: bool = False,
        out: str | Path | None,
        resume: bool,
        progress: Bars | None,
    ) -> "Run":
        """Choose the films of both parts and decode them, by path: the batches follow from the set of films alone."""
        out, spec, ranks = None if out is None else Path(out), settings.image_spec, ranks_here()
        meet(ranks, settings)
        progress = progress if ranks.is_first else None
        checkpoint = _checkpoint(out) if resume else None
        given = [
            data if isinstance(data, Records) else DatasetFilms(data, spec, name=name)
            for name, data in (("train", train), ("val", val))
            if data is not None
        ]
        records = [films if isinstance(films, Records) else films.records for films in given]
        told = dict.fromkeys(note for films in given if isinstance(films, DatasetFilms) for note in films.records.notes)
        *parts, notes = training_parts(
            records[0],
            records[1] if len(records) > 1 else None,
            is_multi_label=is_multi_label,
            val_fraction=settings.val_fraction,
            seed=settings.seed,
        )
        ordered = [part.take(sorted(range(len(part)), key=lambda row: part[row].path)) for part in parts]
        if ranks.local_rank:  # the first on a machine decodes, the others find the films in the cache
            wait_for_ranks()
        decoded = [
            _decoded(source, part, settings, progress and partial(progress, f"decoding {name} films"))
            for name, source, part in zip(("train", "val"), (given[0], given[-1]), ordered, strict=True)
        ]
        if not ranks.local_rank:
            wait_for_ranks()
        return cls(
            settings=settings,
            train=XrayDataset(decoded[0], decoded[0].records.findings, is_multi_label=is_multi_label),
            val=decoded[1],
            given_hash=[part.data_hash for part in records],
            notes=(*told, *notes),
            problem_notes=_problem_notes(ordered, decoded),
            out=out,
            checkpoint=checkpoint,
            progress=progress,
            ranks=ranks,
        )

    def keep_as_it_is(self, encoder: encoders.Encoder, *, distance: str) -> tuple[str, ...]:
        """Keep an encoder of which nothing is trained; its card knows no finding. Return notes that say so."""
        card = encoders.frozen_card(encoder) | {"distance": distance, "best_epoch": None, "val_accuracy": None}
        encoder.cpu().eval().card = card
        if self.out is not None and self.ranks.is_first:
            encoders.save_encoder(encoder, self.out / encoders.ENCODER_FILE, card=card)
            write_json(self.out / CARD, card)
        return (*self.problem_notes, _AS_IT_IS)

    @property
    def _augmenter(self) -> Augmenter:
        settings = self.settings
        chosen = _augmented_ids(self.train.class_names, settings.augment_findings)
        return Augmenter(settings.augmentation, settings.seed, chosen)

    def embed_once(self, encoder: encoders.Encoder) -> FilmVectors | None:
        """Embed the films of the run, where the head alone is trained; None where more is."""
        if not trains_head_alone(encoder):
            return None
        return embed_once(
            encoder,
            self.train,
            self.val,
            augmenter=self._augmenter,
            n_views=self.settings.frozen_views,
            device=choose_device(self.settings.device),
            progress=self.progress and partial(self.progress, "embedding films"),
        )

    def fit(
        self,
        learner: Learner,
        sampler: BatchSampler,
        *,
        vectors: FilmVectors | None,
        distance: str,
        head: dict[str, Any] | None,
        validate: Validate | None,
        monitor: str,
    ) -> RunKeeper:
        """Train, and leave the best epoch in the learner, on the processor and in eval mode.

        Args:
            learner: trained in place.
            sampler: of the batches.
            vectors: of `embed_once`.
            distance: by which embeddings are to be compared.
            head: what the card says of the head, if there is one.
            validate: takes the learner and its embeddings of the validation films; see `RunKeeper`.
            monitor: see `RunKeeper`.
        """
        settings, films = self.settings, (self.train.films.records, self.val.records)
        plain, writes = settings.settings(), self.out is not None and self.ranks.is_first
        if self.ranks.n_ranks > 1:
            sampler = RankSampler(sampler, rank=self.ranks.rank, n_ranks=self.ranks.n_ranks)
        card = run_card(learner.encoder, *films, given_hash=self.given_hash, distance=distance, settings=plain)
        card |= {} if head is None else {"head": head}
        module = TrainingModule(
            learner, settings, augmenter=self._augmenter, steps_per_epoch=len(sampler), on_vectors=vectors is not None
        )
        module.run_card = card
        if self.checkpoint is not None:
            sampler.set_epoch(resumed_epoch(self.checkpoint, card))
            check_best(self.checkpoint.parent, card)
        keeper = RunKeeper(
            self.out,
            settings,
            validate=validate and partial(self._validate, validate, vectors),
            monitor=monitor,
            save=partial(_save_best, self.out, card, film_digests(self.train.films)) if self.out and writes else None,
            progress=self.progress and partial(self.progress, "training"),
        )
        run_lightning(module, BatchLoader(vectors or self.train, sampler), keeper, checkpoint=self.checkpoint)
        if keeper.best_state or self.out is None:
            learner.load_state_dict(keeper.best_state)
            learner.encoder.card = best_card(card, keeper.best_row or {})
        else:  # of the rank that writes; of any where no epoch since the resume was better
            _load_best(self.out, learner)
        learner.cpu().eval()
        return keeper

    def _validate(self, validate: Validate, vectors: FilmVectors | None, learner: Learner) -> dict[str, float]:
        encoder = learner.encoder
        if vectors is not None:
            return validate(learner, vectors.val_embeddings(encoder))
        return validate(learner, film_vectors(encoder, self.val, device=str(next(encoder.parameters()).device)))


def prepare_encoder(
    settings: TrainingSettings, films: CachedFilms, *, usual: Mapping[str, Any] | None = None
) -> encoders.Encoder:
    """Build the encoder that is trained, with the mean and std that its images take off, and freeze its first layers.

    Args:
        settings: say which, and whether a mean and a std are measured.
        films: those that are trained on; they alone are asked for a mean and a std.
        usual: options of an encoder that is given by name, unless the settings say otherwise.
    """
    spec, kind = settings.image_spec, settings.standardisation
    if kind == "scalar" and spec.per_pixel:
        raise ValueError("the image spec is per pixel, so that a scalar mean would not be used: choose one of the two")
    found = None
    if kind != "spec" or (spec.per_pixel and not isinstance(settings.encoder, encoders.Encoder)):
        if isinstance(films, DatasetFilms):
            raise ValueError("mean and std are measured on decoded films: of a Dataset, give those in image_spec")
        found = film_statistics(films)
        mean, std = (found.mean,), (max(found.std, 1e-3),)
        spec = replace(spec, mean=mean, std=std) if kind == "scalar" else replace(spec, per_pixel=True)
    if isinstance(settings.encoder, str):
        options = {**(usual or {}), **settings.encoder_options}
        encoder = encoders.build_encoder(settings.encoder, image_spec=spec, seed=settings.seed, **options)
    else:
        encoder = encoders.as_encoder(deepcopy(settings.encoder), spec)
    if found is not None and spec.per_pixel:
        encoder.adopt_pixel_statistics(found.pixel_mean, found.pixel_std)
    if settings.freeze:
        encoder.freeze(None if settings.freeze == BACKBONE else int(settings.freeze))
    return encoder.to(memory_format=torch.channels_last)


def _decoded(
    source: Records | DatasetFilms, part: Records, settings: TrainingSettings, progress: Bar | None
) -> CachedFilms:
    if isinstance(source, DatasetFilms):
        return source.take(part)
    folder, n_workers = settings.cache_folder, settings.n_workers
    return cache_films(part, settings.image_spec, folder=folder, n_workers=n_workers, progress=progress)


def _augmented_ids(findings: Sequence[str], chosen: Sequence[str] | None) -> tuple[int, ...] | None:
    """Return the class ids of the findings whose films alone are augmented."""
    if chosen is None:
        return None
    if not chosen:
        raise ValueError("augment_findings is empty: name findings, or leave it out (--no-augment for no augmentation)")
    position = {name: index for index, name in enumerate(findings)}
    return tuple(lookup(position, name, what="finding to augment") for name in chosen)


def _checkpoint(out: Path | None) -> Path:
    """Return the checkpoint to go on from.

    Raises:
        FileNotFoundError: there is nothing to resume.
    """
    last = None if out is None else out / LAST
    if last is None or not last.is_file():
        raise FileNotFoundError(f"{last}: nothing to resume; run without --resume first")
    return last


def _save_best(out: Path, card: dict[str, Any], digests: list[str], learner: Learner, row: dict[str, float]) -> None:
    best, head = best_card(card, row), learner.objective.kept_head
    encoders.save_encoder(
        learner.encoder, out / encoders.ENCODER_FILE, card=best, head=None if head is None else head.state_dict()
    )
    write_json(out / CARD, best)
    write_training_films(out, digests)


def _load_best(out: Path, learner: Learner) -> None:
    encoders.load_encoder(out, module=learner.encoder)
    head = learner.objective.kept_head
    if head is not None:
        head.load_state_dict(encoders.load_head(out)[0])


def _problem_notes(before: Sequence[Records], parts: Sequence[CachedFilms]) -> tuple[str, ...]:
    """Name the films that turned out unreadable; what the reader left out was said when it read."""
    known = {problem for records in before for problem in records.problems}
    found = dict.fromkeys(p for part in parts for p in part.records.problems if p not in known)
    notes = [f"left out {problem.path}: {problem.reason}" for problem in found]
    more = [f"left out {len(notes) - _MOST_NOTES} more unreadable films"] if len(notes) > _MOST_NOTES else []
    return (*notes[:_MOST_NOTES], *more)
