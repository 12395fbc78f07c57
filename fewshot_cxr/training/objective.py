"""What a step of training is for, and how the weights move: loss, optimiser, schedule of the rate, clipping."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LambdaLR, LRScheduler, OneCycleLR

from fewshot_cxr._checks import lookup
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.objectives import CrossBatchMemory, LinearHead, MetricLoss, triplet_statistics
from fewshot_cxr.training.joined import joined, n_films_of_ranks
from fewshot_cxr.training.settings import OPTIMIZERS, SCHEDULES, TrainingSettings


class MetricObjective(nn.Module):
    """A metric loss with its miner, perhaps with a memory of earlier batches, or a self-supervised term beside it.

    Args:
        loss: with its own parameters, if any.
        miner: takes (embeddings, class_ids, group_ids, step) and returns row indices; None for losses without.
        memory: of loss and miner; None for none.
        auxiliary: takes two views' pooled features; None for none.
        aux_weight: of it, the loss's own being 1.

    Attributes:
        n_views: how many times each film of a batch is augmented and embedded.
    """

    def __init__(
        self,
        loss: MetricLoss,
        miner: Callable[..., Any] | None,
        *,
        memory: CrossBatchMemory | None = None,
        auxiliary: nn.Module | None = None,
        aux_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.loss, self.miner, self.memory = loss, miner, memory
        self.auxiliary, self.aux_weight = auxiliary, aux_weight
        self.n_views = 1 if auxiliary is None else 2

    @property
    def kept_head(self) -> nn.Module | None:
        """The learned distance, where the loss has one."""
        return self.loss.head

    def forward(
        self, pooled: Tensor, embeddings: Tensor, class_ids: Tensor, group_ids: Tensor, *, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, shape (), and values of the step by name.

        The metric loss sees both views as films, unless the order of the batch means something. Of several ranks, each
        sees the batches of all as one; where the order means something, each its own.

        Args:
            pooled: shape (n_views * N, n_features), view by view.
            embeddings: shape (n_views * N, dim), view by view.
            class_ids: int64 (N,), or float (N, n_findings).
            group_ids: int64 (N,).
            step: of the optimiser, the key of what is drawn.
        """
        n_of_ranks = n_films_of_ranks(len(class_ids), embeddings.device)
        if self.loss.batches == "balanced":
            embeddings = joined(embeddings, n_of_ranks, self.n_views)
            class_ids, group_ids = joined(class_ids, n_of_ranks), joined(group_ids, n_of_ranks)
        n_films = len(class_ids)
        n_seen = self.n_views if self.loss.batches == "balanced" else 1
        seen, classes, groups = embeddings[: n_seen * n_films], class_ids.repeat(n_seen), group_ids.repeat(n_seen)
        if self.memory is None:
            mined = None if self.miner is None else self.miner(seen.detach(), classes, groups, step=step)
            loss = self.loss(seen, classes, mined)
        else:
            loss = self.memory(seen, classes, groups, step=step)
        first = embeddings[:n_films].detach()
        values = triplet_statistics(first, class_ids, distance=self.loss.distance, margin=self.loss.margin)
        if self.auxiliary is not None:
            extra = self.auxiliary(*joined(pooled.float(), n_of_ranks, self.n_views).chunk(2))
            values["aux_loss"] = extra.detach()
            loss = loss + self.aux_weight * extra
        return loss, values


