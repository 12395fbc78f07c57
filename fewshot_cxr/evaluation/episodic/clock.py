"""Where the time goes."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from time import perf_counter


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
