"""Train an embedding on the findings that have many films; new findings then need only a few."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_above, check_whole, lookup
from fewshot_cxr._progress import Auto, Bars, bars_of
from fewshot_cxr.data import XrayDataset
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.inference import RULES
from fewshot_cxr.inference.embed import with_facts
from fewshot_cxr.objectives import CrossBatchMemory, build_auxiliary, build_loss, build_miner
from fewshot_cxr.records import Records
from fewshot_cxr.training.batches import choose_sampler
from fewshot_cxr.training.fitting import Data, Run, prepare_encoder
from fewshot_cxr.training.keeping import DISTANCE, check_keep, fit_kept
from fewshot_cxr.training.module import Learner
from fewshot_cxr.training.objective import MetricObjective
from fewshot_cxr.training.settings import BACKBONE, TrainingSettings
from fewshot_cxr.training.validation import EpisodePlan, plan_validation, validation_accuracy

_MONITOR = "val_accuracy"
# Settings that are whole numbers, and their minima.
_WHOLE = {"batch_size": 4, "val_n_shot": 1, "val_n_query": 1, "val_n_episodes": 1, "n_shot": 1, "memory": 0}
_UNSEEN = "too few validation patients for any episode: the last epoch is kept, and nothing stops early"


@dataclass(frozen=True)
class TrainedEncoder:
    """What `SiameseTrainer.fit` returns.

    Args:
        encoder: the best one, in eval mode.
        card: what the run says of itself.
        history: a row of numbers for each epoch.
        notes: what was done, in words.

    Examples:
        >>> from fewshot_cxr.encoders import build_encoder
        >>> history = ({"epoch": 1.0, "val_accuracy": 0.5}, {"epoch": 2.0, "val_accuracy": 0.75})
        >>> trained = TrainedEncoder(build_encoder("resnet9", width=4), card={}, history=history, notes=())
        >>> max(trained.history, key=lambda row: row["val_accuracy"])["epoch"]
        2.0
    """

    encoder: Encoder
    card: dict[str, Any]
    history: tuple[dict[str, float], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SiameseTrainer(TrainingSettings):
    """Settings of a metric-learning run, with those of `TrainingSettings`; `fit` does the work.

    A loss, a miner or an encoder that is an object is copied, and the copy is trained.

    Args:
        loss: a name in LOSSES; or a loss of pytorch-metric-learning, or any callable from (embeddings, class ids) to a
            scalar.
        miner: a name in MINERS; or a miner of pytorch-metric-learning; None: the loss's own.
        distance: a name in DISTANCES, of a loss by name, and of the validation.
        margin: in units of the distance; None: the loss's own.
        memory: embeddings of earlier batches that the loss compares with, too; 0: none.
        aux: a name in AUXILIARIES, of a self-supervised term between two views of each film, so that the embedding
            keeps more than the known findings need. Doubles the time.
        aux_weight: of that term, the loss's own being 1.
        sampler: "balanced", "pairs", "episodic" or "shuffled"; None: the loss's own. Batches are spread evenly over the
            findings and over patients.
        n_way: findings in an episodic batch; None: all.
        n_shot: support films of each in an episodic batch; the other films are queries.
        val_n_shot: of the validation episodes, shrunk where a finding is small.
        val_n_query: of the validation episodes, likewise.
        val_n_episodes: how many there are.
        val_rule: a name in RULES; None: "template" by the learned distance where the loss has one, else
            "mean_distance".
        keep: None trains. A number keeps a published encoder as it is and fits a head in closed form, whose weight it
            is, the encoder's own being 1; "auto" chooses it without any new finding. See `JoinedHead`.

    Examples:
        >>> from fewshot_cxr import ImageSpec
        >>> films = [(np.full((1, 32, 32), n / 24, np.float32), "normal" if n < 12 else "covid19") for n in range(24)]
        >>> small = {"image_spec": ImageSpec(size_px=32), "encoder_options": {"width": 4}, "batch_size": 8}
        >>> trainer = SiameseTrainer(loss="triplet", n_epochs=1, n_batches=1, device="cpu", **small)
        >>> trained = trainer.fit(films, progress=None)
        >>> trained.card["findings"], trained.card["n_films"], len(trained.history)
        (['covid19', 'normal'], {'train': 20, 'val': 4}, 1)
    """

    loss: str | Callable[..., Any] = "supcon"
    miner: str | Callable[..., Any] | None = None
    distance: str = "cosine"
    margin: float | None = None
    memory: int = 0
    aux: str | None = None
    aux_weight: float = 1.0
    sampler: str | None = None
    n_way: int | None = None
    n_shot: int = 1
    val_n_shot: int = 5
    val_n_query: int = 10
    val_n_episodes: int = 500
    val_rule: str | None = None
    keep: float | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_rule is not None:
            lookup(RULES, self.val_rule, what="rule")
        for name, minimum in _WHOLE.items():
            check_whole(getattr(self, name), name, minimum)
        if self.n_way is not None:
            check_whole(self.n_way, "n_way", 2)
        check_above(self.aux_weight, 0, "aux_weight")
        if self.keep is not None:
            check_keep(self, self.keep)
        if self.margin is not None:
            check_above(self.margin, 0, "margin")

    def fit(
        self,
        train: Data,
        val: Data | None = None,
        *,
        out: str | Path | None = None,
        resume: bool = False,
        progress: Bars | Auto | None = "auto",
    ) -> TrainedEncoder:
        """Train and return the encoder of the best epoch.

        Where a backbone is frozen and its pooled features are the embeddings there is nothing to train: the encoder is
        kept as it is, and a note says so.

        Args:
            train: single-label films with patients (`split_by_patient` makes them); or a Dataset, see `DatasetFilms`.
            val: films of other patients; None: carved from `train` by patient, and noted.
            out: the run folder (encoder.safetensors, card.json, history.csv, last.ckpt, logs/); None writes nothing.
            resume: go on from `out`/last.ckpt, exactly as if never stopped; with the same objects given, if any.
            progress: called with (what is done, done, total); "auto": bars in a terminal or a notebook; None: nothing.

        Raises:
            ValueError: a patient in both sets, too few findings, settings that do not go together, or that differ from
                those of the resumed run.
            FileNotFoundError: nothing readable, or nothing to resume.
            FloatingPointError: the loss is no longer finite.
            KeyboardInterrupt: Ctrl-C; the last whole epoch is on disk.
        """
        # What is fitted at once has nothing to go on from.
        has_steps = self.keep is None
        run = Run.begin(self, train, val, out=out, resume=resume and has_steps, progress=bars_of(progress))
        plan = plan_validation(
            with_facts(np.zeros((len(run.val), 1)), run.val.records),
            n_shot=self.val_n_shot,
            n_query=self.val_n_query,
            n_episodes=self.val_n_episodes,
        )
        if self.keep is not None:
            validate = None if plan is None else partial(self._validate_kept, run.val.records, plan)
            fit = fit_kept(run, keep=self.keep, validate=validate)
            return TrainedEncoder(fit.encoder, fit.encoder.card, (), fit.notes)
        objective, learner = self._learner(run.train)
        if not any(weight.requires_grad for weight in learner.parameters()):
            notes = run.keep_as_it_is(learner.encoder, distance=self.distance)
            return TrainedEncoder(learner.encoder, learner.encoder.card, (), notes)
        vectors = run.embed_once(learner.encoder)
        sampler = choose_sampler(
            self.sampler or objective.loss.batches,
            run.train,
            batch_size=self.batch_size,
            n_batches=self.n_batches,
            n_way=self.n_way,
            n_shot=self.n_shot,
            seed=self.seed,
        )
        head = objective.loss.head
        keeper = run.fit(
            learner,
            sampler,
            vectors=vectors,
            distance=self.distance,
            head=None if head is None else {"kind": "weighted_l1", "is_nonnegative": head.is_nonnegative},
            validate=None if plan is None else partial(self._validate, run.val.records, plan),
            monitor=_MONITOR,
        )
        notes = (*run.notes, *((_UNSEEN,) if plan is None else plan.notes), *(vectors.notes if vectors else ()))
        notes = (*notes, *run.problem_notes, *keeper.stop_notes)
        return TrainedEncoder(learner.encoder, learner.encoder.card, tuple(keeper.history), notes)

    def _learner(self, dataset: XrayDataset) -> tuple[MetricObjective, Learner]:
        encoder = prepare_encoder(self, dataset.films)
        own = {"n_shot": self.n_shot} if self.loss == "prototypical" else {}
        loss = build_loss(
            deepcopy(self.loss),
            n_classes=len(dataset.class_names),
            embedding_dim=encoder.embedding_dim,
            distance=self.distance,
            margin=self.margin,
            seed=self.seed,
            **{**own, **self.loss_options},
        )
        self._check_sampler(loss.batches, getattr(loss.inner, "n_shot", self.n_shot))
        miner = build_miner(self.miner, loss=loss, seed=self.seed)
        memory, auxiliary = None, None
        if self.memory:
            memory = CrossBatchMemory(loss, miner, size=self.memory, embedding_dim=encoder.embedding_dim)
        if self.aux is not None:
            auxiliary = build_auxiliary(self.aux, dim=encoder.n_features, seed=self.seed)
        objective = MetricObjective(loss, miner, memory=memory, auxiliary=auxiliary, aux_weight=self.aux_weight)
        return objective, Learner(encoder, objective)

    def _check_sampler(self, needed: str, n_shot: int) -> None:
        if needed != "balanced" and self.sampler not in (None, needed):
            raise ValueError(
                f"loss {self.loss!r} reads its batches as {needed}, not {self.sampler}: leave sampler out (--sampler)"
            )
        if (self.sampler or needed) != "episodic" and (self.n_way is not None or self.n_shot > 1):
            raise ValueError(
                "n_way and n_shot are of episodic batches: leave them out (--n-way, --n-shot), or take those"
            )
        if needed == "episodic" and n_shot != self.n_shot:
            raise ValueError(
                f"the loss takes {n_shot} support films of each finding, and its batches have n_shot {self.n_shot}: "
                f"make that {n_shot} (--n-shot {n_shot}), and leave n_shot out of loss_options"
            )
        if self.aux is None and self.aux_weight != 1:
            raise ValueError(f"aux_weight {self.aux_weight} is of no term: name one (--aux), or leave it out")
        if self.aux is not None and self.augmentation is None:
            raise ValueError(
                "aux compares two views of a film, which without augmentation are the same: leave one of them"
            )
        if self.aux is not None and self.freeze == BACKBONE and self.frozen_views < 2:
            raise ValueError(
                "aux compares two views of a film, and with a frozen backbone there is one: embed more, frozen_views "
                "(--frozen-views)"
            )

    def _validate(self, films: Records, plan: EpisodePlan, learner: Learner, vectors: np.ndarray) -> dict[str, float]:
        assert isinstance(learner.objective, MetricObjective)
        head = learner.objective.loss.head
        rule, options = self.val_rule, {}
        if head is not None and rule in (None, "template"):
            rule, options = "template", {"weights": head.weights.detach().cpu(), "bias": head.bias.item()}
        if not np.isfinite(vectors).all():
            return {_MONITOR: float("nan")}
        accuracy = validation_accuracy(
            with_facts(vectors, films),
            plan,
            rule=rule or "mean_distance",
            rule_options=options,
            distance=self.distance,
        )
        return {_MONITOR: accuracy}

    def _validate_kept(self, films: Records, plan: EpisodePlan, vectors: np.ndarray) -> dict[str, float]:
        labelled, rule = with_facts(vectors, films), self.val_rule or "prototype"
        return {_MONITOR: validation_accuracy(labelled, plan, rule=rule, distance=DISTANCE)}
