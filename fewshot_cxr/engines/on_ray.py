"""Shards on the machines of a Ray cluster: films are decoded on processors, encoders keep a GPU, or threads, each.

The unit of work is a whole shard, which is committed by renaming, so that whatever is done twice is there once. That is
why these are tasks and actors of Ray and not Ray Data: what a lost worker had in hand is handed out again, and no row
has to be looked for in what others wrote.
"""

import os
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.engines.decoded import DecodedShard, decode_shard
from fewshot_cxr.engines.places import sweep
from fewshot_cxr.engines.plan import Plan
from fewshot_cxr.engines.shard import commit_shard
from fewshot_cxr.engines.work import Work
from fewshot_cxr.inference.device import choose_device

_MOST_LOSSES = 3  # of one shard: then it is not the worker's fault
_WAIT_SECONDS = 30.0
_MOST_WAITS = 20  # in turn, with no shard in hand
_OBJECT_STORE_BYTES = 200 * 2**20  # of a cluster that is started here, whose shards lie in it for moments
# Else a task that asks for no GPU cannot see any, and Ray warns that it will be otherwise.
_VISIBLE = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"


class _Encoder:
    """Lives on a machine of the cluster as long as it has shards to make."""

    def __init__(self, plan: Plan, work: Work, device: str, n_threads: int) -> None:
        torch.set_num_threads(n_threads)
        self.plan, self.work, self.device = plan, work, choose_device(device)

    def ready(self) -> int:
        return os.getpid()

    def make(self, shard: int, films: DecodedShard) -> None:
        commit_shard(self.plan, self.work, shard, films, self.device)


