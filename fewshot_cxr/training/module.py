"""The training step that Lightning runs: augment, embed, mine, lose. Every draw is keyed by (seed, step)."""

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from fewshot_cxr.data import Augmentation, augment, standardise
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.objectives import MetricLoss, triplet_statistics
from fewshot_cxr.seeding import seeded_torch, torch_generator
from fewshot_cxr.training.schedules import step_schedule

Batch = tuple[Tensor, Tensor, Tensor]


class SiameseModule(lightning.LightningModule):
    """Encoder, loss and miner, with what one step of training does.

    Args:
        encoder: trained in place.
        loss: takes (embeddings, class_ids, mined); its own parameters, if any, are trained too.
        miner: takes (embeddings, class_ids, group_ids, step) and returns index triplets; None for losses without.
        augmentation: of training films; None for none.
        optimise: parameters -> optimizer.
        schedule: a name in SCHEDULES.
        n_steps, steps_per_epoch: of the whole training.
        averaging: decay of the weights' moving average, which is then what is judged and kept; None for none.
        seed: of augmentation, dropout and miner.
    """

    def __init__(
        self,
        encoder: Encoder,
        loss: MetricLoss,
        miner: Callable[..., Any] | None,
        *,
        augmentation: Augmentation | None,
        optimise: Callable[[Any], torch.optim.Optimizer],
        schedule: str,
        n_steps: int,
        steps_per_epoch: int,
        averaging: float | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.encoder, self.loss, self.miner = encoder, loss, miner
        self.augmentation, self.optimise, self.schedule = augmentation, optimise, schedule
        self.n_steps, self.steps_per_epoch, self.seed = n_steps, steps_per_epoch, seed
        self.averaged = None if averaging is None else _moving_average(encoder, averaging)
        self.lr_scale = 1.0
        self.run_card: dict[str, Any] = {}
        self.step_values: list[dict[str, Tensor]] = []

    @property
    def candidate(self) -> Encoder:
        """The encoder that is judged after an epoch, and kept if it is the best so far."""
        if self.averaged is None:
            return self.encoder
        assert isinstance(self.averaged.module, Encoder)
        return self.averaged.module

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch of (images uint8, class_ids, group_ids)."""
        films, class_ids, group_ids = batch
        step = self.global_step
        images = films.unsqueeze(1).float() / 255
        if self.augmentation is not None:
            images = augment(images, self.augmentation, generator=torch_generator(self.seed, "augment", step))
        images = standardise(images, self.encoder.image_spec).to(memory_format=torch.channels_last)
        with seeded_torch(self.seed, "dropout", step):
            embeddings = self.encoder(images).float()
        mined = None if self.miner is None else self.miner(embeddings.detach(), class_ids, group_ids, step=step)
        loss: Tensor = self.loss(embeddings, class_ids, mined)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}: lower the learning rate (--lr)")
        statistics = triplet_statistics(
            embeddings.detach(), class_ids, distance=self.loss.distance, margin=self.loss.margin
        )
        self.step_values.append({"loss": loss.detach(), **statistics})
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW (or what `optimise` makes) and the schedule that advances by step."""
        optimizer = self.optimise([*self.encoder.parameters(), *self.loss.parameters()])
        schedule = step_schedule(self.schedule, optimizer, n_steps=self.n_steps, steps_per_epoch=self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step at the scheduled rate times what `plateau` has made of it."""
        rates = [group["lr"] for group in optimizer.param_groups]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * self.lr_scale
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        if self.averaged is not None:
            self.averaged.update_parameters(self.encoder)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint which run it is of, and how far it went."""
        checkpoint["run_card"] = self.run_card | {"n_epochs_done": self.current_epoch + 1}

    def epoch_means(self) -> dict[str, float]:
        """Return the means of the values noted since the last call, and forget them."""
        rows, self.step_values = self.step_values, []
        return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]} if rows else {}


def _moving_average(encoder: Encoder, decay: float) -> AveragedModel:
    """Average weights and batch-norm statistics over the last steps; early on over fewer, to forget the first weights.

    With a few films per finding in validation, one epoch's accuracy says little; averaged weights change less from
    epoch to epoch, and are mostly better than any of those they average.
    """

    def average(averaged: Tensor, current: Tensor, n_averaged: Tensor | int) -> Tensor:
        if not current.is_floating_point():
            return current
        n_steps = float(n_averaged)
        return averaged.lerp(current, 1 - min(decay, (1 + n_steps) / (10 + n_steps)))

    return AveragedModel(encoder, avg_fn=average, use_buffers=True).requires_grad_(False)
