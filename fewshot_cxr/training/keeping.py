"""Keep what a published encoder knows, and add what the known findings teach: a head fitted to vectors, in seconds."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr._checks import first_of
from fewshot_cxr._kinds import CARD
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.data.film_digests import film_digests, write_training_films
from fewshot_cxr.data.splits.by_share import share_out
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import ENCODER_FILE, Encoder, JoinedHead, encoder_options, fit_joined_head, join, save_encoder
from fewshot_cxr.encoders.joined import USUAL_KEEP
from fewshot_cxr.inference.embed import with_facts
from fewshot_cxr.records import Records
from fewshot_cxr.training.callbacks import run_card
from fewshot_cxr.training.fitting import Run, prepare_encoder
from fewshot_cxr.training.settings import TrainingSettings
from fewshot_cxr.training.validation import EpisodePlan, episode_recalls, films_asked, plan_validation
from fewshot_cxr.training.vectors import FilmVectors
from fewshot_cxr.whole_files import write_json

AUTO = "auto"
RULE = "prototype"  # one finding's films lie closer together than another's, which mean distances would favour
DISTANCE = "euclidean"  # of a joined embedding: what the head weighs is the length of its part
# A run that fits a head takes no step of a training: these play no part, so that none may be given.
_OF_STEPS = (
    *("loss", "loss_options", "miner", "margin", "memory", "aux", "aux_weight", "sampler", "n_way", "n_shot"),
    *("batch_size", "n_batches", "n_epochs", "optimizer", "lr", "weight_decay", "clip_value", "restart_every"),
    *("layer_decay", "schedule", "patience", "max_minutes"),
)
KEEPS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
_N_FOLDS = 3
_N_SHOT, _N_QUERY, _N_EPISODES = 5, 10, 200
_N_TOLD = 6  # of the findings that played the new one


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
    scores = validate(vectors.val_embeddings(encoder)) if validate else {}
    parts = (run.train.films.records, run.val.records)
    used = {name: value for name, value in settings.settings().items() if name not in _OF_STEPS}
    card = run_card(encoder, *parts, given_hash=run.given_hash, distance=DISTANCE, settings=used)
    chosen = {"rule": RULE, "keep": {"weight": head.keep.item(), "how": how}}
    encoder.card = card | chosen | {"best_epoch": None, "val_accuracy": scores.get("val_accuracy")}
    if run.out is not None and run.ranks.is_first:
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


@dataclass(frozen=True)
class KeepChoice:
    """The weight, and how it was chosen, in words."""

    weight: float
    how: str


def choose_keep(vectors: Tensor, films: Records, widths: Sequence[int], *, seed: int) -> KeepChoice:
    """Take the weight with which findings that a head never met, and those that it knows, are told best.

    The films are parted by patient in three. On two parts a head is fitted without one of the findings, and asked in
    episodes on the third, with it: what counts is the mean of its recall and of the mean recall of the others.

    Args:
        vectors: pooled features of the training films, float, shape (N, n_features).
        films: the same, of one finding each.
        widths: of the groups of columns, as for `fit_joined_head`.
        seed: of the parting.

    Returns:
        A weight of KEEPS. USUAL_KEEP where fewer than three findings are known, of which none can play the new one, and
        where too few patients show any of them.
    """
    if len(films.findings) < 3:
        return KeepChoice(USUAL_KEEP, "the usual one: of two known findings none can play the new one")
    part = share_out(films, (1 / _N_FOLDS,) * _N_FOLDS, [f"fold{fold}" for fold in range(_N_FOLDS)], seed=seed)[0]
    played, scores = [], []
    for fold in range(_N_FOLDS):
        for new, row in _scores_of_fold(vectors, films, widths, part == fold):
            played.append(new)
            scores.append(row)
    if not played:
        return KeepChoice(USUAL_KEEP, "the usual one: too few patients for any known finding to play the new one")
    mean = np.mean(scores, axis=0)
    best, names = int(mean.argmax()), sorted(set(played))
    how = f"of {', '.join(f'{keep:g}' for keep in KEEPS)} the best where {first_of(names, _N_TOLD)} played the new "
    how += "finding in turn, on "
    how += f"training films of other patients: mean recall of new and old {mean[best]:.1%}, {mean[0]:.1%} at weight 0"
    return KeepChoice(KEEPS[best], how)


def _scores_of_fold(
    vectors: Tensor, films: Records, widths: Sequence[int], is_asked: np.ndarray
) -> Iterator[tuple[str, list[float]]]:
    """Yield each finding that can play the new one, with the score of every weight."""
    rows = np.flatnonzero(is_asked)
    if not len(rows):  # fewer patients than folds
        return
    asked = films.take(rows.tolist())
    labelled = with_facts(np.zeros((len(asked), 1)), asked)
    plan = plan_validation(labelled, n_shot=_N_SHOT, n_query=_N_QUERY, n_episodes=_N_EPISODES)
    if plan is None:
        return
    rows = rows[np.isin(labelled.class_ids, plan.class_ids)]
    labelled = films_asked(labelled, plan.class_ids)
    classes = {name: class_id for class_id, name in enumerate(films.findings)}
    class_ids = np.array([classes[film.finding] for film in films])
    for new_id in plan.class_ids:
        new = labelled.class_names[new_id]
        fitted = np.flatnonzero(~is_asked & (class_ids != classes[new]))
        counts = np.unique(class_ids[fitted], return_counts=True)[1]
        if len(counts) < 2 or counts.max() < 2:
            continue
        head = fit_joined_head(vectors[fitted], torch.from_numpy(class_ids[fitted]), widths)
        yield new, _scores(head, vectors[rows], labelled, plan, new_id)


def _scores(head: JoinedHead, vectors: Tensor, films: Embeddings, plan: EpisodePlan, new_id: int) -> list[float]:
    """Return the mean of the new finding's recall and of the others' at each weight; `films` are those of the plan."""
    with torch.inference_mode():
        kept = head.kept(vectors)
        taught = head.directions(kept)
        # Among so few films the distances are those between as many coordinates.
        left, lengths, _ = torch.linalg.svd(kept, full_matrices=False)
    scores = []
    others = [class_id for class_id in plan.class_ids if class_id != new_id]
    for keep in KEEPS:
        joined = replace(films, vectors=torch.cat([left * lengths, keep * taught], dim=1).numpy())
        recalls = episode_recalls(joined, plan.episodes, rule="prototype", distance="euclidean")
        scores.append(float(recalls[new_id] + recalls[others].mean()) / 2)
    return scores