class ClassifierObjective(nn.Module):
    """A linear head and a classification loss on its logits.

    Args:
        head: embeddings to logits.
        loss: takes logits (N, C) and targets.
    """

    n_views = 1

    def __init__(self, head: LinearHead, loss: nn.Module) -> None:
        super().__init__()
        self.head, self.loss = head, loss

    @property
    def kept_head(self) -> nn.Module:
        """The classifier's last layer."""
        return self.head

    def forward(
        self, pooled: Tensor, embeddings: Tensor, class_ids: Tensor, group_ids: Tensor, *, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `MetricObjective`."""
        n_of_ranks = n_films_of_ranks(len(class_ids), embeddings.device)
        logits, class_ids = joined(self.head(embeddings), n_of_ranks), joined(class_ids, n_of_ranks)
        loss: Tensor = self.loss(logits, class_ids)
        if class_ids.ndim == 1:
            return loss, {"accuracy": (logits.detach().argmax(dim=1) == class_ids).float().mean()}
        stated = ~class_ids.isnan()
        right = ((logits.detach() > 0) == (class_ids > 0.5)) & stated
        return loss, {"accuracy": right.sum() / stated.sum().clamp_min(1)}


Objective = MetricObjective | ClassifierObjective


def make_optimizer(settings: TrainingSettings, encoder: Encoder, others: Iterable[nn.Parameter]) -> Optimizer:
    """Build the optimiser of an encoder and of what is trained beside it.

    With `layer_decay` below 1 each group of layers learns at the rate of the one after it, times that; the head, and
    what is trained beside the encoder, at the full rate.

    Source: Clark et al., "ELECTRA", 2020, arXiv:2003.10555 (layer-wise decay of the rate).
    """
    if settings.layer_decay == 1:
        groups: list[dict[str, Any]] = [{"params": [*encoder.parameters(), *others]}]
    else:
        layers = encoder.layer_groups()
        groups = [
            {"params": group, "lr": settings.lr * settings.layer_decay ** (len(layers) - 1 - depth)}
            for depth, group in enumerate(layers)
        ]
        groups.append({"params": list(others)})
    for group in groups:
        group["params"] = [weight for weight in group["params"] if weight.requires_grad]
    trained = [group for group in groups if group["params"]]
    if not trained:
        raise ValueError("freeze leaves nothing to train: freeze fewer groups of layers (--freeze)")
    rates = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    return OPTIMIZERS[settings.optimizer](trained, **rates)  # type: ignore[arg-type]  # the base class knows no rate


def clip_gradient(settings: TrainingSettings, parameters: list[Tensor]) -> None:
    """Clip the gradient: each value first, then the norm, where the settings ask for it."""
    if settings.clip_value is not None:
        clip_grad_value_(parameters, settings.clip_value)
    if settings.clip_norm is not None:
        clip_grad_norm_(parameters, settings.clip_norm)


def step_schedule(name: str, optimizer: Optimizer, *, n_steps: int, steps_per_epoch: int) -> LRScheduler:
    """Build the schedule that advances with every optimiser step.

    Args:
        name: a name in SCHEDULES.
        optimizer: its groups' present rates are the peak rates.
        n_steps: of the whole training.
        steps_per_epoch: the first warm restart comes after 10 epochs, the next after 20 more, and so on.

    Source: one-cycle: Smith, Topin, "Super-convergence", 2018, arXiv:1708.07120; warm restarts: Loshchilov, Hutter,
    "SGDR", 2017, arXiv:1608.03983.
    """
    lookup(dict.fromkeys(SCHEDULES), name, what="schedule")
    if name == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        # One step more than is taken: Lightning advances the schedule after the last step too.
        # It rises over one step at least: over none, as with 3 steps, OneCycleLR divides by zero.
        return OneCycleLR(optimizer, peaks, total_steps=n_steps + 1, pct_start=max(0.25, 2 / (n_steps + 1)))
    if name == "warm_restarts":
        return CosineAnnealingWarmRestarts(optimizer, T_0=10 * steps_per_epoch, T_mult=2)
    return LambdaLR(optimizer, lambda step: 1.0)


def schedule_state(schedule: LRScheduler, n_steps: int) -> dict[str, Any]:
    """Return the state of a fresh schedule, and put the rates of its optimiser, where they are after so many steps."""
    if isinstance(schedule, CosineAnnealingWarmRestarts):
        schedule.step(n_steps)
    else:
        # As if the steps had been taken: a schedule without any warns that the optimiser has taken none.
        schedule.last_epoch, schedule._step_count = n_steps - 1, n_steps + 1
        schedule.step()
    return schedule.state_dict()


def plateau_scale(goodness: Sequence[float], factor: float = 0.3, patience: int = 4) -> float:
    """Return what the learning rate is multiplied by after epochs of this goodness in validation; larger is better.

    It falls by `factor` each time the goodness has not risen for more than `patience` epochs. A pure function of the
    history, so that a resumed run needs no other state.
    """
    scale, best, n_waited = 1.0, float("-inf"), 0
    for value in goodness:
        n_waited = 0 if value > best else n_waited + 1
        best = max(best, value)
        if n_waited > patience:
            scale, n_waited = scale * factor, 0
    return scale
