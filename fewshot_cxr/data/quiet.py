"""No word of odd metadata while Pillow or pydicom reads a file, and the user's own settings as they were after."""

import ctypes
import logging
import threading
import warnings
from contextlib import ExitStack
from functools import cache
from typing import Any

from PIL import _imaging


@cache
def _setters_of_libtiff() -> tuple[Any, ...]:
    """Return what sets who is told of errors and warnings, in Pillow's own libtiff; nothing where it cannot be reached.

    They take a function, here an address or None for nobody, and return the one before.

    Source: libtiff, TIFFError(3tiff) and TIFFWarning(3tiff).
    """
    names = ("TIFFSetErrorHandler", "TIFFSetWarningHandler")
    try:
        pillow = ctypes.CDLL(_imaging.__file__)  # loaded already; a name is looked up in what it links to, too
        prototype = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
        return tuple(prototype((name, pillow)) for name in names)
    except (AttributeError, OSError):  # linked in without its names, as on Windows
        return ()


class _Quiet:
    """No warnings, no log of pydicom, which both may quote a header, and no line of libtiff, while a thread is inside.

    Filters belong to the whole process: threads that each set and restored them would in the end leave them changed.
    So the first one in sets them, and the last one out restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._settings = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._n_inside += 1
            if self._n_inside == 1:
                self._settings.enter_context(warnings.catch_warnings(action="ignore"))
                log = logging.getLogger("pydicom")
                self._settings.callback(log.setLevel, log.level)
                log.setLevel(logging.CRITICAL + 1)  # its modules' own logs look up to this level
                for setter in _setters_of_libtiff():
                    self._settings.callback(setter, setter(None))

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                self._settings.close()


quiet = _Quiet()