@dataclass(eq=False)
class _Crew:
    """The encoders of a cluster, and what each has in hand.

    Args:
        ray: the library.
        plan: what is to be done, as the cluster keeps it.
        work: what films go through, likewise.
        on_gpus: one encoder for each GPU; else so many on each machine that half of its processors are left to decode.
        n_threads: of an encoder on processors.
        todo: shards that nobody has in hand.
        most: encoder -> its machine, and how many shards it is to have in hand.
        calls: what was asked of encoders, in order -> the encoder and the shard; None: it is to start.
        losses: how often a worker was lost with each shard; None: as it started.
    """

    ray: Any
    plan: Any
    work: Any
    on_gpus: bool
    n_threads: int
    todo: deque[int]
    most: dict[Any, tuple[str, int]] = field(default_factory=dict)
    calls: dict[Any, tuple[Any, int | None]] = field(default_factory=dict)
    losses: Counter[int | None] = field(default_factory=Counter)

    def make_all(self, progress: Bar | None) -> None:
        """Hand out shards, those of lost workers again, until all are committed."""
        decode = self.ray.remote(num_cpus=1)(decode_shard)
        n_all, n_done, n_idle = len(self.todo), 0, 0
        while n_done < n_all:
            if n_idle or not self.most:
                self._muster()
            ended, _ = self.ray.wait([*self.calls], timeout=_WAIT_SECONDS) if self.calls else ([], [])
            is_idle = not ended and all(shard is None for _, shard in self.calls.values())
            n_idle = n_idle + 1 if is_idle else 0
            if n_idle > _MOST_WAITS or not self.calls:
                raise RuntimeError("no machine of the cluster has room for an encoder: add one, and run this again")
            for call in ended:
                n_done += self._take(call)
                tell(progress, n_done, n_all)
            for encoder, (_, most) in self.most.items():
                in_hand = [shard for one, shard in self.calls.values() if one == encoder]
                while self.todo and None not in in_hand and len(in_hand) < most:
                    in_hand.append(shard := self.todo.popleft())
                    self.calls[encoder.make.remote(shard, decode.remote(self.plan, shard))] = (encoder, shard)

    def _muster(self) -> None:
        """Start the encoders that machines have room for and lack, those of machines that came since among them."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        for node in self.ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            n_cpus, n_gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0))
            room = n_gpus if self.on_gpus else max(min(n_cpus, 1), n_cpus // (2 * self.n_threads))
            # One that it makes, and those that its machine's processors decode for it meanwhile.
            most = 1 + max(1, n_cpus // max(1, room) - (0 if self.on_gpus else self.n_threads))
            for _ in range(room - [place for place, _ in self.most.values()].count(node["NodeID"])):
                # It asks for no processor: else encoders could take all, and wait for films that nobody decodes.
                place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                kind = self.ray.remote(num_cpus=0, num_gpus=int(self.on_gpus), scheduling_strategy=place)(_Encoder)
                encoder = kind.remote(self.plan, self.work, "cuda" if self.on_gpus else "cpu", self.n_threads)
                self.most[encoder] = (node["NodeID"], most)
                self.calls[encoder.ready.remote()] = (encoder, None)

    def _take(self, call: Any) -> bool:
        """Take the answer to a call; return whether a shard is committed."""
        if call not in self.calls:  # of an encoder that was lost with an earlier call
            return False
        _, shard = self.calls[call]
        try:
            self.ray.get(call)
        except self.ray.exceptions.RayTaskError as error:  # what the work itself said
            raise error.cause from error
        except self.ray.exceptions.RayError as error:
            self._lose(call, is_gone=isinstance(error, self.ray.exceptions.RayActorError), why=error)
            return False
        del self.calls[call]
        return shard is not None

    def _lose(self, call: Any, *, is_gone: bool, why: Exception) -> None:
        """Take back what a lost worker had in hand. What it was at is the first; the others waited behind it."""
        encoder, _ = self.calls[call]
        lost = [one for one, (whose, _) in self.calls.items() if whose == encoder] if is_gone else [call]
        shards = [self.calls.pop(one)[1] for one in lost]
        self.todo.extendleft(shard for shard in reversed(shards) if shard is not None)
        self.losses[shards[0]] += 1
        if self.losses[shards[0]] >= _MOST_LOSSES:
            what = "an encoder does not start" if shards[0] is None else f"shard {shards[0]} ends its workers"
            raise RuntimeError(
                f"{what}, {_MOST_LOSSES} times now: {why}; if memory ended, take fewer rows (--rows-per-shard)"
            ) from why
        if is_gone:
            self.most.pop(encoder)
            self._muster()


def run_on_ray(
    plan: Plan,
    work: Work,
    shards: Sequence[int],
    *,
    address: str | None = None,
    device: str = "auto",
    progress: Bar | None = None,
) -> None:
    """Make and commit shards on a cluster.

    Args:
        plan: what is to be done. Table, films and shards lie where every machine finds them under the same name.
        work: what films go through; it travels there.
        shards: their numbers.
        address: of the cluster; None: the one that is connected to, or that RAY_ADDRESS names, else one of this
            machine, which ends with the call.
        device: "auto" takes GPUs where the cluster has any; "cpu" and "cuda" insist.
        progress: called with (shards done, in all).

    Raises:
        ModuleNotFoundError: Ray is not installed.
        RuntimeError: a shard ended its workers three times, or no machine has room for an encoder.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "--engine ray needs Ray, which is not installed: pip install 'fewshot_cxr[ray]'"
        ) from error
    is_ours = not ray.is_initialized()
    if is_ours:
        _connect(ray, address or os.environ.get("RAY_ADDRESS"))
    try:
        has_gpus = any(node["Alive"] and node["Resources"].get("GPU", 0) for node in ray.nodes())
        on_gpus, n_threads = device != "cpu" and (device != "auto" or has_gpus), torch.get_num_threads()
        _Crew(ray, ray.put(plan), ray.put(work), on_gpus, n_threads, deque(shards)).make_all(progress)
    finally:
        sweep(plan.folder)  # a worker that was given up, and killed later, may have been at a shard that another made
        if is_ours:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    os.environ.setdefault(_VISIBLE, "0")
    more = {"log_to_driver": False, "logging_level": "WARNING"}
    if address is None:
        ray.init("local", include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **more)
    else:
        ray.init(address, **more)
