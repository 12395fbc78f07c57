"""How a training goes, whatever it trains: optimiser, rates, restarts, clipping, stopping."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr.data import Augmentation
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.inference import choose_device
from fewshot_cxr.training.schedules import SCHEDULES

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
PRECISIONS = ("auto", "32-true", "bf16-mixed")
BACKBONE = "backbone"


@dataclass(frozen=True, kw_only=True)
class Course:
    """The settings that both trainers share; each trainer's docstring says what they mean."""

    n_epochs: int
    lr: float
    weight_decay: float
    optimizer: str
    layer_decay: float
    clip_norm: float | None
    clip_value: float | None
    averaging: float | None
    schedule: str
    plateau_factor: float
    plateau_patience: int
    restart_every: int | None
    freeze: int | str
    patience: int | None
    augmentation: Augmentation | None
    augment_findings: Sequence[str] | None
    val_fraction: float
    max_minutes: float | None
    precision: str
    device: str
    seed: int

    @classmethod
    def of(cls, trainer: object) -> "Course":
        """Take these settings out of a trainer's."""
        return cls(**{item.name: getattr(trainer, item.name) for item in fields(cls)})

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(SCHEDULES), self.schedule, what="schedule")
        lookup(dict.fromkeys(PRECISIONS), self.precision, what="precision")
        lookup(OPTIMIZERS, self.optimizer, what="optimizer")
        check_at_least(self.n_epochs, 1, "n_epochs")
        for name in ("restart_every", "patience"):
            if getattr(self, name) is not None:
                check_at_least(getattr(self, name), 1, name)
        check_at_least(self.plateau_patience, 0, "plateau_patience")
        for name in ("layer_decay", "plateau_factor"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        for name in ("lr", "clip_norm", "clip_value"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name in ("averaging", "val_fraction"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name} must be above 0 and below 1, got {value}")
        if self.augment_findings is not None and self.augmentation is None:
            raise ValueError("augment_findings names films to augment, and augmentation is off: leave one of them out")
        if isinstance(self.freeze, str):
            lookup({BACKBONE: None}, self.freeze, what="freeze")
        else:
            check_at_least(self.freeze, 0, "freeze")
        choose_device(self.device)

    def freeze_parts(self, encoder: Encoder) -> None:
        """Freeze what the settings say: so many groups of layers from the stem on, or the whole backbone."""
        if isinstance(self.freeze, str):
            encoder.freeze(None)
        elif self.freeze:
            encoder.freeze(self.freeze)

    def make_optimizer(self, encoder: Encoder, others: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Build the optimiser of an encoder and of what is trained beside it.

        With `layer_decay` below 1 each group of layers learns at the rate of the one after it, times that; the head,
        and what is trained beside the encoder, at the full rate.

        Source: Clark et al., "ELECTRA", 2020, arXiv:2003.10555 (layer-wise decay of the rate).
        """
        if self.layer_decay == 1:
            groups: list[dict[str, Any]] = [{"params": [*encoder.parameters(), *others]}]
        else:
            layers = encoder.layer_groups()
            groups = [
                {"params": group, "lr": self.lr * self.layer_decay ** (len(layers) - 1 - depth)}
                for depth, group in enumerate(layers)
            ]
            groups.append({"params": list(others)})
        for group in groups:
            group["params"] = [weight for weight in group["params"] if weight.requires_grad]
        trained = [group for group in groups if group["params"]]
        if not trained:
            raise ValueError("freeze leaves nothing to train: freeze fewer groups of layers (--freeze)")
        return OPTIMIZERS[self.optimizer](trained, lr=self.lr, weight_decay=self.weight_decay)  # type: ignore[call-arg]  # the base class knows no rate

    def clip(self, parameters: list[Tensor]) -> None:
        """Clip the gradient: each value first, then the norm, where the settings ask for it."""
        if self.clip_value is not None:
            clip_grad_value_(parameters, self.clip_value)
        if self.clip_norm is not None:
            clip_grad_norm_(parameters, self.clip_norm)

    def is_restart(self, epoch: int) -> bool:
        """Return whether the optimiser begins anew with this epoch, counted from 0."""
        return self.restart_every is not None and epoch > 0 and epoch % self.restart_every == 0
