"""The training step that Lightning runs: augment, embed, lose. Every draw is keyed by (seed, step)."""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from itertools import chain
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from fewshot_cxr._ranks import ranks_here
from fewshot_cxr.data import scale_films, standardise
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.torch_seeding import seeded_torch
from fewshot_cxr.training.halving import Parts
from fewshot_cxr.training.joined import means_of_ranks
from fewshot_cxr.training.objective import Objective, clip_gradient, make_optimizer, schedule_state, step_schedule
from fewshot_cxr.training.settings import TrainingSettings
from fewshot_cxr.training.vectors import stored_view
from fewshot_cxr.training.views import Augmenter

Batch = tuple[Tensor, Tensor, Tensor]


class Learner(nn.Module):
    """What is trained, validated and kept together: an encoder, and the objective with its head."""

    def __init__(self, encoder: Encoder, objective: Objective) -> None:
        super().__init__()
        self.encoder, self.objective = encoder, objective


class TrainingModule(lightning.LightningModule):
    """A learner, with what one step of training does.

    Args:
        learner: trained in place.
        settings: how the training goes.
        augmenter: makes the training films' views.
        steps_per_epoch: batches in an epoch.
        on_vectors: the batches hold pooled features, embedded once, in place of images; see `FilmVectors`.
    """

    def __init__(
        self,
        learner: Learner,
        settings: TrainingSettings,
        *,
        augmenter: Augmenter,
        steps_per_epoch: int,
        on_vectors: bool = False,
    ) -> None:
        super().__init__()
        self.learner, self.settings = learner, settings
        self.augmenter, self.steps_per_epoch, self.on_vectors = augmenter, steps_per_epoch, on_vectors
        self.averaged = None if settings.averaging is None else MovingAverage(learner, settings.averaging)
        self.lr_scale, self.last_lr, self.n_films = 1.0, 0.0, 0
        self.rank_key, self.is_alone = ranks_here().key, ranks_here().n_ranks == 1
        self.parts = Parts(getattr(learner.objective, "memory", None))
        self.run_card: dict[str, Any] = {}
        self.step_values: list[dict[str, Tensor]] = []
        for part in self.modules():
            part.training = True  # Lightning warns of the frozen norms otherwise; `on_train_start` puts them back

    def on_train_start(self) -> None:
        """Put the learner in training mode, which leaves frozen batch norms in eval mode."""
        self.learner.train()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Note how many films the batch has, before memory may prove too small for them."""
        self.n_films = len(batch[0])

    @property
    def candidate(self) -> Learner:
        """The learner that is validated after an epoch, and kept if it is the best so far."""
        if self.averaged is None:
            return self.learner
        assert isinstance(self.averaged.module, Learner)
        return self.averaged.module

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch of (images or stored vectors, class_ids, group_ids)."""
        films, class_ids, group_ids = batch
        step, encoder, objective = self.global_step, self.learner.encoder, self.learner.objective
        with seeded_torch(self.settings.seed, "dropout", step, *self.rank_key):
            pooled = self._pooled(films, class_ids, step)
            embeddings = encoder.head(encoder.dropout(pooled)).float()
            loss: Tensor
            loss, values = objective(pooled, embeddings, class_ids, group_ids, step=step)
        if not torch.isfinite(loss):
            when = f"at step {step} (epoch {self.current_epoch + 1}, learning rate {self.last_lr:g})"
            raise FloatingPointError(f"the loss is {loss.item()} {when}: lower the learning rate (--lr)")
        self.step_values.append({"loss": loss.detach(), **values})
        return loss

    def _pooled(self, films: Tensor, class_ids: Tensor, step: int) -> Tensor:
        views = range(self.learner.objective.n_views)
        if self.on_vectors:
            return torch.cat([stored_view(films, self.settings.seed, step, view, *self.rank_key) for view in views])
        encoder, plain = self.learner.encoder, scale_films(films)
        # The first view is drawn as where there is but one.
        keys = [("augment", step) if view == 0 else ("augment", step, view) for view in views]
        images = torch.cat([self.augmenter(plain, class_ids, *key, *self.rank_key) for key in keys])
        images = standardise(images, encoder.image_spec).to(memory_format=torch.channels_last)
        return self.parts.embed(lambda part: encoder.pool(encoder.features(part)), images)

    def configure_optimizers(self) -> Any:
        """Return the optimiser and the schedule that advances by step."""
        settings, n_batches = self.settings, self.steps_per_epoch
        optimizer = make_optimizer(settings, self.learner.encoder, self.learner.objective.parameters())
        schedule = step_schedule(
            settings.schedule, optimizer, n_steps=n_batches * settings.n_epochs, steps_per_epoch=n_batches
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip as the settings say."""
        clip_gradient(self.settings, [weight for group in optimizer.param_groups for weight in group["params"]])

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step at the scheduled rate times what `plateau` has made of it."""
        rates = [group["lr"] for group in optimizer.param_groups]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * self.lr_scale
        self.last_lr = float(optimizer.param_groups[-1]["lr"])  # of the head, where layers have rates of their own
        take, n_before = partial(super().optimizer_step, epoch, batch_idx, optimizer), len(self.step_values)

        def compute() -> Any:
            del self.step_values[n_before:]  # of a try that memory did not hold
            return optimizer_closure()

        if self.is_alone:
            self.parts.step(take, compute, self.n_films)
        else:  # the other ranks would wait for what this one has sent already
            take(compute)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        if self.averaged is not None:
            self.averaged.update_parameters(self.learner)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint which run it is of, and how far it went."""
        where = {"n_epochs_done": self.current_epoch + 1, "steps_per_epoch": self.steps_per_epoch}
        checkpoint["run_card"] = self.run_card | where

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Move the schedule of a run that goes on with other steps in an epoch, as by another number of ranks."""
        before, n_done = checkpoint["run_card"], checkpoint["run_card"]["n_epochs_done"]
        if before.get("steps_per_epoch", self.steps_per_epoch) == self.steps_per_epoch:
            return
        fresh = self.configure_optimizers()
        state = schedule_state(fresh["lr_scheduler"]["scheduler"], n_done * self.steps_per_epoch)
        checkpoint["lr_schedulers"] = [state]
        groups = checkpoint["optimizer_states"][0]["param_groups"]
        for old, new in zip(groups, fresh["optimizer"].param_groups, strict=True):
            old |= {name: value for name, value in new.items() if name != "params"}

    def epoch_means(self) -> dict[str, float]:
        """Return the means of the values noted since the last call, and forget them."""
        rows, self.step_values = self.step_values, []
        means = {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]} if rows else {}
        return means_of_ranks(means, self.device)


