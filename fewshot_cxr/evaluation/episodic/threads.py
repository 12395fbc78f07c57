"""Blocks of episodes on all cores: each core takes whole blocks, for sharing one operation costs more than it gains."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from time import perf_counter
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Iterable[Item], n_threads: int) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in order; the next items are made and worked on meanwhile.

    Each thread runs torch on its own core, until the last result is out the caller's too. Where one operation is shared
    by cores, all of them wait at its end for the slowest; with another process on the machine that makes episodes
    twenty times slower.
    """
    n_before = torch.get_num_threads()
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > n_threads:
                    yield waiting[0][0], waiting.popleft()[1].result()
            while waiting:
                yield waiting[0][0], waiting.popleft()[1].result()
    finally:
        torch.set_num_threads(n_before)


class Clock:
    """Seconds spent on each kind of work; of n_threads at work at once, each counts an nth."""

    def __init__(self, n_threads: int = 1) -> None:
        self.seconds: dict[str, float] = {}
        self._n_threads, self._lock = n_threads, Lock()

    @contextmanager
    def times(self, work: str) -> Iterator[None]:
        """Add the time of a block of code to `work`."""
        start = perf_counter()
        try:
            yield
        finally:
            taken = (perf_counter() - start) / self._n_threads
            with self._lock:
                self.seconds[work] = self.seconds.get(work, 0.0) + taken
