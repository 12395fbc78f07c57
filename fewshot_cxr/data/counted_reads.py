"""Streams that end the work when a file holds far more parts than a film has."""

from io import BufferedReader, BytesIO

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
