"""Read many films at once, each on its own thread, and say of each that cannot be read why not."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fewshot_cxr._processors import n_processors
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.data.quiet import quiet

_CHUNK = 64
Item = TypeVar("Item")
Result = TypeVar("Result")


def read_all(
    read: Callable[[Item], Result], items: Sequence[Item], *, n_workers: int | None = None, progress: Bar | None = None
) -> Iterator[Result | str]:
    """Yield what `read` returns for each item, in order; the text of its OSError or ValueError where it raises one.

    Args:
        read: called on many threads.
        items: such as films.
        n_workers: threads; None: one for each processor.
        progress: called with (items done, items in all).
    """

    def tried(item: Item) -> Result | str:
        try:
            return read(item)
        except (OSError, ValueError) as error:
            return str(error)

    # In chunks, so that a stop by hand need not wait for a queue of 100,000 films.
    with ThreadPoolExecutor(n_workers or n_processors()) as pool:
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            with quiet:  # of the whole chunk: to enter it anew for each film takes a third of a small one's time
                found = list(pool.map(tried, chunk))
            yield from found
            tell(progress, start + len(chunk), len(items))
