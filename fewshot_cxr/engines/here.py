"""Shards one after the other on this machine: the next one is decoded while one goes through the network."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fewshot_cxr._processors import n_processors
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.engines.decoded import decode_shard
from fewshot_cxr.engines.plan import Plan
from fewshot_cxr.engines.shard import commit_shard
from fewshot_cxr.engines.work import Work
from fewshot_cxr.inference.device import choose_device


def run_here(
    plan: Plan,
    work: Work,
    shards: Sequence[int],
    *,
    device: str = "auto",
    n_workers: int | None = None,
    progress: Bar | None = None,
) -> None:
    """Make and commit shards.

    Args:
        plan: what is to be done.
        work: what films go through.
        shards: their numbers.
        device: as for `choose_device`.
        n_workers: threads that decode; None: one for each processor.
        progress: called with (shards done, in all).
    """
    chosen, n_threads = choose_device(device), n_workers or n_processors()
    with ThreadPoolExecutor(1) as ahead:
        coming = deque(ahead.submit(decode_shard, plan, shard, n_threads) for shard in shards[:1])
        for number, shard in enumerate(shards, start=1):
            films = coming.popleft().result()
            coming.extend(ahead.submit(decode_shard, plan, following, n_threads) for following in shards[number:][:1])
            commit_shard(plan, work, shard, films, chosen)
            tell(progress, number, len(shards))
