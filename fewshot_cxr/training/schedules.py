"""Learning-rate schedules by name; all advance by optimiser step, but `plateau`, which follows validation."""

from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LambdaLR, LRScheduler, OneCycleLR

from fewshot_cxr._checks import lookup

SCHEDULES = ("one_cycle", "warm_restarts", "plateau", "constant")


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
