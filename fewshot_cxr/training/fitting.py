"""What both trainers do around their loop: films, encoder, card, resume, the best epoch, notes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from fewshot_cxr._checks import lookup
from fewshot_cxr.data import Augmentation, CachedFilms, XrayDataset, cache_films, film_statistics
from fewshot_cxr.encoders import ENCODER_FILE, Encoder, build_encoder, load_encoder, save_encoder, weights_name
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import choose_device, native_precision
from fewshot_cxr.records import Records
from fewshot_cxr.storage import write_json
from fewshot_cxr.training.callbacks import LAST, RunKeeper
from fewshot_cxr.training.card import best_card, resumed_epoch
from fewshot_cxr.training.course import Course
from fewshot_cxr.training.loaders import BatchLoader, BatchSampler
from fewshot_cxr.training.module import Learner, TrainingModule
from fewshot_cxr.training.runner import run_lightning

Progress = Callable[[str, int, int], None]
CARD = "card.json"
STANDARDISATIONS = ("spec", "scalar", "per_pixel")
_MOST_NOTES = 5
# They decide where and how long a run goes, not which weights it has after so many steps.
_NOT_OF_THE_WEIGHTS = ("device", "cache_folder", "n_workers", "max_minutes", "patience")


@dataclass(frozen=True, kw_only=True)
class Films:
    """The decoded films of a run, and what there is to say of them."""

    train: CachedFilms
    val: CachedFilms
    notes: tuple[str, ...]

    @classmethod
    def decode(
        cls,
        train: Records,
        val: Records,
        spec: ImageSpec,
        *,
        folder: Path | None,
        n_workers: int | None,
        progress: Progress | None,
    ) -> "Films":
        """Decode both parts; a film that turns out unreadable is named in the notes.

        Films are put in the order of their paths: the batches that are drawn then follow from the set of films alone.
        """
        train, val = (part.take(sorted(range(len(part)), key=lambda row: part[row].path)) for part in (train, val))
        parts = [
            cache_films(
                part,
                spec,
                folder=folder,
                n_workers=n_workers,
                progress=None if progress is None else partial(progress, f"decoding {name} films"),
            )
            for name, part in (("train", train), ("val", val))
        ]
        return cls(train=parts[0], val=parts[1], notes=_problem_notes((train, val), parts))


def prepare_encoder(
    name: str,
    options: Mapping[str, Any],
    spec: ImageSpec,
    films: CachedFilms,
    *,
    standardisation: str,
    seed: int,
) -> Encoder:
    """Build the encoder that is trained, with the mean and std that its images take off.

    Args:
        name, options: of `build_encoder`. spec: of its images.
        films: those that are trained on; they alone are asked for a mean and a std.
        standardisation: "spec" as `spec` says; "scalar" one mean and one std of all films; "per_pixel" a mean and a
            std image.
        seed: of the initial weights.
    """
    lookup(dict.fromkeys(STANDARDISATIONS), standardisation, what="standardisation")
    if standardisation == "scalar" and spec.per_pixel:
        raise ValueError("the image spec is per pixel, so that a scalar mean would not be used: choose one of the two")
    if standardisation == "spec" and not spec.per_pixel:
        return build_encoder(name, image_spec=spec, seed=seed, **options)
    found = film_statistics(films)
    if standardisation == "scalar":
        spec = replace(spec, mean=(found.mean,), std=(max(found.std, 1e-3),))
        return build_encoder(name, image_spec=spec, seed=seed, **options)
    encoder = build_encoder(name, image_spec=replace(spec, per_pixel=True), seed=seed, **options)
    encoder.adopt_pixel_statistics(found.pixel_mean, found.pixel_std)
    return encoder


def plain_settings(trainer: Any) -> dict[str, Any]:
    """Return what decides the weights of a trainer's run, as plain JSON values."""
    plain = {item.name: getattr(trainer, item.name) for item in fields(trainer) if item.name not in _NOT_OF_THE_WEIGHTS}
    plain["image_spec"] = trainer.image_spec.to_json()
    plain["augmentation"] = None if trainer.augmentation is None else asdict(trainer.augmentation)
    weights = plain["encoder_options"].get("weights")
    if weights is not None:  # what they are, not where this machine keeps them
        plain["encoder_options"] = {**plain["encoder_options"], "weights": weights_name(weights)}
    return dict(json.loads(json.dumps(plain)))


