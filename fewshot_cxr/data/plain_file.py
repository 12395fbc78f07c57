"""The way to a film's file: its type and size are looked at before it is opened."""

import os
import stat
from io import FileIO
from pathlib import Path

from fewshot_cxr.data.counted_reads import CountedFile

# The largest picture that is decoded, 89 million pixels, takes 0.7 GB with 16 bits in each of four channels.
MOST_FILE_BYTES = 2**30
_OTHERS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}  # else a device


def check_plain(found: os.stat_result) -> None:
    """Refuse what is no plain file, whose end may never come, and what is too large to be a film.

    Raises:
        OSError: says which of them it is.
    """
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"it is {_OTHERS.get(stat.S_IFMT(found.st_mode), 'a device')} and no plain file")
    if found.st_size > MOST_FILE_BYTES:
        raise OSError(
            f"its {found.st_size / 1e9:,.1f} GB are too many for a film, which has {MOST_FILE_BYTES / 1e9:.1f} at most"
        )


def open_plain(path: str | Path) -> CountedFile:
    """Open a film's file for reading.

    Raises:
        OSError: it cannot be opened, or is refused by `check_plain`; of the class that the system raised.
    """
    try:
        check_plain(os.stat(path))
        return CountedFile(FileIO(path))
    except OSError as error:
        raise type(error)(f"the file cannot be opened: {error.strerror or error}") from error
