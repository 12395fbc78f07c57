"""The door to pynetdicom, and its silence: what it logs, or a thread of its leaves behind, may quote a film."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fewshot_cxr.data.quiet import quiet

if TYPE_CHECKING:
    from pynetdicom.ae import ApplicationEntity

_LOUD = ("pynetdicom", "highdicom")


def new_entity(title: str, seconds: float) -> "ApplicationEntity":
    """Return an application entity that waits no longer than this for a peer.

    Args:
        title: its AE title.
        seconds: of each wait: for a connection, an answer, the next message.

    Raises:
        ImportError: pynetdicom is not installed.
    """
    try:
        from pynetdicom import AE
    except ImportError as error:
        raise ImportError('DICOM over the network needs pynetdicom: pip install "fewshot_cxr[listen]"') from error
    entity = AE(ae_title=title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = seconds
    return entity


@contextmanager
def no_word_of_films(tell: Callable[[str], None]) -> Iterator[None]:
    """Let no library speak while the block lasts: neither warnings nor logs nor tracebacks of threads.

    Args:
        tell: told the kind of an error that nobody foresaw, which alone is no word of a film.
    """
    logs = [logging.getLogger(name) for name in _LOUD]
    levels, before = [log.level for log in logs], threading.excepthook
    threading.excepthook = lambda thrown: tell(f"an unforeseen {thrown.exc_type.__name__} ended a connection")
    for log in logs:
        log.setLevel(logging.CRITICAL + 1)
    try:
        with quiet:
            yield
    finally:
        threading.excepthook = before
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
