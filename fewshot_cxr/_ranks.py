"""Which of the processes that train together this one is, as torchrun or Slurm says in the environment; no torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

_OF_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
# Of a job step alone: a shell of salloc, or a batch script, has SLURM_NTASKS too, and is one process.
_OF_SLURM = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_NUM_NODES")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Args:
        rank: its number, from 0 on.
        n_ranks: how many there are on all machines.
        local_rank: its number on its machine.
        n_local: how many there are on its machine, and on each other.
        is_torchrun: torch's own variables name them.
    """

    rank: int = 0
    n_ranks: int = 1
    local_rank: int = 0
    n_local: int = 1
    is_torchrun: bool = False

    @property
    def is_first(self) -> bool:
        """Whether it is the one that validates, writes and talks."""
        return self.rank == 0

    @property
    def n_nodes(self) -> int:
        """How many machines there are."""
        return self.n_ranks // self.n_local

    @property
    def key(self) -> tuple[int | str, ...]:
        """What this rank adds to the key of a draw, so that no two ranks draw the same; rank 0 draws as one alone."""
        return () if self.is_first else ("rank", self.rank)


def ranks_here() -> Ranks:
    """Return what the environment says; one process where it says nothing.

    Raises:
        ValueError: its numbers do not go together, or the machines have different numbers of processes.
    """
    for names in (_OF_TORCHRUN, _OF_SLURM):
        if all(name in os.environ for name in names):
            told = ", ".join(f"{name}={os.environ[name]}" for name in names)
            try:
                rank, n_ranks, local_rank, last = (int(os.environ[name]) for name in names)
            except ValueError:
                raise ValueError(f"{told} are no numbers: start the processes by torchrun or srun") from None
            n_local = last if names is _OF_TORCHRUN else n_ranks // max(last, 1)
            if not (0 <= local_rank < n_local and 0 <= rank < n_ranks) or n_ranks % n_local:
                raise ValueError(f"{told} do not go together: start as many processes on each machine")
            return Ranks(rank, n_ranks, local_rank, n_local, names is _OF_TORCHRUN)
    return Ranks()


@contextmanager
def told_by_first() -> Iterator[None]:
    """Print nothing in the block, unless this is the first rank: what every rank would say is said once."""
    if ranks_here().is_first:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
