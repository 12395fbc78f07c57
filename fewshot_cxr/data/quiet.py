"""No word of odd metadata while Pillow or pydicom reads a file, and the user's own settings as they were after."""

import logging
import threading
import warnings
from contextlib import ExitStack


class _Quiet:
    """No warnings and no log of pydicom, which both may quote a header, as long as any thread is inside.

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

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                self._settings.close()


quiet = _Quiet()