class MovingAverage(nn.Module):
    """Average weights and batch-norm statistics over the last steps; early on over fewer, to forget the first weights.

    With a few films per finding in validation, one epoch's accuracy says little; averaged weights change less from
    epoch to epoch, and are mostly better than any of those they average. What is frozen is the learner's own, and is
    passed over: with a frozen backbone a step of the head alone takes less time than averaging the rest would.
    """

    def __init__(self, learner: Learner, decay: float) -> None:
        super().__init__()
        self.n_averaged: Tensor
        # Shared, so that `last.ckpt` holds them once.
        frozen = {id(weight): weight for weight in learner.parameters() if not weight.requires_grad}
        self.module, self.decay = deepcopy(learner, frozen).requires_grad_(False), decay
        self.register_buffer("n_averaged", torch.tensor(0))
        self._moving: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def update_parameters(self, learner: Learner) -> None:
        """Take one more step into the average."""
        n_steps = int(self.n_averaged)
        weight = 1.0 if n_steps == 0 else 1 - min(self.decay, (1 + n_steps) / (10 + n_steps))
        # Looked for at the first step, when all lies on its device: in a large network it takes longer than the step.
        self._moving = self._moving or list(self._pairs(learner))
        for averaged, current in self._moving:
            if current.is_floating_point() and n_steps:
                averaged.lerp_(current, weight)
            else:
                averaged.copy_(current)
        self.n_averaged += 1

    def _pairs(self, learner: Learner) -> Iterator[tuple[Tensor, Tensor]]:
        # A frozen norm is in eval mode, and leaves its statistics as they are.
        moving = {id(one) for part in learner.modules() if part.training for one in part.buffers(recurse=False)}
        moving |= {id(weight) for weight in learner.parameters() if weight.requires_grad}
        own, mine = (chain(one.parameters(), one.buffers()) for one in (learner, self.module))
        return ((averaged, current) for averaged, current in zip(mine, own, strict=True) if id(current) in moving)
