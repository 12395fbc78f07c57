"""Several processes that train together: started here as torchrun starts them, or by torchrun, Slurm or Kubernetes."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import get_args_parser, run

from fewshot_cxr._processors import n_processors
from fewshot_cxr._ranks import ranks_here, told_by_first
from fewshot_cxr.cli import flags
from fewshot_cxr.cli.ending import interrupt

_START = "import sys; sys.argv[0] = 'fscxr'; from fewshot_cxr.cli import main; main()"


@dataclass(frozen=True)
class Launch:
    """On how many machines and devices a command trains.

    Args:
        n_nodes: machines; each is given the same command, with MASTER_ADDR, MASTER_PORT and NODE_RANK in the
            environment.
        n_devices: processes on each: one for each GPU, or each share of the processor; None: one, or as many as
            torchrun or Slurm has started.

    Raises:
        click.UsageError: other numbers than torchrun or Slurm has started, or machines that cannot find each other.
    """

    n_nodes: int | None
    n_devices: int | None

    def __post_init__(self) -> None:
        ranks = ranks_here()
        for flag, asked, there in (
            ("--nodes", self.n_nodes, ranks.n_nodes),
            ("--devices", self.n_devices, ranks.n_local),
        ):
            if ranks.n_ranks > 1 and asked not in (None, there):
                raise click.UsageError(f"{flag} {asked}, but torchrun or Slurm has started {there}: leave it out")
        lacking = [name for name in ("MASTER_ADDR", "NODE_RANK") if name not in os.environ]
        if ranks.n_ranks == 1 and (self.n_nodes or 1) > 1 and lacking:
            raise click.UsageError(
                f"--nodes {self.n_nodes} needs {' and '.join(lacking)} in the environment, by which the machines find "
                "each other: set them, or start the command by torchrun or srun"
            )

    def carry_out(self, work: Callable[[], None], *, last: Path) -> None:
        """Work as one of the processes that were started; or start as many with the command that was typed, and wait.

        Args:
            work: of the command; what it prints is printed by the first rank alone.
            last: the checkpoint from which a run goes on.

        Raises:
            click.exceptions.Exit: one of the processes failed, and has said why.
            RuntimeError: one was killed; the others have been ended, too.
        """
        if ranks_here().n_ranks == 1 and (self.n_nodes or 1) * (self.n_devices or 1) > 1:
            self._start(last)
        else:
            with told_by_first():
                work()

    def _start(self, last: Path) -> None:
        n_nodes, n_devices = self.n_nodes or 1, self.n_devices or 1
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, n_processors() // n_devices)))
        where = ["--standalone"]
        if n_nodes > 1:
            address, port = os.environ["MASTER_ADDR"], os.environ.get("MASTER_PORT", "29500")
            where = ["--node-rank", os.environ["NODE_RANK"], "--master-addr", address, "--master-port", port]
        sizes = ["--nnodes", str(n_nodes), "--nproc-per-node", str(n_devices)]
        command = ["--no-python", sys.executable, "-c", _START, *sys.argv[1:]]
        logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # pages where one line will do
        try:
            run(get_args_parser().parse_args([*where, *sizes, *command]))  # type: ignore[no-untyped-call]  # torch's own
        except SignalException as error:
            interrupt(error.sigval, None)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode >= 0:
                raise click.exceptions.Exit(failure.exitcode) from None
            left = f"--resume goes on from {last}" if last.exists() else "no epoch was whole, so that it begins anew"
            raise RuntimeError(
                f"rank {rank} (process {failure.pid}) was ended by {failure.signal_name()}, and with it the run: {left}"
            ) from None


launch_flags = flags.as_one(
    "launch",
    Launch,
    click.option("--nodes", "n_nodes", type=click.IntRange(1), help="Machines that train together.  [default: 1]"),
    click.option(
        "--devices", "n_devices", type=click.IntRange(1), help="Processes on each, one for each GPU.  [default: 1]"
    ),
)
