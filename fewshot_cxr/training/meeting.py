"""How the processes that train together come together: who starts them, by which devices, and what is said if one ends.

Whoever starts them (torchrun, Slurm, `fscxr train --devices`) says in the environment which process is which.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.distributed import _init_dist_connection
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from fewshot_cxr._ranks import Ranks
from fewshot_cxr.inference import choose_device
from fewshot_cxr.training.settings import TrainingSettings

# What every rank computes alike, from the rows of all: it need not be sent.
_ALIKE = ("learner.objective.memory.", "averaged.")


def meet(ranks: Ranks, settings: TrainingSettings) -> None:
    """Connect the processes that train together, each with a device of its own.

    Raises:
        ValueError: a single GPU is named for several ranks.
    """
    if ranks.n_ranks == 1 or distributed.is_initialized():
        return
    device = choose_device(settings.device)
    if device.type == "cuda":
        if device.index is not None:
            raise ValueError(
                f"device {settings.device!r} is one GPU, and each of {ranks.n_ranks} ranks has its own: cuda"
            )
        torch.cuda.set_device(ranks.local_rank)
    environment = TorchElasticEnvironment() if ranks.is_torchrun else SLURMEnvironment()
    with quiet_lightning():
        _init_dist_connection(environment, "nccl" if device.type == "cuda" else "gloo", ranks.rank, ranks.n_ranks)


def environment_of(ranks: Ranks) -> list[TorchElasticEnvironment]:
    """Return Lightning's plugin for the variables of torchrun, and of Kubernetes' operators; Slurm it finds itself."""
    return [TorchElasticEnvironment()] if ranks.is_torchrun else []


def places(ranks: Ranks, device: torch.device, module: nn.Module) -> dict[str, Any]:
    """Return on how many machines and devices Lightning trains, and how the ranks come together."""
    if ranks.n_ranks == 1:
        return {"devices": [device.index or 0] if device.type == "cuda" else 1}
    ignored = [name for name in module.state_dict() if name.startswith(_ALIKE)]
    setting: Any = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model  # torch ships no types of it
    setting(module, ignored)
    # Batch norm over the films of all ranks is a matter of GPUs: torch has none for processors.
    return {
        "devices": ranks.n_local,
        "num_nodes": ranks.n_nodes,
        "strategy": DDPStrategy(),
        "sync_batchnorm": device.type == "cuda",
    }


@contextmanager
def telling_of_lost_ranks(ranks: Ranks) -> Iterator[None]:
    """Say in one line that another rank is gone, which the connection between them says in many words."""
    try:
        yield
    except RuntimeError as error:
        if ranks.n_ranks == 1 or not (isinstance(error, distributed.DistError) or "gloo" in str(error)):
            raise
        raise ConnectionError(
            f"rank {ranks.rank} of {ranks.n_ranks} lost another one, which has ended: its own words, if any, say why; "
            "--resume goes on from the last whole epoch, with as many ranks or others"
        ) from error


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep back what Lightning says of the machine, its advertisements, and its advice to developers."""
    talks = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    with ExitStack() as settings:
        for talk in talks:
            settings.callback(talk.setLevel, talk.level)
            talk.setLevel(logging.WARNING)
        for category in (DeprecationWarning, FutureWarning, PossibleUserWarning):
            settings.enter_context(warnings.catch_warnings(action="ignore", category=category))
        yield
