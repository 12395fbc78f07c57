"""Keep what a published encoder knows, and add what the known findings teach: a head fitted to vectors, in seconds."""

import math
import time
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
import torch

from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.data.film_digests import film_digests, write_training_films
from fewshot_cxr.encoders import (
    ENCODER_FILE,
    Encoder,
    JoinedHead,
    encoder_options,
    fit_joined_head,
    join,
    save_encoder,
)
from fewshot_cxr.storage import write_json
from fewshot_cxr.training.callbacks import run_card
from fewshot_cxr.training.fitting import CARD, Run, prepare_encoder
from fewshot_cxr.training.keep_weight import KeepChoice, choose_keep
from fewshot_cxr.training.settings import TrainingSettings
from fewshot_cxr.training.vectors import FilmVectors, head_vectors

AUTO = "auto"
RULE = "prototype"  # one finding's films lie closer together than another's, which mean distances would favour
DISTANCE = "euclidean"  # of a joined embedding: what the head weighs is the length of its part
# A run that fits a head takes no step of a training: these play no part, so that none may be given.
_OF_STEPS = (
    *("loss", "loss_options", "miner", "margin", "memory", "aux", "aux_weight", "sampler", "n_way", "n_shot"),
    *("batch_size", "n_batches", "n_epochs", "optimizer", "lr", "weight_decay", "clip_value", "restart_every"),
    *("layer_decay", "schedule", "patience", "max_minutes"),
)


@dataclass(frozen=True)
class KeptFit:
    """What came of it: the encoder with its card, in eval mode on the CPU, and what is to be said."""

    encoder: Encoder
    notes: tuple[str, ...]


def check_keep(settings: TrainingSettings, keep: float | str) -> None:
    """Refuse a weight that is none, and settings that play no part beside it.

    Raises:
        ValueError: see above; the text names the setting.
    """
    is_weight = isinstance(keep, (int, float)) and not isinstance(keep, bool) and math.isfinite(keep) and keep >= 0
    if keep != AUTO and not is_weight:
        raise ValueError(f"keep must be {AUTO!r} or a weight, 0 or more, got {keep!r}")
    for item in fields(settings):
        usual = item.default if item.default_factory is MISSING else item.default_factory()
        if item.name in _OF_STEPS and getattr(settings, item.name) != usual:
            raise ValueError(f"keep fits its head in closed form, without a step of training: leave {item.name} out")


def fit_kept(run: Run, *, keep: float | str, validate: Callable[[np.ndarray], dict[str, float]] | None) -> KeptFit:
    """Fit a `JoinedHead` to the vectors of a frozen encoder, and write the run folder, if there is one.

    Args:
        run: its films and settings.
        keep: weight of the head, or "auto".
        validate: takes embeddings of the validation films and returns columns of the history; None: too few films.

    Raises:
        ValueError: the encoder has a head of its own, or too few films.
    """
    begun, settings = time.monotonic(), run.settings
    encoder = _frozen(run)
    vectors = run.embed_once(encoder)
    assert vectors is not None, "nothing of it is trained"
    head, how = _fit_head(run, vectors, encoder.pooled_widths, keep)
    join(encoder.cpu().eval().requires_grad_(True), head.eval())
    scores = validate(head_vectors(encoder, vectors.val)) if validate else {}
    parts = (run.train.films.records, run.val.records)
    used = {name: value for name, value in settings.settings().items() if name not in _OF_STEPS}
    card = run_card(encoder, *parts, given_hash=run.given_hash, distance=DISTANCE, settings=used)
    chosen = {"rule": RULE, "keep": {"weight": head.keep.item(), "how": how}}
    encoder.card = card | chosen | {"best_epoch": None, "val_accuracy": scores.get("val_accuracy")}
    if run.out is not None:
        _write(run, encoder)
    seconds, told = time.monotonic() - begun, ", ".join(f"validation accuracy {score:.1%}" for score in scores.values())
    note = f"fitted in {seconds:.0f} s, without a step of training: the head's weight is {head.keep.item():g} ({how})"
    return KeptFit(encoder, (*run.notes, f"{note}; {told}" if told else note, *run.problem_notes))


def _frozen(run: Run) -> Encoder:
    settings, usual = run.settings, dict[str, Any](output="pooled")
    if isinstance(settings.encoder, str) and "pool" in encoder_options(settings.encoder):
        usual["pool"] = "stages"
    return prepare_encoder(settings, run.train.films, usual=usual).requires_grad_(False)


def _fit_head(run: Run, vectors: FilmVectors, widths: tuple[int, ...], keep: float | str) -> tuple[JoinedHead, str]:
    n_films, n_views, n_features = vectors.train.shape
    class_ids = torch.from_numpy(vectors.class_ids).repeat_interleave(n_views)
    head = fit_joined_head(vectors.train.reshape(n_films * n_views, n_features), class_ids, widths)
    choice = KeepChoice(float(keep), "as asked") if keep != AUTO else None
    if choice is None:
        choice = choose_keep(vectors.train[:, 0], run.train.films.records, widths, seed=run.settings.seed)
    head.keep.fill_(choice.weight)
    return head, choice.how


def _write(run: Run, encoder: Encoder) -> None:
    assert run.out is not None
    with only_writer(run.out):
        save_encoder(encoder, run.out / ENCODER_FILE, card=encoder.card)
        write_json(run.out / CARD, encoder.card)
        write_training_films(run.out, film_digests(run.train.films))