def augmented_ids(findings: Sequence[str], chosen: Sequence[str] | None) -> tuple[int, ...] | None:
    """Return the class ids of the findings whose films alone are augmented.

    Raises:
        ValueError: one of them is not trained on.
    """
    if chosen is None:
        return None
    if not chosen:
        raise ValueError("augment_findings is empty: name findings, or leave it out (--no-augment for no augmentation)")
    position = {name: index for index, name in enumerate(findings)}
    return tuple(lookup(position, name, what="finding to augment") for name in chosen)


def resumable(out: Path | None, resume: bool) -> Path | None:
    """Return the checkpoint to go on from, or None where a run begins.

    Raises:
        FileNotFoundError: there is nothing to resume.
    """
    if not resume:
        return None
    last = None if out is None else out / LAST
    if last is None or not last.is_file():
        raise FileNotFoundError(f"{last}: nothing to resume; run without --resume first")
    return last


@dataclass(frozen=True, kw_only=True)
class Fit:
    """All that is decided before the loop; `run` is the loop.

    Args:
        learner, course, card: what is trained, how, and what the run says of itself.
        dataset, sampler, augmentation, augment_findings: what it is trained on.
        validate, monitor: see `RunKeeper`.
        out, checkpoint, progress: where it is written, what it goes on from, whom it tells.
    """

    learner: Learner
    course: Course
    card: dict[str, Any]
    dataset: XrayDataset
    sampler: BatchSampler
    augmentation: Augmentation | None
    augment_findings: Sequence[str] | None
    validate: Callable[[Learner], dict[str, float]] | None
    monitor: str
    out: Path | None
    checkpoint: Path | None
    progress: Progress | None

    def run(self) -> RunKeeper:
        """Train, and leave the best epoch in the learner, on the processor and in eval mode."""
        course, n_batches = self.course, len(self.sampler)
        module = TrainingModule(
            self.learner,
            course,
            augmentation=self.augmentation,
            augmented_ids=augmented_ids(self.dataset.class_names, self.augment_findings),
            n_steps=n_batches * course.n_epochs,
            steps_per_epoch=n_batches,
        )
        module.run_card = self.card
        if self.checkpoint is not None:
            self.sampler.set_epoch(resumed_epoch(self.checkpoint, self.card))
        keeper = RunKeeper(
            self.out,
            course,
            validate=self.validate,
            monitor=self.monitor,
            save=None if self.out is None else partial(_save_best, self.out, self.card),
            progress=None if self.progress is None else partial(self.progress, "training"),
        )
        device = choose_device(course.device)
        run_lightning(
            module,
            BatchLoader(self.dataset, self.sampler),
            keeper,
            device=device,
            precision=native_precision(device) if course.precision == "auto" else course.precision,
            n_epochs=course.n_epochs,
            out=self.out,
            checkpoint=self.checkpoint,
        )
        if self.out is None:
            self.learner.load_state_dict(keeper.best_state)
        self.learner.cpu().eval()
        return keeper

    def best_encoder(self, keeper: RunKeeper) -> Encoder:
        """Return the encoder of the best epoch: from the run folder where there is one."""
        if self.out is not None:
            return load_encoder(self.out)
        encoder = self.learner.encoder
        encoder.card = best_card(self.card, keeper.best_row or {})
        return encoder


def _save_best(out: Path, card: dict[str, Any], learner: Learner, row: dict[str, float]) -> None:
    best, head = best_card(card, row), learner.objective.kept_head
    save_encoder(learner.encoder, out / ENCODER_FILE, card=best, head=None if head is None else head.state_dict())
    write_json(out / CARD, best)


def _problem_notes(before: Sequence[Records], parts: Sequence[CachedFilms]) -> tuple[str, ...]:
    """Name the films that turned out unreadable; what the reader left out was said when it read."""
    known = {problem for records in before for problem in records.problems}
    found = dict.fromkeys(p for part in parts for p in part.records.problems if p not in known)
    notes = [f"left out {problem.path}: {problem.reason}" for problem in found]
    more = [f"left out {len(notes) - _MOST_NOTES} more unreadable films"] if len(notes) > _MOST_NOTES else []
    return (*notes[:_MOST_NOTES], *more)
