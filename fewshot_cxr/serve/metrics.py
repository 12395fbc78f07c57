"""What is counted while the server runs, as the text that Prometheus reads."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


class Tally:
    """A counter for each combination of labels.

    Args:
        name: of the metric.
        told: what it counts.
        labels: their names.
    """

    def __init__(self, name: str, told: str, labels: Sequence[str]) -> None:
        self._name, self._told, self._labels = name, told, labels
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()

    def add(self, values: tuple[str, ...], n: int = 1) -> None:
        """Count something.

        Args:
            values: of the labels.
            n: how many.
        """
        with self._lock:
            self._counts[values] += n

    def lines(self) -> Iterator[str]:
        """Yield the lines of the text format."""
        yield from _head(self._name, self._told, "counter")
        with self._lock:
            found = sorted(self._counts.items())
        for values, n in found:
            yield f"{self._name}{_labelled(self._labels, values)} {n}"


class Seconds:
    """How long requests took, by route, in buckets.

    Args:
        name: of the metric.
        told: what it measures.
    """

    def __init__(self, name: str, told: str) -> None:
        self._name, self._told = name, told
        self._counts: dict[str, list[int]] = defaultdict(lambda: [0] * (len(_BOUNDS) + 1))
        self._sums: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def observe(self, route: str, seconds: float) -> None:
        """Note how long a request took."""
        with self._lock:
            self._sums[route] += seconds
            place = next((at for at, bound in enumerate(_BOUNDS) if seconds <= bound), len(_BOUNDS))
            self._counts[route][place] += 1

    def lines(self) -> Iterator[str]:
        """Yield the lines of the text format."""
        yield from _head(self._name, self._told, "histogram")
        with self._lock:
            found = sorted((route, list(counts), self._sums[route]) for route, counts in self._counts.items())
        for route, counts, total in found:
            n_so_far = 0
            for bound, n in zip([*map(str, _BOUNDS), "+Inf"], counts, strict=True):
                n_so_far += n
                yield f"{self._name}_bucket{_labelled(('route', 'le'), (route, bound))} {n_so_far}"
            yield f"{self._name}_sum{_labelled(('route',), (route,))} {total:.6f}"
            yield f"{self._name}_count{_labelled(('route',), (route,))} {n_so_far}"


class Metrics:
    """All that is counted in one process."""

    def __init__(self) -> None:
        self.requests = Tally("fscxr_requests_total", "Requests.", ("method", "route", "status"))
        self.films = Tally("fscxr_films_total", "Films, by finding or by why there is no answer.", ("answer", "reason"))
        self.changes = Tally("fscxr_changes_total", "Changes of the bank.", ("what",))
        self.seconds = Seconds("fscxr_request_seconds", "From the first byte of a request to the last of its response.")

    def text(self, gauges: Sequence[tuple[str, str, float]]) -> str:
        """Return everything as text.

        Args:
            gauges: (name, what it is, value) of what is measured now.
        """
        lines = [line for part in (self.requests, self.films, self.changes, self.seconds) for line in part.lines()]
        for name, told, value in gauges:
            lines += [*_head(name, told, "gauge"), f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _head(name: str, told: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"


def _labelled(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
