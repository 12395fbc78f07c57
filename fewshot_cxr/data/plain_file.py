"""The way to a film's file: type and size are looked at before it is opened, and its reads are counted."""

import os
import stat
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path

# A part, such as a chunk of PNG or an element of DICOM, takes two or three reads. The films with the most are PNGs of
# 90 million pixels of 16 bits in chunks of 8 KB, 15,000. So many reads take about a second.
MOST_READS = 100_000
TOO_MANY_PARTS = "it holds more parts than a film has, and is not read to its end"


class _Counted:
    """Count the reads of the stream that is the next class in line."""

    n_reads = 0

    @property
    def is_spent(self) -> bool:
        """Whether more was asked for than is given: libraries turn the error into their own."""
        return self.n_reads > MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as the stream does.

        Raises:
            OSError: it was too often.
        """
        self.n_reads += 1
        if self.n_reads > MOST_READS:
            raise OSError(TOO_MANY_PARTS)
        found: bytes = super().read(size)  # type: ignore[misc]  # of the stream
        return found


class CountedBytes(_Counted, BytesIO):
    """Bytes in the memory as a stream of at most `MOST_READS` reads."""


class CountedFile(_Counted, BufferedReader):
    """A file as a stream of at most `MOST_READS` reads."""


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
