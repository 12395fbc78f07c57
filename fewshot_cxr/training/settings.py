"""What both trainers take: encoder, films, optimiser, rates, stopping. Each trainer adds what is its own."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_cxr._checks import check_above, check_at_least, check_whole, class_name, lookup
from fewshot_cxr.data import Augmentation
from fewshot_cxr.encoders import Encoder, is_built_in, weights_name, weights_spec
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import choose_device

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
PRECISIONS = ("auto", "32-true", "bf16-mixed")
SCHEDULES = ("one_cycle", "warm_restarts", "plateau", "constant")
STANDARDISATIONS = ("spec", "scalar", "per_pixel")
BACKBONE = "backbone"
_IN_A_FOLDER = "timm:local-dir:"
# Settings that are whole numbers, and their minima.
_WHOLE = {
    "n_epochs": 1,
    "n_batches": 1,
    "n_workers": 1,
    "frozen_views": 1,
    "restart_every": 1,
    "patience": 1,
    "plateau_patience": 0,
    "seed": None,
}
_USUAL_SPEC = ImageSpec(size_px=128)
# They decide where and how long a run goes, not which weights it has after so many steps.
_NOT_OF_THE_WEIGHTS = ("device", "cache_folder", "n_workers", "max_minutes", "patience")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What `SiameseTrainer` and `ClassifierTrainer` share; `SiameseTrainer(**vars(settings), loss=...)` takes them all.

    Args:
        encoder: a name in ENCODERS (or "timm:<name>"), an `Encoder`, or any module of torch whose output is the
            embedding, (N, dim). A module is copied, the copy is trained; it needs `image_spec` beside it.
        encoder_options: what `build_encoder` takes beside a name.
        image_spec: size, channels and crop of the films; an `Encoder` has its own, as have published weights unless you
            say otherwise.
        standardisation: "spec" takes the mean and std of `image_spec`, "scalar" those of the training films,
            "per_pixel" a mean and a std image of them.
        loss_options: further keywords of a loss that is given by name.
        augmentation: of training films; None for none. Or any callable from one image, float (C, S, S) of 0..1, to
            another of the same shape; what it draws from torch is keyed by the seed and the step.
        augment_findings: whose films alone are augmented; None: all.
        batch_size: films in a batch.
        n_batches: in an epoch; None: about as many as cover the training films once.
        n_epochs: how many.
        optimizer: "adamw" or "adam".
        lr: its learning rate, at the peak of the schedule.
        weight_decay: of the optimiser.
        clip_norm: largest norm of the gradient; None: not clipped.
        clip_value: largest value in the gradient; None: not clipped.
        restart_every: after so many epochs the optimiser forgets its moments; None: never.
        freeze: groups of layers that are not trained, from the stem on, or "backbone". Where the head alone is trained,
            each film is embedded once, and the head is trained on the vectors.
        frozen_views: how often each training film is then embedded: as it is, and augmented anew all other times; a
            step takes one of these views of each.
        layer_decay: each group of layers learns at the rate of the one after it, times this.
        averaging: decay of a moving average of the weights, which is what is validated and kept; None for none.
        schedule: "one_cycle", "warm_restarts", "plateau" (by validation) or "constant".
        plateau_factor: what "plateau" multiplies the rate by.
        plateau_patience: after more than so many epochs that were no better.
        precision: "auto" takes bfloat16 where the processor does it natively.
        patience: stop after so many epochs that were no better in validation; None: never.
        val_fraction: carved from the training films, by patient, when `fit` gets no validation films.
        max_minutes: begin no epoch that would end later.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: of every draw, with the step.
        cache_folder: where decoded films are kept; None: FSCXR_CACHE, else the user's cache folder.
        n_workers: threads that decode films; None: one for each processor.

    Examples:
        >>> from fewshot_cxr.training import SiameseTrainer
        >>> shared = vars(TrainingSettings(n_epochs=5, image_spec=ImageSpec(size_px=64)))
        >>> trainers = [SiameseTrainer(**shared, loss=loss) for loss in ("supcon", "triplet")]
        >>> [(trainer.loss, trainer.n_epochs, trainer.image_spec.size_px) for trainer in trainers]
        [('supcon', 5, 64), ('triplet', 5, 64)]
    """

    encoder: str | nn.Module = "resnet9"
    encoder_options: Mapping[str, Any] = field(default_factory=dict)
    image_spec: ImageSpec = _USUAL_SPEC
    standardisation: str = "spec"
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Augmentation | Callable[[Tensor], Tensor] | None = field(default_factory=Augmentation)
    augment_findings: tuple[str, ...] | None = None
    batch_size: int = 48
    n_batches: int | None = None
    n_epochs: int = 30
    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.05
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    restart_every: int | None = None
    freeze: int | str = 0
    frozen_views: int = 1
    layer_decay: float = 1.0
    averaging: float | None = 0.98
    schedule: str = "one_cycle"
    plateau_factor: float = 0.3
    plateau_patience: int = 4
    precision: str = "auto"
    patience: int | None = None
    val_fraction: float = 0.15
    max_minutes: float | None = None
    device: str = "auto"
    seed: int = 0
    cache_folder: str | Path | None = None
    n_workers: int | None = None

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(SCHEDULES), self.schedule, what="schedule")
        lookup(dict.fromkeys(PRECISIONS), self.precision, what="precision")
        lookup(dict.fromkeys(STANDARDISATIONS), self.standardisation, what="standardisation")
        lookup(OPTIMIZERS, self.optimizer, what="optimizer")
        for name, least in _WHOLE.items():
            if getattr(self, name) is not None:
                check_whole(getattr(self, name), name, least)
        check_at_least(self.weight_decay, 0, "weight_decay")
        for name in ("layer_decay", "plateau_factor"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        for name in ("lr", "clip_norm", "clip_value", "max_minutes"):
            if getattr(self, name) is not None:
                check_above(getattr(self, name), 0, name)
        for name in ("averaging", "val_fraction"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name} must be above 0 and below 1, got {value}")
        if self.augment_findings is not None and self.augmentation is None:
            raise ValueError("augment_findings names films to augment, and augmentation is off: leave one of them out")
        if isinstance(self.freeze, str):
            lookup({BACKBONE: None}, self.freeze, what="freeze")
        else:
            check_whole(self.freeze, "freeze", 0)
        choose_device(self.device)
        self._check_encoder()

    def _check_encoder(self) -> None:
        if isinstance(self.encoder, str):
            if self.image_spec is _USUAL_SPEC and is_built_in(self.encoder):
                start = {name: self.encoder_options.get(name) for name in ("weights", "pretrained")}
                own = weights_spec(self.encoder, weights=start["weights"], pretrained=bool(start["pretrained"]))
                object.__setattr__(self, "image_spec", own or _USUAL_SPEC)
            return
        what, is_given = type(self.encoder).__name__, self.image_spec is not _USUAL_SPEC
        if self.encoder_options:
            raise ValueError(f"encoder_options are of an encoder's name, and encoder is a {what}: leave them out")
        if isinstance(self.encoder, Encoder):
            if is_given and self.image_spec != self.encoder.image_spec:
                raise ValueError(f"the encoder, a {what}, has an image_spec of its own: leave image_spec out")
            if self.standardisation != "spec":
                raise ValueError(f"the encoder, a {what}, has an image_spec of its own: leave standardisation out")
            object.__setattr__(self, "image_spec", self.encoder.image_spec)
        elif not is_given:
            raise TypeError(f"encoder is a {what}, which does not say what its images are: give image_spec beside it")

    def settings(self) -> dict[str, Any]:
        """Return what decides the weights, as plain JSON values; of an object the name of its class."""
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _NOT_OF_THE_WEIGHTS}
        plain["image_spec"] = self.image_spec.to_json()
        if isinstance(self.augmentation, Augmentation):
            plain["augmentation"] = asdict(self.augmentation)
        weights = self.encoder_options.get("weights")
        if weights is not None:  # what they are, not where this machine keeps them
            plain["encoder_options"] = {**self.encoder_options, "weights": weights_name(weights)}
        if isinstance(self.encoder, str) and self.encoder.startswith(_IN_A_FOLDER):
            plain["encoder"] = _IN_A_FOLDER + Path(self.encoder.removeprefix(_IN_A_FOLDER)).name
        return dict(json.loads(json.dumps(plain, default=class_name)))
